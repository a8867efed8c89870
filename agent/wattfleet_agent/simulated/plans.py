"""What people switch on, and when: for a local date, the runs that begin on it.

Powers and lengths are those of ordinary European appliances; days differ by chance, weekends by habit.
"""

import math
from collections.abc import Iterator
from datetime import date
from random import Random

from wattfleet_agent.simulated.appliances import Run
from wattfleet_agent.simulated.dice import between, happens

_SATURDAY = 5


def _weekend(day: date) -> bool:
    return day.weekday() >= _SATURDAY


def _steady(random: Random, power_w: float, minutes: float) -> list[float]:
    return [power_w * between(random, 0.96, 1.04) for _ in range(int(minutes))]


def _on_and_off(random: Random, power_w: float, minutes: float, share: float) -> list[float]:
    """An oven or a hob: full power for `share` of the time."""
    return [power_w * between(random, share - 0.15, share + 0.15) for _ in range(int(minutes))]


def car_charger(_day: date, random: Random) -> Iterator[Run]:
    """Every other night at 7.4 kW until the battery is nearly full; the last half hour tapers off."""
    if not happens(random, 0.55):
        return
    full_w, energy_wh = 7360.0, between(random, 5_000, 26_000)
    charging = [full_w] * int(energy_wh / full_w * 60)
    taper = [full_w * math.exp(-minute / 12) for minute in range(35)]
    yield between(random, 22.1, 23.6), charging + taper


def kitchen(day: date, random: Random) -> Iterator[Run]:
    """Kettle and toaster in the morning, perhaps lunch, the hob and often the oven in the evening, then the dishes."""
    breakfast = between(random, 8.3, 9.6) if _weekend(day) else between(random, 6.7, 7.5)
    yield breakfast, _steady(random, 2050, 4) + _steady(random, 870, 3)
    if happens(random, 0.75 if _weekend(day) else 0.35):
        yield between(random, 12.0, 12.8), _on_and_off(random, 1700, between(random, 18, 32), 0.6)
    yield between(random, 15.2, 16.6), _steady(random, 1350, 3)
    dinner = between(random, 18.4, 19.5)
    yield dinner, _on_and_off(random, 2100, between(random, 22, 45), 0.55)
    if happens(random, 0.45):
        yield dinner - 0.2, _steady(random, 2300, 9) + _on_and_off(random, 2300, between(random, 20, 45), 0.4)
    if happens(random, 0.7):
        yield dinner + between(random, 0.9, 1.6), dishwasher(random)


def dishwasher(random: Random) -> list[float]:
    """Heats, washes, heats again, dries."""
    return [
        *_steady(random, 65, 12),
        *_steady(random, 2000, between(random, 13, 17)),
        *_steady(random, 70, between(random, 35, 50)),
        *_steady(random, 2000, between(random, 9, 13)),
        *_steady(random, 8, 20),
    ]


def laundry(day: date, random: Random) -> Iterator[Run]:
    """A wash every other day, two at the weekend; half of them are tumbled dry."""
    loads = 1 + int(happens(random, 0.4)) if _weekend(day) else int(happens(random, 0.4))
    begins = between(random, 8.8, 10.5) if _weekend(day) else between(random, 16.5, 18.5)
    for _ in range(loads):
        wash = washing_machine(random)
        yield begins, wash
        begins += len(wash) / 60 + between(random, 0.1, 0.5)
        if happens(random, 0.5):
            yield begins, _on_and_off(random, 2150, between(random, 55, 80), 0.65)


def washing_machine(random: Random) -> list[float]:
    """Takes water, heats, turns to and fro, rinses, spins."""
    return [
        *_steady(random, 18, 3),
        *_steady(random, 2080, between(random, 11, 19)),
        *_on_and_off(random, 210, between(random, 32, 45), 0.5),
        *_on_and_off(random, 160, 15, 0.4),
        *_steady(random, 470, between(random, 7, 11)),
    ]


def home_office(day: date, random: Random) -> Iterator[Run]:
    """On working days: a computer and two screens, with a break at noon."""
    if _weekend(day):
        return
    begins, noon, ends = between(random, 8.2, 9.1), between(random, 12.1, 12.6), between(random, 17.1, 18.4)
    working_w = between(random, 105, 150)
    yield begins, _on_and_off(random, working_w, (noon - begins) * 60, 0.85)
    yield noon, _steady(random, 38, 45)
    yield noon + 0.75, _on_and_off(random, working_w, (ends - noon - 0.75) * 60, 0.85)


def living_room(day: date, random: Random) -> Iterator[Run]:
    """Television in the evening, longer at the weekend."""
    begins = between(random, 18.9, 20.2)
    yield begins, _steady(random, 128, between(random, 110, 200))
    if _weekend(day):
        yield between(random, 14.0, 16.0), _steady(random, 120, between(random, 60, 140))


def water_heater(_day: date, random: Random) -> Iterator[Run]:
    """A boiler on the night tariff, as long as the day before made it cold."""
    yield between(random, 1.9, 2.2), _steady(random, 2180, between(random, 70, 165))
    if happens(random, 0.25):
        yield between(random, 13.0, 15.0), _steady(random, 2180, between(random, 15, 40))


def workshop(day: date, random: Random) -> Iterator[Run]:
    """On working days: light and dust extraction, and now and then a saw or a welder for some minutes."""
    if day.weekday() > _SATURDAY:
        return
    begins, ends = between(random, 8.0, 9.5), between(random, 15.5, 17.5)
    yield begins, _steady(random, 240, (ends - begins) * 60)
    for _ in range(int(between(random, 4, 14))):
        yield between(random, begins, ends), _on_and_off(random, 3100, between(random, 3, 16), 0.5)


def milk_cooling(_day: date, random: Random) -> Iterator[Run]:
    """After each milking, in the morning and in the evening."""
    for hour in (6.0, 17.6):
        yield hour + between(random, 0, 0.4), _steady(random, 3650, between(random, 85, 130))


def well_pump(_day: date, random: Random) -> Iterator[Run]:
    """A few minutes at a time, all day long."""
    times = int(between(random, 9, 20))
    for turn in range(times):
        yield 5.5 + 16 * (turn + between(random, 0, 0.7)) / times, _steady(random, 1080, between(random, 3, 13))


def outdoor(_day: date, random: Random) -> Iterator[Run]:
    """Beside what is always there, a tool or a pump on every other day."""
    if happens(random, 0.5):
        yield between(random, 9.0, 16.0), _on_and_off(random, 1400, between(random, 15, 70), 0.7)
