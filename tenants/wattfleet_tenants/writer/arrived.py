"""What one fetch brought, on its way to the store."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.ledger import Settled
from wattfleet_tenants.ports import RefusedMessage, StoreRun
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch


@dataclass(slots=True, eq=False)
class Arrived:
    """Bundles whose messages are sorted into good ones and refused ones.

    batches: the good messages, each batch with the ranks of its rows. settled: what is to be said of each
    bundle once nothing is left to do. left: how many good messages are not stored yet, and one more until the refused
    ones are kept. run: the store's run that was known before the first of them was sent, None before that. since_s: on
    the monotonic clock. given_up: not all of them are stored here, so the broker shall deliver all of them again.
    """

    lane: Lane
    receipts: list[str]
    settled: list[Settled]
    batches: list[tuple[PowerBatch, NDArray[np.int64]]]
    refused: list[RefusedMessage]
    since_s: float
    left: int
    run: StoreRun | None = None
    given_up: bool = False
