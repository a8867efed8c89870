"""The simulated homes, by name, and what their sockets measure at any time.

The mean of a minute is exact by construction: each second is the minute's mean plus a ripple, and the sixty ripples of
a minute are thirty numbers and their negatives, counted in whole deciwatts. So sixty samples, one in each second, have
exactly the mean that `minute` computes at once, and history that is computed later equals what would have been
measured.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from wattfleet_tenants.reading import INTERVAL_MS, interval_start
from wattfleet_tenants.socket import MAX_SOCKETS

from wattfleet_agent.sensors import Minute, Sample
from wattfleet_agent.simulated import plans
from wattfleet_agent.simulated.appliances import (
    Appliance,
    Fridge,
    HeatPump,
    Lighting,
    Planned,
    SolarInverter,
    SometimesOffline,
    Steady,
)
from wattfleet_agent.simulated.day import MINUTES, Day, day_of
from wattfleet_agent.simulated.dice import Dice, between

_RIPPLE_SHARE = 0.015
_DAYS_IN_MEMORY = 3


@dataclass(frozen=True, slots=True)
class Socket:
    """A named socket and what is plugged in."""

    name: str
    appliance: Appliance


HOMES: dict[str, tuple[Socket, ...]] = {
    "family": (
        Socket("Heat pump", HeatPump()),
        Socket("EV charger", Planned(plans.car_charger, 3.2)),
        Socket("Kitchen", Planned(plans.kitchen, 9.5)),
        Socket("Laundry", Planned(plans.laundry, 1.8)),
        Socket("Home office", Planned(plans.home_office, 12.0)),
        Socket("Fridge", Fridge()),
    ),
    "flat": (
        Socket("Kitchen", Planned(plans.kitchen, 6.0)),
        Socket("Living room", Planned(plans.living_room, 21.0)),
        Socket("Water heater", Planned(plans.water_heater, 0.8)),
        Socket("Lights", Lighting(110.0)),
        Socket("Fridge", Fridge(72.0)),
    ),
    "farm": (
        Socket("Solar inverter", SolarInverter(11_500.0)),
        Socket("Heat pump", HeatPump(w_per_degree=160.0, most_w=5200.0)),
        Socket("Workshop", Planned(plans.workshop, 11.0)),
        Socket("Milk cooling", Planned(plans.milk_cooling, 6.5)),
        Socket("Well pump", Planned(plans.well_pump, 1.2)),
        Socket("Barn lights", Lighting(640.0, 5.0)),
        Socket("Kitchen", Planned(plans.kitchen, 12.0)),
        Socket("Laundry", Planned(plans.laundry, 2.1)),
        Socket("Router and office", Steady(46.0)),
        Socket("Outdoor socket", SometimesOffline(Planned(plans.outdoor, 4.6))),
    ),
}


def sockets_of(name: str, count: int | None = None) -> tuple[Socket, ...]:
    """The sockets of the home called `name`: the first `count`, or its kinds over and over to make more.

    Raises ValueError for an unknown home, or a count outside 1..64.
    """
    if name not in HOMES:
        raise ValueError(f"there is no simulated home {name!r}: choose one of {', '.join(HOMES)}")
    sockets = HOMES[name]
    if count is None:
        return sockets
    if not 1 <= count <= MAX_SOCKETS:
        raise ValueError(f"a home has 1 to {MAX_SOCKETS} sockets, not {count}")
    extra = islice(cycle(sockets), max(0, count - len(sockets)))
    numbered = (Socket(f"{socket.name} {2 + i // len(sockets)}", socket.appliance) for i, socket in enumerate(extra))
    return (*sockets[:count], *numbered)


class SimulatedHome:
    """What the sockets of a simulated home draw; the same for the same name and time, on every machine."""

    def __init__(self, name: str, sockets: int | None = None, clock: Callable[[], float] = time.time) -> None:
        self.sockets = sockets_of(name, sockets)
        self._name = name
        self._clock = clock
        self._days: dict[int, tuple[Day, list[list[int | None]]]] = {}

    def read(self) -> Sample:
        """The present second (this makes it a Sensor)."""
        return self.second(int(self._clock() * 1000))

    def minute(self, interval_start_ms: int) -> Minute:
        """The means over the minute that begins at `interval_start_ms`."""
        day, powers_dw = self._day(interval_start_ms)
        minute = interval_start_ms // INTERVAL_MS % MINUTES
        power_w = tuple(None if (power := row[minute]) is None else power / 10 for row in powers_dw)
        return Minute(interval_start_ms, power_w, (round(day.outside_c[minute], 2),))

    def second(self, at_ms: int) -> Sample:
        """The power at one moment: constant within a second of the clock."""
        day, powers_dw = self._day(at_ms)
        start_ms = interval_start(at_ms)
        minute = start_ms // INTERVAL_MS % MINUTES
        ripple = _ripples(f"{self._name}/{start_ms}", len(powers_dw))
        second = (at_ms - start_ms) // 1000
        power_w = tuple(
            None
            if (mean_dw := row[minute]) is None
            else (mean_dw + round(mean_dw * _RIPPLE_SHARE * swing[second])) / 10
            for row, swing in zip(powers_dw, ripple, strict=True)
        )
        return Sample(power_w, (round(day.outside_c[minute], 2),))

    def _day(self, at_ms: int) -> tuple[Day, list[list[int | None]]]:
        number = at_ms // (MINUTES * INTERVAL_MS)
        if number not in self._days:
            day = day_of(number)
            self._days[number] = (day, [self._powers_dw(socket, day) for socket in self.sockets])
            while len(self._days) > _DAYS_IN_MEMORY:
                del self._days[next(iter(self._days))]
        return self._days[number]

    def _powers_dw(self, socket: Socket, day: Day) -> list[int | None]:
        powers_w = socket.appliance.powers_w(day, Dice(f"{self._name}/{socket.name}"))
        return [None if power is None else round(power * 10) for power in powers_w]


def _ripples(occasion: str, sockets: int) -> list[list[float]]:
    """For each socket sixty swings from -1 to 1: thirty and their negatives, shuffled."""
    return [_swings(Dice(occasion).roll(socket)) for socket in range(sockets)]


def _swings(random: Random) -> list[float]:
    up = [between(random, 0.0, 1.0) for _ in range(30)]
    order = sorted(range(60), key=lambda _: random.random())
    both = up + [-swing for swing in up]
    return [both[place] for place in order]
