"""Who is signed in."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from wattfleet_gateway.viewer import CurrentViewer
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(tags=["viewer"])


class ViewerView(BaseModel):
    """The person who is signed in. name: may be empty when the identity provider tells none."""

    name: str
    may_add_home: bool


@router.get("/viewer")
def get_viewer(request: Request, viewer: CurrentViewer) -> ViewerView:
    """Who is signed in."""
    return ViewerView(name=viewer.name, may_add_home=gateway_of(request).new_homes.may_add(viewer.user_id))
