"""The one place where a request becomes somebody's: a signed grant opens one household, for seconds.

Every endpoint takes `Granted`, and nothing else gives it a household id; so an endpoint that forgets to ask for the
grant has no household to answer about.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from wattfleet_tenants.grants import NotGranted, verify
from wattfleet_tenants.household import HOUSEHOLD_ID_PATTERN, HouseholdId, parse_household_id

Verifier = Callable[[HouseholdId, str], None]

_bearer = HTTPBearer(auto_error=False, description="A grant that the gateway signed for this household")


def verifier(public_pem: str) -> Verifier:
    """Checks grants against the gateway's public key; raises NotGranted."""

    def check(household: HouseholdId, token: str) -> None:
        verify(public_pem, "reader", household, token)

    return check


def _granted_household(
    request: Request,
    household_id: Annotated[str, Path(pattern=HOUSEHOLD_ID_PATTERN)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> HouseholdId:
    if bearer is None:
        raise NotGranted("there is no grant")
    household = parse_household_id(household_id)
    check: Verifier = request.app.state.verifier
    check(household, bearer.credentials)
    return household


Granted = Annotated[HouseholdId, Depends(_granted_household)]
