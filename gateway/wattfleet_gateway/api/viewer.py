"""Who is signed in."""

from fastapi import APIRouter
from pydantic import BaseModel

from wattfleet_gateway.viewer import CurrentViewer

router = APIRouter(tags=["viewer"])


class ViewerView(BaseModel):
    """The person who is signed in. name: may be empty when the identity provider tells none."""

    name: str


@router.get("/viewer")
def get_viewer(viewer: CurrentViewer) -> ViewerView:
    """Who is signed in."""
    return ViewerView(name=viewer.name)
