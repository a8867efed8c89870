"""A home's sockets and what its people call them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from wattfleet_tenants.socket import MAX_SOCKETS, parse_socket_number

from wattfleet_gateway.api.names import Name
from wattfleet_gateway.errors import documented
from wattfleet_gateway.readings import socket_name
from wattfleet_gateway.viewer import ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(
    prefix="/households/{household_id}/sockets",
    tags=["sockets"],
    responses=documented(HTTPStatus.NOT_FOUND),
)


class SocketView(BaseModel):
    """A socket, by its number on the agent."""

    number: int
    name: str


class NewName(BaseModel):
    """What a socket is to be called."""

    name: Name


@router.get("", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def list_sockets(request: Request, home: ThisHome) -> list[SocketView]:
    """All sockets that have a name or sent a reading within a day."""
    now = await gateway_of(request).history.now(home.reader_url, home.id)
    numbers = home.socket_names.keys() | {socket.number for socket in now.sockets}
    return [SocketView(number=number, name=socket_name(home.socket_names, number)) for number in sorted(numbers)]


@router.patch("/{number}", responses=documented(HTTPStatus.FORBIDDEN))
def rename_socket(
    request: Request, home: ThisHome, number: Annotated[int, Path(ge=1, le=MAX_SOCKETS)], new: NewName
) -> SocketView:
    """Renames a socket, for everybody of the home."""
    gateway_of(request).store.name_socket(home.id, parse_socket_number(number), new.name)
    return SocketView(number=number, name=new.name)
