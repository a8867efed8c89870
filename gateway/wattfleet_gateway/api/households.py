"""The homes that a person may see."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from wattfleet_gateway.errors import documented
from wattfleet_gateway.viewer import CurrentViewer, Home, ThisHome

router = APIRouter(prefix="/households", tags=["households"])


class HouseholdView(BaseModel):
    """A home. time_zone: IANA name. ready: whether readings flow; reason: a stable word on why, or why not."""

    id: str
    name: str
    time_zone: str
    ready: bool
    reason: str


@router.get("")
def list_households(viewer: CurrentViewer) -> list[HouseholdView]:
    """All homes of the viewer, by name."""
    return [_view(home) for home in viewer.households()]


@router.get("/{household_id}", responses=documented(HTTPStatus.NOT_FOUND))
def get_household(home: ThisHome) -> HouseholdView:
    """One home."""
    return _view(home)


def _view(home: Home) -> HouseholdView:
    placement = home.placement
    return HouseholdView(
        id=home.id, name=home.name, time_zone=placement.time_zone, ready=placement.ready, reason=placement.reason
    )
