"""Numbers and times as people read them, in the household's own time zone.

A value that was not measured is a dash, never a zero. Times are 24-hour; a day is named only when it is not today.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

DASH = "–"


def watts(power_w: float | None) -> str:
    """Watts without unit: whole, thousands separated."""
    return DASH if power_w is None else f"{_no_negative_zero(round(power_w)):,}"


def kilowatt_hours(energy_wh: float | None) -> str:
    """Kilowatt-hours without unit: two decimals below 10, one below 1,000, whole above."""
    if energy_wh is None:
        return DASH
    energy_kwh = energy_wh / 1000
    # Rounded before comparing, so that 9.996 reads 10.0 and not 10.00.
    if abs(round(energy_kwh, 2)) < 10:
        return f"{_no_negative_zero(round(energy_kwh, 2)):.2f}"
    if abs(round(energy_kwh, 1)) < 1000:
        return f"{energy_kwh:.1f}"
    return f"{energy_kwh:,.0f}"


def percent(fraction: float) -> str:
    """A share in whole percent; what is not quite all never reads 100 %, what is not quite nothing never 0 %."""
    if 0 < fraction < 0.01:
        return "< 1 %"
    if 0.99 < fraction < 1:
        return "99 %"
    return f"{round(fraction * 100)} %"


def clock(at: datetime) -> str:
    """The time of day."""
    return f"{at:%H:%M}"


def seen(at_ms: int | None, now: datetime) -> str:
    """When a socket was last heard of, seen from `now` (whose zone counts). The gateway looks back 24 h for it."""
    if at_ms is None:
        return "none in 24 h"
    at = local(at_ms, now.tzinfo if isinstance(now.tzinfo, ZoneInfo) else ZoneInfo("UTC"))
    if at.date() == now.date():
        return f"today, {clock(at)}"
    if at.date() == now.date() - timedelta(days=1):
        return f"yesterday, {clock(at)}"
    year = "" if at.year == now.year else f" {at.year}"
    return f"{at.day} {at:%b}{year}, {clock(at)}"


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """A time in milliseconds since 1970 as the household's clock shows it."""
    return datetime.fromtimestamp(at_ms / 1000, zone)


def _no_negative_zero(value: float) -> float:
    return value + 0
