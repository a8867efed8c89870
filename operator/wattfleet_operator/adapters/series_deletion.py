"""Deleting a household's series from VictoriaMetrics, on one machine as in a cluster. `url`: a base URL of it."""

from collections.abc import Mapping

import httpx
from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId

from wattfleet_operator.errors import NotYet

_TIMEOUT_S = 10.0
_SINCE_EVER_S = "1"
"""With 0 the store takes only the last minutes."""


async def has_series(http: httpx.AsyncClient, url: str, household: HouseholdId) -> bool:
    """Whether any series of the household is found, however old. Raises NotYet."""
    question: dict[str, str | list[str]] = {"match[]": _selectors(household), "start": _SINCE_EVER_S, "limit": "1"}
    return bool((await _ask(http, "POST", f"{url}/api/v1/series", question)).json()["data"])


async def delete_series(http: httpx.AsyncClient, url: str, household: HouseholdId) -> None:
    """No series of the household is found any more. Raises NotYet."""
    await _ask(http, "POST", f"{url}/api/v1/admin/tsdb/delete_series", {"match[]": _selectors(household)})


async def force_merge(http: httpx.AsyncClient, url: str) -> None:
    """What was deleted leaves the disk as far as a merge on demand goes. Raises NotYet."""
    await _ask(http, "GET", f"{url}/internal/force_merge")


def _selectors(household: HouseholdId) -> list[str]:
    return [series.power_selector(household), series.temperature_selector(household)]


async def _ask(
    http: httpx.AsyncClient, method: str, url: str, data: Mapping[str, str | list[str]] | None = None
) -> httpx.Response:
    try:
        return (await http.request(method, url, data=data, timeout=_TIMEOUT_S)).raise_for_status()
    except httpx.HTTPError as error:
        raise NotYet("StoreUnavailable", f"VictoriaMetrics: {type(error).__name__}") from error
