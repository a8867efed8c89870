"""Who asks, and whose data: decided here, and nowhere else.

An endpoint that shows anything of a home takes `ThisHome`, which exists only for a signed-in person who may see it.
Another's home, a home that does not exist and an id that is no id are answered alike, so that nobody can find out which
homes there are.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Path, Request
from wattfleet_tenants.household import HouseholdId, parse_household_id

from wattfleet_gateway.errors import NotFound, Problem, SignedOut
from wattfleet_gateway.fleet import DELETED, Fleet, Placement
from wattfleet_gateway.sessions import Sessions, SignedIn
from wattfleet_gateway.store import HouseholdRow, Store
from wattfleet_gateway.wiring import gateway_of


@dataclass(frozen=True, slots=True)
class Home:
    """A household that the viewer may see. socket_names: what its people call its sockets.

    home_file_command: see `Fleet.home_file_command`.
    """

    id: HouseholdId
    name: str
    placement: Placement
    socket_names: dict[int, str]
    home_file_command: str

    @property
    def reader_url(self) -> str:
        """Where its readings are asked for; raises Problem while it is carried nowhere."""
        if self.placement == DELETED:
            raise Problem(HTTPStatus.GONE, "This home was deleted by an administrator.")
        if self.placement.reader_url is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "This home is still being set up. Try again soon.")
        return self.placement.reader_url


class Viewer:
    """A signed-in person, and the homes that this person may see. Calls may block for a moment."""

    def __init__(self, signed_in: SignedIn, store: Store, fleet: Fleet) -> None:
        self._signed_in = signed_in
        self._store = store
        self._fleet = fleet

    @property
    def name(self) -> str:
        """What the person is called; may be empty."""
        return self._signed_in.name

    @property
    def user_id(self) -> int:
        """Our own number of the person."""
        return self._signed_in.user_id

    def households(self) -> list[Home]:
        """All homes that the person may see, by name."""
        return [self._home(row) for row in self._store.households_of(self.user_id)]

    def household(self, household: str) -> Home:
        """That home; raises NotFound, always the same, unless the person may see it."""
        try:
            row = self._store.household_of(self.user_id, parse_household_id(household))
        except ValueError:
            row = None
        if row is None:
            raise NotFound("household")
        return self._home(row)

    def still_sees(self, household: HouseholdId, sessions: Sessions) -> bool:
        """Whether the session still holds and the home is still this person's, which long streams ask again."""
        held = sessions.renew(self._signed_in.session_id)
        return held is not None and self._store.household_of(self.user_id, household) is not None

    def _home(self, row: HouseholdRow) -> Home:
        household = parse_household_id(row.id)
        return Home(
            household,
            row.name,
            self._placement(household),
            self._store.socket_names(household),
            self._fleet.home_file_command(household),
        )

    def _placement(self, household: HouseholdId) -> Placement:
        placement = self._fleet.placement(household)
        return DELETED if placement == Placement() and self._store.is_missed(household) else placement


def _viewer(request: Request) -> Viewer:
    gateway = gateway_of(request)
    signed_in = gateway.sessions.find(gateway.cookies.session(request.cookies))
    if signed_in is None:
        raise SignedOut
    request.state.user_id = signed_in.user_id
    return Viewer(signed_in, gateway.store, gateway.fleet)


CurrentViewer = Annotated[Viewer, Depends(_viewer)]


def _home(request: Request, viewer: CurrentViewer, household_id: Annotated[str, Path(max_length=200)]) -> Home:
    home = viewer.household(household_id)
    request.state.household = home.id
    return home


ThisHome = Annotated[Home, Depends(_home)]
