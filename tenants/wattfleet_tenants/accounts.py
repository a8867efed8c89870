"""The claims of a shard's two NATS accounts, so that the platform and the tests mint the very same ones.

ING owns the streams; EDGE has none. Neither exports anything nor imports anything, so no subject of the one can be
reached from the other. Household users are signed by EDGE's scoped signing key, which gives every one the household
template and nothing else.
"""

from wattfleet_tenants import permissions
from wattfleet_tenants.credentials import Claims, scoped_signing_key

_UNLIMITED = -1
HOUSEHOLD_ROLE = "household"


def ing_claims() -> Claims:
    """ING-<shard>: files and memory for streams (the server's own limits bound them)."""
    return {
        "limits": {
            "mem_storage": _UNLIMITED,
            "disk_storage": _UNLIMITED,
            "streams": _UNLIMITED,
            "consumer": _UNLIMITED,
        },
    }


def edge_claims(household_keys: tuple[str, ...]) -> Claims:
    """EDGE-<shard>: `household_keys` sign its households."""
    return {
        "signing_keys": [scoped_signing_key(key, HOUSEHOLD_ROLE, permissions.household()) for key in household_keys],
    }
