"""The lease of the operator's leader, as a `coordination.k8s.io` Lease: `kubectl get lease` shows who leads."""

from datetime import datetime

from lightkube import AsyncClient
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease as LeaseObject

from wattfleet_operator.adapters.cluster import FIELD_MANAGER, Gone, asking
from wattfleet_operator.leadership import Lease, LeaseTaken

LEASE_NAME = "wattfleet-operator"


class ClusterLeases:
    """The Lease in `namespace`."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def read(self) -> Lease | None:
        """The lease as it stands; None when there is none yet. Raises NotYet."""
        try:
            with asking():
                return _lease(await self._client.get(LeaseObject, LEASE_NAME, namespace=self._namespace))
        except Gone:
            return None

    async def write(self, lease: Lease) -> Lease:
        """Creates it, or replaces the one of that version; raises LeaseTaken when it is no longer that, or NotYet."""
        wished = _object(lease, self._namespace)
        try:
            with asking():
                if lease.version:
                    return _lease(await self._client.replace(wished, field_manager=FIELD_MANAGER))
                return _lease(await self._client.create(wished, field_manager=FIELD_MANAGER))
        except Gone as error:
            raise LeaseTaken(str(error)) from error


def _lease(found: LeaseObject) -> Lease:
    spec, version = found.spec or LeaseSpec(), (found.metadata or ObjectMeta()).resourceVersion or ""
    if spec.acquireTime is None or spec.renewTime is None:
        raise ValueError(f"Lease {LEASE_NAME} does not say since when it is held: delete it")
    duration_s, transitions = spec.leaseDurationSeconds or 0, spec.leaseTransitions or 0
    return Lease(spec.holderIdentity or "", duration_s, spec.acquireTime, spec.renewTime, transitions, version)


def _object(lease: Lease, namespace: str) -> LeaseObject:
    return LeaseObject(
        metadata=ObjectMeta(name=LEASE_NAME, namespace=namespace, resourceVersion=lease.version or None),
        spec=LeaseSpec(
            holderIdentity=lease.holder,
            leaseDurationSeconds=lease.duration_s,
            acquireTime=_micro_time(lease.acquired),
            renewTime=_micro_time(lease.renewed),
            leaseTransitions=lease.transitions,
        ),
    )


def _micro_time(at: datetime) -> datetime:
    """Kubernetes reads such a time only with its microseconds, which are not written when they are none."""
    return at if at.microsecond else at.replace(microsecond=1)
