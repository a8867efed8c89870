"""The homes that a person may see, and a new one."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from wattfleet_tenants.crd import TimeZoneName

from wattfleet_gateway.api.names import Name
from wattfleet_gateway.errors import documented
from wattfleet_gateway.viewer import CurrentViewer, Home, ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(prefix="/households", tags=["households"])


class HouseholdView(BaseModel):
    """A home. time_zone: IANA name. ready: whether readings flow; reason: a stable word on why, or why not.

    placed: whether it is carried anywhere; before that there are no readings to ask for.
    home_file_command: with what whoever runs the platform brings the home's file to its agent.
    """

    id: str
    name: str
    time_zone: str
    ready: bool
    reason: str
    placed: bool
    home_file_command: str


class NewHome(BaseModel):
    """A home that somebody adds. time_zone: IANA name."""

    name: Name
    time_zone: TimeZoneName


@router.get("")
def list_households(viewer: CurrentViewer) -> list[HouseholdView]:
    """All homes of the viewer, by name."""
    return [_view(home) for home in viewer.households()]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def add_household(request: Request, response: Response, viewer: CurrentViewer, new: NewHome) -> HouseholdView:
    """Adds a home of the viewer. It is theirs at once; `ready` says when readings can flow."""
    household = await gateway_of(request).new_homes.add(viewer.user_id, new.name, new.time_zone)
    request.state.household = household
    response.headers["Location"] = f"{request.url.path}/{household}"
    return _view(await run_in_threadpool(viewer.household, household))


@router.get("/{household_id}", responses=documented(HTTPStatus.NOT_FOUND))
def get_household(home: ThisHome) -> HouseholdView:
    """One home."""
    return _view(home)


def _view(home: Home) -> HouseholdView:
    placement = home.placement
    return HouseholdView(
        id=home.id,
        name=home.name,
        time_zone=placement.time_zone,
        ready=placement.ready,
        reason=placement.reason,
        placed=placement.reader_url is not None,
        home_file_command=home.home_file_command,
    )
