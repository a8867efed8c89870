"""Who is signed in."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from wattfleet_gateway.errors import documented
from wattfleet_gateway.viewer import CurrentViewer

router = APIRouter(tags=["viewer"], responses=documented(HTTPStatus.UNAUTHORIZED))


class ViewerView(BaseModel):
    """The person who is signed in. name: may be empty when the identity provider tells none."""

    name: str


@router.get("/viewer")
def get_viewer(viewer: CurrentViewer) -> ViewerView:
    """Who is signed in."""
    return ViewerView(name=viewer.name)
