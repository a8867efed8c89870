"""Whether a store holds what the agents of a load were told it holds.

Every value of every acknowledged message must be there once and as it was sent. What was not acknowledged may be there
or not; when it is, it must be as it was sent too. Nothing else may stand under a household of the load.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics

from wattfleet_bench.load.outboxes import Kept, all_kept, outbox_files

_HOMES_AT_ONCE = 200
Place = tuple[str, str, str]
"""A series: household, name, and the number of the socket or thermometer."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples, counted. acknowledged: that must be there. missing: of those. doubled: more than once at one moment.

    changed: with another value than was sent. strange: at a moment, or of a socket, of which nothing was sent.
    """

    acknowledged: int
    missing: int
    doubled: int
    changed: int
    strange: int

    def as_text(self) -> str:
        """One line for a person."""
        return (
            f"{self.acknowledged:,} samples acknowledged: {self.missing:,} missing, {self.doubled:,} doubled, "
            f"{self.changed:,} changed; {self.strange:,} that nobody sent"
        )

    @property
    def exact(self) -> bool:
        """Whether all is as it was sent."""
        return not (self.missing or self.doubled or self.changed or self.strange)


def compare(folder: Path, store: VictoriaMetrics) -> Comparison:
    """The outboxes of the load in `folder` against `store`."""
    stored = _stored(store, list(outbox_files(folder)))
    acknowledged = missing = doubled = changed = strange = 0
    for household, messages in all_kept(folder):
        found = stored.pop(household, {})
        for message in messages:
            for place, value in _values(household, message):
                values = found.pop((*place[1:], message.interval_start_ms), [])
                acknowledged += message.acknowledged
                missing += message.acknowledged and not values
                doubled += len(values) > 1
                changed += any(other != value for other in values)
        strange += len(found)
    return Comparison(acknowledged, missing, doubled, changed, strange)


def _values(household: str, message: Kept) -> Iterator[tuple[Place, float]]:
    readings = message.readings
    for name, values in ((series.POWER, readings.power_w), (series.TEMPERATURE, readings.temperature_c)):
        for number, value in enumerate(values, 1):
            if value is not None:
                yield (household, name, str(number)), value


def _stored(
    store: VictoriaMetrics, households: Sequence[HouseholdId]
) -> dict[str, dict[tuple[str, str, int], list[float]]]:
    """By household: by series name, number and Unix time in ms, the values there."""
    found: dict[str, dict[tuple[str, str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for first in range(0, len(households), _HOMES_AT_ONCE):
        names = "|".join(households[first : first + _HOMES_AT_ONCE])
        for name in (series.POWER, series.TEMPERATURE):
            for one in store.export(f'{name}{{household=~"{names}"}}'):
                number = one.labels.get("socket") or one.labels["thermometer"]
                for at_ms, value in zip(one.at_ms, one.values, strict=True):
                    found[one.labels["household"]][name, number, at_ms].append(value)
    return found
