"""News for the admin of one machine: lines of the operator's log, where a cluster has Events."""

import logging

from wattfleet_tenants.crd import Household, Shard

logger = logging.getLogger(__name__)


class LoggedNews:
    """Writes news to the log only."""

    async def tell(self, resource: Household | Shard, reason: str, message: str, *, warning: bool = False) -> None:
        """One line."""
        extra = {"kind": resource.kind, "resource": resource.metadata.name, "reason": reason, "detail": message}
        logger.log(logging.WARNING if warning else logging.INFO, "news", extra=extra)
