"""Every sample that was sent against every sample that is stored."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.testing.victoria_metrics import Series

MOST_EXAMPLES = 5

Place = tuple[str, str, str]
"""A series: household, name, and the number of the socket or thermometer."""
Sent = Mapping[Place, Mapping[int, float]]
"""The one value of each series at each Unix time in ms."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples, counted. sent: what must be there. lost: of those, what is not. doubled: what is there once more at the
    same moment. changed: what is there with another value, or although nothing was sent. examples: the first few."""

    sent: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    examples: tuple[str, ...] = ()

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(
            self.sent + other.sent,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.changed + other.changed,
            (*self.examples, *other.examples)[:MOST_EXAMPLES],
        )

    def __str__(self) -> str:
        return f"lost={self.lost} doubled={self.doubled} changed={self.changed}"

    @property
    def exact(self) -> bool:
        """Whether all is as it was sent."""
        return not (self.lost or self.doubled or self.changed)


def sent_by(household: HouseholdId, readings: Iterable[HomeReadings]) -> dict[Place, dict[int, float]]:
    """What `readings` of `household` must become; raises ValueError when two of them are for one minute."""
    found: dict[Place, dict[int, float]] = defaultdict(dict)
    for one in readings:
        for name, values in ((series.POWER, one.power_w), (series.TEMPERATURE, one.temperature_c)):
            for number, value in enumerate(values, 1):
                if value is None:
                    continue
                of_place = found[household, name, str(number)]
                if one.interval_start_ms in of_place:
                    raise ValueError(f"household {household} measured the minute {one.interval_start_ms} twice")
                of_place[one.interval_start_ms] = value
    return found


def compare(sent: Sent, stored: Iterable[Series]) -> Comparison:
    """`stored` must be exactly what was `sent`."""
    found = _by_place(stored)
    return sum(
        (_compared(place, sent.get(place, {}), found.get(place, [])) for place in {**sent, **found}), Comparison()
    )


def _by_place(stored: Iterable[Series]) -> dict[Place, list[tuple[int, float]]]:
    found: dict[Place, list[tuple[int, float]]] = defaultdict(list)
    for one in stored:
        number = one.labels.get("socket") or one.labels.get("thermometer", "")
        place = one.labels.get("household", ""), one.labels.get("__name__", ""), number
        found[place].extend(zip(one.at_ms, one.values, strict=True))
    return found


def _compared(place: Place, sent: Mapping[int, float], stored: Sequence[tuple[int, float]]) -> Comparison:
    if len(stored) == len(sent) and dict(stored) == sent:
        return Comparison(len(sent))
    found: dict[int, list[float]] = defaultdict(list)
    for at_ms, value in stored:
        found[at_ms].append(value)
    lost = sent.keys() - found.keys()
    doubled = {at_ms: values for at_ms, values in found.items() if len(values) > 1}
    changed = {at_ms: values for at_ms, values in found.items() if any(value != sent.get(at_ms) for value in values)}
    where = "{1}{{household={0}, number={2}}}".format(*place)
    examples = [
        *(f"lost: {where} at {at_ms} ms, sent {sent[at_ms]}" for at_ms in sorted(lost)[:MOST_EXAMPLES]),
        *(f"doubled: {where} at {at_ms} ms, stored {doubled[at_ms]}" for at_ms in sorted(doubled)[:MOST_EXAMPLES]),
        *(
            f"changed: {where} at {at_ms} ms, sent {sent.get(at_ms, 'nothing')}, stored {changed[at_ms]}"
            for at_ms in sorted(changed)[:MOST_EXAMPLES]
        ),
    ]
    extra = sum(len(values) - 1 for values in doubled.values())
    return Comparison(len(sent), len(lost), extra, len(changed), tuple(examples[:MOST_EXAMPLES]))
