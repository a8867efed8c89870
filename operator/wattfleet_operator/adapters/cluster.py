"""What our adapters have in common towards Kubernetes: who they are there, and what its errors mean to us."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.core.generic_client import ListAsyncIterable
from lightkube.generic_resource import create_global_resource
from wattfleet_tenants.crd import API_VERSION

from wattfleet_operator.errors import NotYet

FIELD_MANAGER = "wattfleet-operator"
"""Owns, in server-side apply, just what the operator has set."""
LISTED_AT_ONCE = 500

_GROUP, _, _VERSION = API_VERSION.partition("/")
HOUSEHOLDS = create_global_resource(_GROUP, _VERSION, "Household", "households")
SHARDS = create_global_resource(_GROUP, _VERSION, "Shard", "shards")


class Gone(Exception):
    """What was to be changed is not there any more, or is another one of that name."""


@contextmanager
def asking() -> Iterator[None]:
    """Turns whatever keeps the API server from doing as asked into NotYet, or Gone."""
    try:
        yield
    except ApiError as error:
        if error.status.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise Gone(error.status.message) from error
        raise NotYet("ClusterRefuses", f"Kubernetes: {error.status.message}"[:300]) from error
    except httpx2.HTTPError as error:
        raise NotYet("ClusterUnavailable", f"Kubernetes: {type(error).__name__}") from error


async def roll(listing: ListAsyncIterable[Any]) -> tuple[set[str], int]:
    """The names of all that is there, and the version up to which that is so. Raises NotYet."""
    try:
        with asking():
            names = {found.metadata.name async for found in listing}
    except Gone as error:
        raise NotYet("ClusterRefuses", f"Kubernetes: {error}") from error
    return names, int(listing.resourceVersion)
