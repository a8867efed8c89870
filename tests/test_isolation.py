"""Two households, two people: by no endpoint, socket, page or subject does one get a byte of the other.

The endpoints are taken from the OpenAPI document, so that a new one is covered by itself, or fails here because nobody
said what to call it with.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import nats
import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from running_platform import ALICE, BOB, Homes, RunningPlatform
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.home_file import HomeFile, read_home_file
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import receipts

SHARD = ShardId("s1")
ARGUMENTS: dict[str, str] = {"number": "1", "step_s": "900", "by": "day"}
MOMENTS = {"start": "2026-11-01T00:00:00+00:00", "end": "2026-11-02T00:00:00+00:00"}
DAYS = {"start": "2026-11-01", "end": "2026-11-02"}
BODIES: dict[tuple[str, str], Any] = {("patch", "/sockets/{number}"): {"name": "Mine now"}}
TOO_LATE_S = 3
REFUSED_WITHIN_S = 10


@pytest.fixture(scope="module")
def alice(platform: RunningPlatform, homes: Homes) -> Iterator[httpx.Client]:
    with platform.signed_in(ALICE) as client:
        yield client


@pytest.fixture(scope="module")
def bob(platform: RunningPlatform, homes: Homes) -> Iterator[httpx.Client]:
    with platform.signed_in(BOB) as client:
        yield client


def operations(client: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    document = client.get("/api/openapi.json").json()
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    ]


def call(client: httpx.Client, method: str, path: str, operation: dict[str, Any], household: str) -> httpx.Response:
    names = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    arguments = {**ARGUMENTS, **(DAYS if "by" in names else MOMENTS)}
    assert names <= arguments.keys(), f"say here what to call {path} with: {names - arguments.keys()}"
    body = next((body for (m, end), body in BODIES.items() if m == method and path.endswith(end)), None)
    address = path.format(household_id=household, **ARGUMENTS)
    with client.stream(method, address, params={n: arguments[n] for n in names}, json=body) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return answer
        answer.read()
        return answer


def test_there_are_endpoints_of_a_household_to_walk(alice: httpx.Client) -> None:
    assert len([path for _, path, _ in operations(alice) if "{household_id}" in path]) >= 8


def test_every_endpoint_serves_a_person_s_own_household(alice: httpx.Client, homes: Homes) -> None:
    statuses = {
        f"{method} {path}": call(alice, method, path, operation, homes.alice_flat).status_code
        for method, path, operation in operations(alice)
        if method == "get"
    }
    assert set(statuses.values()) == {200}, statuses


def test_every_endpoint_answers_another_s_household_like_one_that_does_not_exist(
    alice: httpx.Client, bob: httpx.Client, homes: Homes
) -> None:
    for client, foreign in ((alice, homes.bob_farm), (bob, homes.alice_house)):
        for method, path, operation in operations(client):
            if "{household_id}" not in path:
                continue
            answer = call(client, method, path, operation, foreign)
            nowhere = call(client, method, path, operation, mint_household_id())
            nonsense = call(client, method, path, operation, "*")
            assert (answer.status_code, nowhere.status_code, nonsense.status_code) == (404, 404, 404), (
                f"{method} {path}"
            )
            assert without_instance(answer) == without_instance(nowhere) == without_instance(nonsense)


def without_instance(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    return {name: value for name, value in answer.json().items() if name != "instance"}


def test_nothing_that_an_endpoint_tells_alice_names_what_is_bob_s(
    alice: httpx.Client, bob: httpx.Client, homes: Homes
) -> None:
    for client, own, foreign_words in (
        (alice, homes.alice_house, (homes.bob_farm, "Bob")),
        (bob, homes.bob_farm, (homes.alice_house, homes.alice_flat, "Alice")),
    ):
        for method, path, operation in operations(client):
            if method != "get" or path.endswith("/live"):
                continue
            told = call(client, method, path, operation, own).text
            assert not [word for word in foreign_words if word in told], path


def test_without_a_session_every_endpoint_answers_401(platform: RunningPlatform, homes: Homes) -> None:
    with httpx.Client(base_url=platform.url, headers={"Origin": platform.url}) as nobody:
        for method, path, operation in operations(nobody):
            assert call(nobody, method, path, operation, homes.bob_farm).status_code == 401, f"{method} {path}"


def test_a_reader_opens_a_household_only_to_a_grant_for_that_very_one(platform: RunningPlatform, homes: Homes) -> None:
    reader = platform.processes()["reader-s1"]["url"]
    key = next((platform.platform.home / "vault").rglob("*private*")).read_text()
    own = grants.sign(key, "reader", homes.alice_house, 30)
    command = grants.sign(key, "agent", homes.bob_farm, 30)
    for question in ("now", "refused", "range?start_ms=0&end_ms=60000&step_s=60"):
        address = f"{reader}/v1/households/{homes.bob_farm}/{question}"
        for bearer in (own, command, "nonsense"):
            assert httpx.get(address, headers={"Authorization": f"Bearer {bearer}"}).status_code == 401
        assert httpx.get(address).status_code == 401
    granted = httpx.get(f"{reader}/v1/households/{homes.alice_house}/now", headers={"Authorization": f"Bearer {own}"})
    assert granted.status_code == 200


class Intruder:
    """Alice's home, connected with its own credential, and everything that the server forbade it."""

    def __init__(self, home: HomeFile, folder: Any) -> None:
        self.home = home
        self.forbidden: list[str] = []
        self._credentials = folder / "home.creds"
        self._credentials.write_text(home.credentials)

    async def __aenter__(self) -> "Intruder":
        self.nats = await nats.connect(
            list(self.home.servers),
            user_credentials=str(self._credentials),
            inbox_prefix=subjects.agent_inbox(self.home.household).encode(),
            error_cb=self._note,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.nats.close()

    async def _note(self, error: Exception) -> None:
        self.forbidden.append(str(error).lower())

    async def refused(self, subject: str) -> None:
        """Waits until the server has said no to `subject`; raises TimeoutError when it does not."""
        said_no = f'to "{subject.lower()}"'
        await eventually(
            lambda: any("permissions violation" in told and said_no in told for told in self.forbidden),
            REFUSED_WITHIN_S,
            f"{subject} is refused",
        )


def foreign_subjects(homes: Homes) -> tuple[list[str], list[str]]:
    bob = homes.bob_farm
    publish = [
        subjects.measurements(SHARD, bob),
        subjects.measurements(SHARD, homes.alice_house) + ".deeper",
        subjects.commands(bob),
        subjects.quarantine(SHARD, bob, "malformed"),
        f"{subjects.agent_inbox(bob)}.x",
        f"{subjects.agent_inbox(homes.alice_house)}.x",
        f"{subjects.GATEWAY_INBOX}.x",
        f"{subjects.INGEST_INBOX}.x",
        *(subjects.bundles(SHARD, lane, "anyrun") for lane in Lane),
        *(f"$JS.API.STREAM.PURGE.{subjects.bundle_stream(SHARD, lane)}" for lane in Lane),
        f"$JS.ACK.{subjects.bundle_stream(SHARD, Lane.LIVE)}.{subjects.WRITER_CONSUMER}.1.1.1.1.1",
        "$JS.API.INFO",
        f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{bob}",
        f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{homes.alice_house}",
        f"$KV.{subjects.LEDGER_BUCKET}.{subjects.ledger_key(Lane.LIVE, 'anyrun')}",
        "$SYS.REQ.CLAIMS.UPDATE",
    ]
    listen = [
        ">",
        "m.>",
        "m.*.*",
        subjects.all_measurements(SHARD),
        "b.>",
        subjects.all_bundles(SHARD, Lane.LIVE),
        "c.*",
        subjects.measurements(SHARD, bob),
        subjects.measurements(SHARD, homes.alice_house),
        subjects.commands(bob),
        f"{subjects.agent_inbox(bob)}.>",
        f"{subjects.GATEWAY_INBOX}.>",
        f"{subjects.INGEST_INBOX}.>",
        "$JS.>",
        "$SYS.>",
        "_INBOX.>",
        "_INBOX.*.>",
    ]
    return publish, listen


def test_a_home_s_credential_reaches_no_subject_of_another(
    platform: RunningPlatform, homes: Homes, tmp_path: Any
) -> None:
    home = read_home_file(platform.home_file(homes.alice_house))
    publish, listen = foreign_subjects(homes)

    async def intrude() -> None:
        async with Intruder(home, tmp_path) as intruder:
            for subject in publish:
                await intruder.nats.publish(subject, b"x")
                await intruder.refused(subject)
            for subject in listen:
                await intruder.nats.subscribe(subject)
                await intruder.refused(subject)

    asyncio.run(intrude())


def test_a_home_cannot_stand_in_for_the_ingest_and_take_what_others_send(
    platform: RunningPlatform, homes: Homes, tmp_path: Any
) -> None:
    """Of a queue group each message goes to one member: whoever joined would be sent a share of everybody's."""
    home = read_home_file(platform.home_file(homes.alice_house))

    async def intrude() -> None:
        for subject in (subjects.all_measurements(SHARD), subjects.measurements(SHARD, homes.bob_farm), "m.>"):
            async with Intruder(home, tmp_path) as intruder:
                await intruder.nats.subscribe(subject, queue=subjects.INGEST_QUEUE)
                await intruder.refused(subject)

    asyncio.run(intrude())


def test_an_acknowledgement_cannot_be_sent_into_another_home_s_subjects(
    platform: RunningPlatform, homes: Homes, tmp_path: Any
) -> None:
    """The ingest may answer any home: so it must not answer where a publisher says, but only who has sent."""
    alice, bob = (read_home_file(platform.home_file(home)) for home in (homes.alice_flat, homes.bob_farm))
    before = platform.stored(bob.household).keys()
    replies = [
        f"{subjects.agent_inbox(bob.household)}.token.1",
        subjects.commands(bob.household),
        subjects.measurements(SHARD, bob.household),
        f"{subjects.agent_inbox(homes.alice_house)}.token.1",
        f"{subjects.agent_inbox(alice.household)}",
        *(f"$JS.API.STREAM.PURGE.{subjects.bundle_stream(SHARD, lane)}" for lane in Lane),
        f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{bob.household}",
        f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{alice.household}",
    ]

    async def intrude() -> None:
        async with Intruder(alice, tmp_path / "alice") as intruder, Intruder(bob, tmp_path / "bob") as victim:
            heard: list[str] = []

            async def hear(message: Msg) -> None:
                heard.append(message.subject)

            await victim.nats.subscribe(f"{subjects.agent_inbox(bob.household)}.>", cb=hear)
            await victim.nats.subscribe(subjects.commands(bob.household), cb=hear)
            await victim.nats.flush()
            own = subjects.measurements(SHARD, alice.household)
            for reply in replies:
                await intruder.nats.publish(own, message(), reply=reply)
            with pytest.raises((NatsTimeoutError, NoRespondersError)):
                await intruder.nats.request("m.s2." + alice.household, message(), timeout=TOO_LATE_S)
            # What was sent before is answered before, if it is answered at all.
            assert (await intruder.nats.request(own, message(sequence=2), timeout=10)).data == receipts.ACKNOWLEDGED
            await victim.nats.flush()
            assert heard == []

    for folder in ("alice", "bob"):
        (tmp_path / folder).mkdir()
    asyncio.run(intrude())
    assert platform.stored(bob.household).keys() == before
