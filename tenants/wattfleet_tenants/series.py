"""The names of what is stored, and the queries over them.

Series are idiomatic: `wattfleet_power_watts{household="h…",socket="7"}`, so that PromQL and Grafana feel at home. A
query is only ever built here, from a checked household id; nothing that a client sent is pasted into one.
"""

from wattfleet_tenants.household import HouseholdId, parse_household_id

POWER = "wattfleet_power_watts"
TEMPERATURE = "wattfleet_temperature_celsius"


def power_selector(household: HouseholdId) -> str:
    """Selects all sockets' power series (W) of one household; raises ValueError for what is no household id."""
    return f'{POWER}{{household="{parse_household_id(household)}"}}'


def temperature_selector(household: HouseholdId) -> str:
    """Selects all thermometers' series (°C) of one household; raises ValueError for what is no household id."""
    return f'{TEMPERATURE}{{household="{parse_household_id(household)}"}}'


def bucket_query(household: HouseholdId, bucket_ms: int) -> str:
    """Per socket, the sum (W) and the count of the readings in the last `bucket_ms` ms, told apart by `is`.

    Sum and count serve everything: mean power is sum / count, energy is sum x interval, and count says how much of the
    bucket was measured at all.
    """
    selector = power_selector(household)
    return (
        f'union(label_set(sum_over_time({selector}[{bucket_ms}ms]), "is", "sum"), '
        f'label_set(count_over_time({selector}[{bucket_ms}ms]), "is", "count"))'
    )


def last_query(household: HouseholdId, within_s: int) -> str:
    """Per socket, the last power (W) within `within_s` seconds and its Unix time (s), told apart by `is`."""
    selector = power_selector(household)
    return (
        f'union(label_set(last_over_time({selector}[{within_s}s]), "is", "value"), '
        f'label_set(tlast_over_time({selector}[{within_s}s]), "is", "time"))'
    )
