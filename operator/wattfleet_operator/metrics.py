"""What the operator counts: how its looks at resources end and how long they take, and how many resources work."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from prometheus_client import Counter, Gauge, Histogram
from wattfleet_tenants.crd import Household, Shard

from wattfleet_operator.errors import NotYet, Refused

_RECONCILES = Counter(
    "wattfleet_operator_reconciles_total", "Looks at a resource, by how they ended", ["kind", "outcome"]
)
_SECONDS = Histogram("wattfleet_operator_reconcile_seconds", "Time that a look took", ["kind"])
_RESOURCES = Gauge("wattfleet_operator_resources", "Resources, by whether they are Ready", ["kind", "ready"])
_DUE = Gauge("wattfleet_operator_due_resources", "Resources that wait to be looked at")
_LEADS = Gauge("wattfleet_operator_leads", "1 in the process that acts, 0 in one that stands by")
RESTARTS = Counter("wattfleet_operator_process_restarts_total", "Restarts of a process of this machine", ["process"])


@contextmanager
def reconciling(kind: str) -> Iterator[None]:
    """Counts and times one look at a resource of that kind."""
    began_s, outcome = monotonic(), "done"
    try:
        yield
    except NotYet:
        outcome = "not_yet"
        raise
    except Refused:
        outcome = "refused"
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        _RECONCILES.labels(kind, outcome).inc()
        _SECONDS.labels(kind).observe(monotonic() - began_s)


def count_ready(resources: Sequence[Household | Shard]) -> None:
    """Sets how many resources of each kind work."""
    for kind in ("Household", "Shard"):
        ready = [resource.status.ready for resource in resources if resource.kind == kind]
        _RESOURCES.labels(kind, "true").set(sum(ready))
        _RESOURCES.labels(kind, "false").set(len(ready) - sum(ready))


def count_due(resources: int) -> None:
    """Sets how many resources wait to be looked at."""
    _DUE.set(resources)


def show_leading(leads: Callable[[], bool]) -> None:
    """From now on `leads` is asked whether this process acts."""
    _LEADS.set_function(leads)
