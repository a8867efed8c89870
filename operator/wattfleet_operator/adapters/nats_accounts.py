"""The part of a NATS server's configuration that says who signs accounts, and where it keeps their tokens.

Account tokens live in the resolver's folder and are pushed by the operator; the configuration names only the operator
and the system account through which that happens. It holds nothing secret.
"""

import json

from wattfleet_tenants.credentials import account_token, operator_token

from wattfleet_operator.adapters.nats_identities import NatsIdentities

_CONFIGURATION = """\
operator: {operator}
system_account: {system}
resolver: {{ type: full, dir: {resolver}, allow_delete: true, interval: "2m", limit: 10000 }}
resolver_preload: {{ {system}: {system_token} }}
"""


async def accounts_configuration(identities: NatsIdentities, resolver: str) -> str:
    """That part, for a server that keeps tokens in the folder `resolver`."""
    operator, system = await identities.operator(), await identities.system()
    return _CONFIGURATION.format(
        operator=operator_token(operator, system.public_key),
        system=system.public_key,
        system_token=account_token(operator, system.public_key, "SYS", {}),
        resolver=json.dumps(resolver),
    )
