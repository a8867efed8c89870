"""What came of a run: the comparison, the accounts, and everything that is not as it should be."""

from collections.abc import Iterator
from dataclasses import dataclass

from wattfleet_tenants.ledger import Totals

from wattfleet_bench.chaos.comparison import Comparison
from wattfleet_bench.results import Result, at_least, at_most


@dataclass(frozen=True, slots=True)
class Outcome:
    """comparison: of all samples. ledger: the accounts at the end, None when nobody could tell them. messages: in the
    agents' outboxes; acknowledged: of those. wrong: wrong readings that were acknowledged. kills: processes killed.
    own_ends: which ended without being killed, and were started again. troubles: what is wrong besides, in whole
    sentences. took_s: the whole run; load_s: as long as there was load."""

    rounds: int
    comparison: Comparison
    ledger: Totals | None
    messages: int
    acknowledged: int
    wrong: int
    kills: int
    own_ends: tuple[str, ...]
    troubles: tuple[str, ...]
    took_s: float
    load_s: float

    @property
    def good(self) -> bool:
        """Whether nothing at all is wrong."""
        return self.comparison.exact and not self.failures()

    def failures(self) -> list[str]:
        """What is wrong besides samples that are lost, doubled or changed."""
        return [*self.troubles, *self._of_accounts()]

    def _of_accounts(self) -> Iterator[str]:
        if self.ledger is None:
            yield "the ledger could not be read"
            return
        if not self.ledger.balanced() or self.ledger.pending:
            yield "the ledger does not balance with nothing pending and nothing lost"
        if self.ledger.sent < self.acknowledged + self.wrong:
            acknowledged = self.acknowledged + self.wrong
            yield f"{acknowledged} messages were acknowledged, and the ledger knows {self.ledger.sent}"
        if self.ledger.quarantined < self.wrong:
            yield f"{self.wrong} wrong messages were acknowledged, and {self.ledger.quarantined} are in the ledger"

    def as_text(self) -> str:
        """For people; the last line is the comparison's."""
        one = self.comparison
        lines = [
            f"{self.rounds} rounds and {self.kills} processes killed in {self.took_s:.0f} s; "
            f"agents had {self.messages:,} messages ({self.messages / self.load_s:,.0f}/s), "
            f"{self.acknowledged:,} are acknowledged; {one.sent:,} samples compared",
            f"{self.wrong} wrong messages were sent on purpose",
            *(f"ended by itself: {process}" for process in self.own_ends),
            *(f"NOT AS SENT {example}" for example in one.examples),
            *(f"WRONG {failure}" for failure in self.failures()),
        ]
        if self.ledger is not None:
            kept = self.ledger
            lines.append(
                f"sent={kept.sent} stored={kept.stored} quarantined={kept.quarantined} pending={kept.pending} "
                f"lost={kept.lost}"
            )
        return "\n".join([*lines, str(one)])

    def results(self) -> list[Result]:
        """As every benchmark writes them."""
        one = self.comparison
        what = (
            f"{self.rounds} rounds, {self.kills} processes killed with SIGKILL under load, {self.messages:,} messages "
            f"and {one.sent:,} samples compared"
        )
        ledger = self.ledger or Totals(0, 0, 0, 0, 0)
        return [
            at_most("chaos.lost", one.lost, "samples", 0, what),
            at_most("chaos.doubled", one.doubled, "samples", 0, what),
            at_most("chaos.changed", one.changed, "samples", 0, what),
            at_most("chaos.other_failures", len(self.failures()), "", 0, "ledger, quarantine, time-outs"),
            at_least("chaos.ledger.sent", ledger.sent, "messages", self.acknowledged + self.wrong, "repeats included"),
            Result("chaos.ledger.stored", ledger.stored, "messages"),
            Result("chaos.ledger.quarantined", ledger.quarantined, "messages", conditions="all wrong on purpose"),
            at_most("chaos.ledger.pending", ledger.pending, "messages", 0),
            at_most("chaos.ledger.lost", ledger.lost, "messages", 0),
            Result("chaos.kills", self.kills, "processes"),
            Result("chaos.own_ends", len(self.own_ends), "processes", conditions="that ended without being killed"),
            Result("chaos.load", self.messages / self.load_s, "msg/s", conditions="mean, while parts were killed"),
            Result("chaos.took", self.took_s, "s"),
        ]
