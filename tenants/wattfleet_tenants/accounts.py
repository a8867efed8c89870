"""The claims of a shard's two NATS accounts, so that the platform and the tests mint the very same ones.

ING owns the stream and exports its measurement subject as a service; EDGE imports it, and has no JetStream of its own.
Household users are signed by EDGE's scoped signing key, which gives every one the household template and nothing else.
"""

from wattfleet_tenants import permissions, subjects
from wattfleet_tenants.credentials import Claims, scoped_signing_key
from wattfleet_tenants.shard import ShardId

_UNLIMITED = -1
HOUSEHOLD_ROLE = "household"


def ing_claims(shard: ShardId) -> Claims:
    """ING-<shard>: files and memory for streams (the server's own limits bound them), and the exported service."""
    return {
        "limits": {
            "mem_storage": _UNLIMITED,
            "disk_storage": _UNLIMITED,
            "streams": _UNLIMITED,
            "consumer": _UNLIMITED,
        },
        "exports": [
            {
                "name": "measurements",
                "subject": subjects.all_measurements(shard),
                "type": "service",
                "response_type": "Singleton",
            }
        ],
    }


def edge_claims(shard: ShardId, ing_account: str, household_keys: tuple[str, ...]) -> Claims:
    """EDGE-<shard>: imports from the account with public key `ing_account`; `household_keys` sign households."""
    return {
        "imports": [
            {
                "name": "measurements",
                "subject": subjects.all_measurements(shard),
                "account": ing_account,
                "type": "service",
            }
        ],
        "signing_keys": [scoped_signing_key(key, HOUSEHOLD_ROLE, permissions.household()) for key in household_keys],
    }
