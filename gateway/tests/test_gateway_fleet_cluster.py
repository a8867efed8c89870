"""What a gateway in a cluster makes of an API server's moods; on a real one it is tested in e2e/tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_gateway.fleet import FleetRefuses, FleetUnavailable, Placement
from wattfleet_gateway.fleet_cluster import ClusterFleet, cluster_client
from wattfleet_gateway.settings import WrongSettings
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.waiting import eventually

SOON_S = 5.0
WAITING = Placement("Europe/Paris", reason="NotReported")
CONFIG = KubeConfig.from_dict(
    {
        "clusters": [{"name": "c", "cluster": {"server": "http://api.test"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "wattfleet"}}],
        "current-context": "x",
    }
)

Watch = Callable[[], AsyncIterator[bytes]]


def body(household: str, version: int = 1, **spec: object) -> dict[str, Any]:
    metadata = {"name": household, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"timeZone": "Europe/Paris", **spec}}


def event(kind: str, told: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": told}).encode() + b"\n"


def status(code: int, reason: str, message: str = "no") -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


@dataclass
class Api:
    """An API server that has `households`; each watch of them goes through the next of `watches`, then is silent."""

    households: list[dict[str, Any]] = field(default_factory=list)
    watches: list[Watch | httpx2.Response] = field(default_factory=list)
    refuses: httpx2.Response | Exception | None = None
    asked: list[httpx2.URL] = field(default_factory=list)

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url)
        if self.refuses is not None:
            if isinstance(self.refuses, Exception):
                raise self.refuses
            return self.refuses
        if "watch" in request.url.params:
            return self._watched() if "households" in request.url.path else httpx2.Response(200, content=silence())
        items = self.households if "households" in request.url.path else []
        if request.method == "POST":
            return httpx2.Response(201, json=body(json.loads(request.content)["metadata"]["name"]))
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": items})

    def _watched(self) -> httpx2.Response:
        then = self.watches.pop(0) if self.watches else silence
        return then if isinstance(then, httpx2.Response) else httpx2.Response(200, content=then())

    def watched(self) -> list[str]:
        """From which version on each watch of the households was asked for."""
        return [
            url.params["resourceVersion"] for url in self.asked if "watch" in url.params and "households" in url.path
        ]


async def silence() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def telling(*lines: bytes, then: Exception | None = None) -> Watch:
    async def watch() -> AsyncIterator[bytes]:
        for line in lines:
            yield line
        if then is not None:
            raise then

    return watch


@asynccontextmanager
async def fleet_of(api: Api, health: Health | None = None) -> AsyncIterator[ClusterFleet]:
    client = AsyncClient(config=CONFIG, transport=httpx2.MockTransport(api.answer))
    async with ClusterFleet(client, health or Health("fleet")) as fleet:
        yield fleet


async def sees(fleet: ClusterFleet, household: HouseholdId, placement: Placement) -> None:
    await eventually(lambda: fleet.placement(household) == placement, SOON_S, f"{placement.reason} is seen")


@pytest.mark.parametrize(
    "trouble",
    [
        telling(event("ERROR", status(410, "Expired", "too old resource version"))),
        httpx2.Response(410, json=status(410, "Expired")),
        httpx2.Response(502, content=b"<html>"),
        telling(then=httpx2.ReadError("cut")),
        telling(event("ADDED", body("h"))[:30], then=httpx2.RemoteProtocolError("cut")),
        telling(b"this is not JSON\n"),
        telling(b'{"type": "ADDED", "object": {}}\n'),
        telling(b'{"type": "BEWILDERED", "object": 7}\n'),
    ],
    ids=["too old", "too old at once", "a broken proxy", "cut", "half a line", "no JSON", "no name", "no resource"],
)
async def test_after_any_trouble_with_the_watch_everything_is_learnt_again(
    trouble: Watch | httpx2.Response, household: HouseholdId
) -> None:
    gone, api = mint_household_id(), Api(watches=[trouble])
    api.households = [body(gone)]
    async with fleet_of(api) as fleet:
        await sees(fleet, gone, WAITING)
        api.households = [body(household)]
        await sees(fleet, household, WAITING)
        assert fleet.placement(gone) == Placement(), "what was deleted meanwhile is gone"


async def test_a_watch_that_ends_goes_on_where_it_ended(household: HouseholdId) -> None:
    api = Api(watches=[telling(event("ADDED", body(household, 9))), telling(event("DELETED", body(household, 12)))])
    async with fleet_of(api) as fleet:
        await eventually(lambda: len(api.watched()) == 3, SOON_S, "it is watched again")
        assert fleet.placement(household) == Placement()
    assert api.watched() == ["7", "9", "12"]


async def test_a_connection_that_went_silent_is_given_up_and_nothing_is_asked_twice(
    household: HouseholdId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattfleet_gateway.fleet_cluster._WATCHED_AT_ONCE_S", 0.2)

    async def one_then_silence() -> AsyncIterator[bytes]:
        yield event("ADDED", body(household, 9))
        await asyncio.Event().wait()

    api = Api(watches=[one_then_silence])
    async with fleet_of(api) as fleet:
        await eventually(lambda: len(api.watched()) >= 2, SOON_S, "it is watched again")
        assert fleet.placement(household) == WAITING
    assert api.watched()[:2] == ["7", "9"]
    assert sum("watch" not in url.params and "households" in url.path for url in api.asked) == 1


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (httpx2.Response(403, json=status(403, "Forbidden", "cannot list households")), "cannot list households"),
        (httpx2.ConnectError("refused"), "ConnectError"),
        (httpx2.ReadTimeout("slow"), "ReadTimeout"),
        (httpx2.Response(200, content=b"<html>"), "DecodeError"),
    ],
    ids=["forbidden", "away", "slow", "no API"],
)
async def test_health_says_why_the_fleet_was_never_seen_until_it_is(
    refusal: httpx2.Response | Exception, says: str, household: HouseholdId
) -> None:
    health, api = Health("fleet"), Api([body(household)], refuses=refusal)
    async with fleet_of(api, health) as fleet:
        await eventually(lambda: says in health.troubles["fleet"], SOON_S, "it says why")
        assert "never listed" in health.troubles["fleet"]
        assert fleet.placement(household) == Placement()
        api.refuses = None
        await eventually(lambda: not health.troubles, SOON_S, "it is ready")
        assert fleet.placement(household) == WAITING
        api.refuses = refusal
        assert not health.troubles, "what is known is still known"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx2.Response(403, json=status(403, "Forbidden")), FleetRefuses),
        (httpx2.Response(422, json=status(422, "Invalid")), FleetRefuses),
        (httpx2.Response(429, json=status(429, "TooManyRequests")), FleetRefuses),
        (httpx2.Response(409, json=status(409, "Conflict", "quota")), FleetRefuses),
        (httpx2.Response(500, json=status(500, "InternalError")), FleetUnavailable),
        (httpx2.Response(504, json=status(504, "Timeout")), FleetUnavailable),
        (httpx2.Response(502, content=b"<html>", headers={"Content-Type": "text/html"}), FleetUnavailable),
        (httpx2.ConnectError("refused"), FleetUnavailable),
        (httpx2.ReadTimeout("slow"), FleetUnavailable),
    ],
    ids=["forbidden", "invalid", "too many", "quota", "broken", "timeout", "a proxy", "away", "slow"],
)
async def test_a_no_is_told_from_an_answer_that_nobody_has(
    answer: httpx2.Response | Exception, error: type[Exception], household: HouseholdId
) -> None:
    async with fleet_of(Api(refuses=answer)) as fleet:
        with pytest.raises(error):
            await fleet.create(household, "Europe/Paris", "local")
        assert fleet.placement(household) == Placement()


async def test_a_household_is_lacking_only_when_the_api_server_says_so_now(household: HouseholdId) -> None:
    late, api = mint_household_id(), Api([body(household)])
    async with fleet_of(api) as fleet:
        await sees(fleet, household, WAITING)
        asked = len(api.asked)
        assert not await fleet.lacks(household)
        assert len(api.asked) == asked, "what is known costs no request"
        api.households = [body(late)]
        assert not await fleet.lacks(late), "news of it may be late"
        assert await fleet.lacks(mint_household_id())


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404, content=b"404 page not found", headers={"Content-Type": "text/plain"}),
        httpx2.Response(403, json=status(403, "Forbidden")),
        httpx2.Response(503, content=b"<html>", headers={"Content-Type": "text/html"}),
        httpx2.ConnectError("refused"),
    ],
    ids=["no definition", "forbidden", "a proxy", "away"],
)
async def test_an_api_server_that_cannot_tell_lacks_nothing(
    answer: httpx2.Response | Exception, household: HouseholdId
) -> None:
    api = Api()
    async with fleet_of(api) as fleet:
        await eventually(api.watched, SOON_S, "it is watched")
        api.refuses = answer
        with pytest.raises(FleetUnavailable):
            await fleet.lacks(household)


async def test_a_fleet_that_was_never_listed_lacks_nothing(household: HouseholdId) -> None:
    async with fleet_of(Api(refuses=httpx2.ConnectError("refused"))) as fleet:
        with pytest.raises(FleetUnavailable, match="never listed"):
            await fleet.lacks(household)


async def test_a_household_that_is_there_already_was_created(household: HouseholdId) -> None:
    async with fleet_of(Api(refuses=httpx2.Response(409, json=status(409, "AlreadyExists")))) as fleet:
        await fleet.create(household, "Europe/Paris", "local")


async def test_what_was_just_created_is_known_before_the_watch_tells_it(household: HouseholdId) -> None:
    async with fleet_of(Api()) as fleet:
        await fleet.create(household, "Europe/Paris", "local")
        assert fleet.placement(household) == WAITING
        assert f"--namespace wattfleet --set home.existingSecret=home-{household} " in fleet.home_file_command(
            household
        )


def test_outside_a_cluster_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(WrongSettings, match="neither a ServiceAccount's token nor a KUBECONFIG"):
        cluster_client()
