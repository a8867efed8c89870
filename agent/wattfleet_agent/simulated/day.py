"""One UTC day as appliances see it: local time, outside temperature and sun, minute by minute.

People live by local time and weather does not, so a day is cut in UTC (always 1,440 minutes) and knows the local hour
of each of them. The place is Paris; seasons and the sun's path are the usual approximations, the weather of a day is
drawn from the date and blends into the next one's.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from wattfleet_agent.simulated.dice import Dice, between

MINUTES = 1440
_ZONE = ZoneInfo("Europe/Paris")
_LATITUDE, _LONGITUDE = math.radians(48.86), 2.35
_WEATHER = Dice("weather of Paris")


@dataclass(frozen=True, slots=True)
class Day:
    """Lists of 1,440 values: hour_local (0..24), outside_c (°C), sun (0 at night .. 1 at its best, clouds included)."""

    utc_date: date
    hour_local: list[float]
    outside_c: list[float]
    sun: list[float]

    def minute_of(self, local_date: date, hour_local: float) -> int:
        """The minute of this day (negative: before it) at which it is `hour_local` on `local_date`."""
        local = datetime.combine(local_date, datetime.min.time(), _ZONE) + timedelta(hours=hour_local)
        midnight = datetime.combine(self.utc_date, datetime.min.time(), UTC)
        return round((local.astimezone(UTC) - midnight).total_seconds() / 60)


def day_of(number: int) -> Day:
    """The day `number` days after 1 January 1970."""
    today = date(1970, 1, 1) + timedelta(days=number)
    sun = [_clear_sky(today, minute) for minute in range(MINUTES)]
    clouds = [_blended(today, minute, "clouds", 0.05, 0.85) for minute in range(0, MINUTES, 10)]
    warmth = [_blended(today, minute, "warmth", -4.0, 4.0) for minute in range(0, MINUTES, 10)]
    return Day(
        today,
        _local_hours(today),
        [_season_c(today) + _hour_of_day_c(minute) + warmth[minute // 10] for minute in range(MINUTES)],
        [strength * (1 - clouds[minute // 10]) for minute, strength in enumerate(sun)],
    )


def _local_hours(today: date) -> list[float]:
    midnight = datetime.combine(today, datetime.min.time(), UTC)
    hours: list[float] = []
    for hour in range(24):  # offsets change on the hour
        local = (midnight + timedelta(hours=hour)).astimezone(_ZONE)
        hours += [local.hour + (local.minute + minute) / 60 for minute in range(60)]
    return hours


def _season_c(today: date) -> float:
    # Paris: 5 °C on average in mid January, 21 °C in mid July.
    return 13 - 8 * math.cos(2 * math.pi * (today.timetuple().tm_yday - 15) / 365)


def _hour_of_day_c(minute: int) -> float:
    # Coldest at 5:00 UTC, warmest twelve hours later.
    return -3.5 * math.cos(2 * math.pi * (minute / 60 - 5) / 24)


def _clear_sky(today: date, minute: int) -> float:
    declination = math.radians(-23.44) * math.cos(2 * math.pi * (today.timetuple().tm_yday + 10) / 365)
    hour_angle = math.radians((minute / 60 - 12) * 15 + _LONGITUDE)
    elevation = math.sin(_LATITUDE) * math.sin(declination)
    elevation += math.cos(_LATITUDE) * math.cos(declination) * math.cos(hour_angle)
    return max(0.0, elevation)


def _blended(today: date, minute: int, what: str, low: float, high: float) -> float:
    """Between the value drawn for this hour and the one for the next, so that weather never jumps."""
    hour, share = divmod(minute / 60, 1)
    first, second = (_hour_value(today, int(hour) + ahead, what, low, high) for ahead in (0, 1))
    return first + (second - first) * share


def _hour_value(today: date, hour: int, what: str, low: float, high: float) -> float:
    """Mostly the day's own weather, a little the hour's."""
    moment = datetime.combine(today, datetime.min.time()) + timedelta(hours=hour)
    this_day, next_day = (_drawn(moment.date() + timedelta(days=ahead), what) for ahead in (0, 1))
    share = moment.hour / 24
    of_the_day = between(this_day, low, high) * (1 - share) + between(next_day, low, high) * share
    return of_the_day * 0.8 + between(_drawn(moment.date(), what, moment.hour), low, high) * 0.2


def _drawn(day: date, *what: object) -> Random:
    return _WEATHER.roll(day, *what)
