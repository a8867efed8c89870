"""What was refused of a home's messages, said openly to its people."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel

from wattfleet_gateway.errors import documented
from wattfleet_gateway.viewer import ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(
    prefix="/households/{household_id}/quarantine",
    tags=["quarantine"],
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
)


class RefusedView(BaseModel):
    """Messages that were refused for one reason. last_ms: Unix time of the last one, in ms."""

    reason: str
    count: int
    last_ms: int


@router.get("")
async def list_refused(request: Request, home: ThisHome) -> list[RefusedView]:
    """What the platform refused of this home, by reason; empty when all is well."""
    refused = await gateway_of(request).history.refused(home.reader_url, home.id)
    return [RefusedView(reason=found.reason, count=found.count, last_ms=found.last_ms) for found in refused]
