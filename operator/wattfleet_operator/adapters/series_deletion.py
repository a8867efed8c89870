"""Deleting a household's series from VictoriaMetrics, on one machine as in a cluster."""

import httpx
from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId

from wattfleet_operator.errors import NotYet

_TIMEOUT_S = 10.0


async def delete_series(http: httpx.AsyncClient, url: str, household: HouseholdId) -> None:
    """No series of the household is found any more at the store's base URL `url`. Raises NotYet."""
    selectors = [series.power_selector(household), series.temperature_selector(household)]
    await _ask(http, "POST", f"{url}/api/v1/admin/tsdb/delete_series", selectors)


async def force_merge(http: httpx.AsyncClient, url: str) -> None:
    """What was deleted leaves the disk as far as a merge on demand goes. Raises NotYet."""
    await _ask(http, "GET", f"{url}/internal/force_merge")


async def _ask(http: httpx.AsyncClient, method: str, url: str, selectors: list[str] | None = None) -> None:
    data = {"match[]": selectors} if selectors else None
    try:
        (await http.request(method, url, data=data, timeout=_TIMEOUT_S)).raise_for_status()
    except httpx.HTTPError as error:
        raise NotYet("StoreUnavailable", f"VictoriaMetrics: {type(error).__name__}") from error
