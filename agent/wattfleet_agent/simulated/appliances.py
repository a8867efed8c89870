"""Appliances: what each draws in every minute of a day, in W. Negative feeds in, None does not answer.

Those that run all the time (fridge, heat pump, sun, light) look at the day; those that people switch on are plans: the
runs that begin on a local date, each a list of minutes' powers, laid over a standby power.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Protocol

from wattfleet_agent.simulated.day import MINUTES, Day
from wattfleet_agent.simulated.dice import Dice, between, happens

Powers = list[float | None]
Run = tuple[float, list[float]]
"""When it begins (local hour of its date, may pass 24) and its power in W, minute by minute."""


class Appliance(Protocol):
    """Something at a socket."""

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """Its mean power in each of the day's 1,440 minutes."""
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """Runs when people switch it on: `plan` says which runs begin on a local date."""

    plan: Callable[[date, Random], Iterable[Run]]
    standby_w: float = 0.0

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """Standby, and every run of yesterday, today and tomorrow (local dates) that reaches into this UTC day."""
        powers = [self.standby_w] * MINUTES
        for days in (-1, 0, 1):
            begins = day.utc_date + timedelta(days=days)
            for hour, run_w in self.plan(begins, dice.roll(begins)):
                first = day.minute_of(begins, hour)
                for minute in range(max(first, 0), min(first + len(run_w), MINUTES)):
                    powers[minute] += run_w[minute - first]
        return list(powers)


@dataclass(frozen=True, slots=True)
class Fridge:
    """A compressor between two temperatures: on until 3 °C, off until 6 °C, which is a third of the time."""

    running_w: float = 88.0

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """1.4 W while it is off; the first minute of a run takes half as much again."""
        random = dice.roll(day.utc_date)
        inside_c, running = between(random, 3.0, 6.0), happens(random, 0.35)
        powers: Powers = []
        for hour in day.hour_local:
            starts = not running and inside_c > 6.0
            running = starts or (running and inside_c > 3.0)
            opened = 2.2 if hour % 1 < 0.1 and int(hour) in (7, 12, 18, 19) else 1.0
            inside_c += -0.13 if running else 0.055 * opened * between(random, 0.8, 1.2)
            powers.append(self.running_w * (1.5 if starts else between(random, 0.97, 1.03)) if running else 1.4)
        return powers


@dataclass(frozen=True, slots=True)
class HeatPump:
    """Heats when it is cold, the more the colder; at its least power it goes on and off; makes hot water at noon."""

    heats_below_c: float = 15.5
    w_per_degree: float = 105.0
    least_w: float = 480.0
    most_w: float = 3400.0

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """14 W of electronics beside; below 3 °C it defrosts for six minutes every 75."""
        random = dice.roll(day.utc_date)
        hot_water = between(random, 12.6, 13.4)
        return [
            14.0 + self._heating_w(hour, outside_c, minute, random) + (1750.0 if 0 <= hour - hot_water < 0.6 else 0.0)
            for minute, (hour, outside_c) in enumerate(zip(day.hour_local, day.outside_c, strict=True))
        ]

    def _heating_w(self, hour: float, outside_c: float, minute: int, random: Random) -> float:
        night = 0.75 if hour < 5.5 or hour >= 22.5 else 1.0
        wanted_w = min((self.heats_below_c - outside_c) * self.w_per_degree * night, self.most_w)
        if wanted_w <= 0 or (outside_c < 3 and minute % 75 < 6):
            return 0.0
        if wanted_w < self.least_w:  # on for its share of 24 minutes
            return self.least_w if minute % 24 < 24 * wanted_w / self.least_w else 0.0
        return wanted_w * between(random, 0.96, 1.04)


@dataclass(frozen=True, slots=True)
class Steady:
    """Always on: a router, chargers, whatever never sleeps."""

    power_w: float

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """Its power, give or take 6 %."""
        random = dice.roll(day.utc_date)
        return [self.power_w * between(random, 0.94, 1.06) for _ in range(MINUTES)]


@dataclass(frozen=True, slots=True)
class Lighting:
    """Lamps: before sunrise and after sunset, while people are awake."""

    all_on_w: float
    standby_w: float = 3.0

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """A few of the lamps in each quarter of an hour."""
        random = dice.roll(day.utc_date)
        lit = [between(random, 0.35, 1.0) for _ in range(MINUTES // 15)]
        up, asleep = between(random, 6.2, 7.0), between(random, 22.4, 23.6)
        return [
            self.standby_w + (self.all_on_w * lit[minute // 15] if up <= hour < asleep and sun < 0.03 else 0.0)
            for minute, (hour, sun) in enumerate(zip(day.hour_local, day.sun, strict=True))
        ]


@dataclass(frozen=True, slots=True)
class SolarInverter:
    """Feeds in while the sun shines; its electronics take a little at night."""

    peak_w: float

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """Passing clouds take up to a quarter of a minute's sun."""
        random = dice.roll(day.utc_date)
        return [-self.peak_w * sun * between(random, 0.75, 1.0) if sun > 0.02 else 2.8 for sun in day.sun]


@dataclass(frozen=True, slots=True)
class SometimesOffline:
    """Another appliance behind a bad radio link: at times it does not answer."""

    appliance: Appliance

    def powers_w(self, day: Day, dice: Dice) -> Powers:
        """None during one to three spells of 10 to 110 minutes."""
        powers = list(self.appliance.powers_w(day, dice))
        random = dice.roll(day.utc_date, "offline")
        for _ in range(1 + int(between(random, 0, 3))):
            first, lasts = int(between(random, 0, MINUTES)), int(between(random, 10, 110))
            for minute in range(first, min(first + lasts, MINUTES)):
                powers[minute] = None
        return powers
