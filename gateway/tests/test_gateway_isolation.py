"""Two people, two homes: by every door that the OpenAPI document names, neither gets a byte of the other's.

New endpoints are covered by themselves, as long as they name their parameter `household_id`.
"""

import re
from typing import Any

import httpx2
from gateway_running import Serving
from wattfleet_tenants.household import mint_household_id

# What an endpoint needs besides the household, so that it would answer its owner.
QUERIES = {
    "start": {"date": "2026-11-01", "date-time": "2026-11-01T00:00:00Z"},
    "end": {"date": "2026-11-02", "date-time": "2026-11-02T00:00:00Z"},
    "step_s": {None: "900"},
    "by": {None: "day"},
}
BODY = {"name": "Renamed"}
METHODS = ("get", "put", "post", "patch", "delete")


def questions(document: dict[str, Any]) -> list[tuple[str, str, dict[str, str]]]:
    """Every (method, path with {household_id}, query) of the document that is about a household."""
    found = []
    for path, operations in document["paths"].items():
        for method in METHODS:
            if "{household_id}" in path and method in operations:
                parameters = operations[method].get("parameters", [])
                query = {
                    parameter["name"]: QUERIES[parameter["name"]][parameter["schema"].get("format")]
                    for parameter in parameters
                    if parameter["in"] == "query"
                }
                found.append((method, re.sub(r"\{(?!household_id)\w+\}", "1", path), query))
    return found


async def ask(
    browser: httpx2.AsyncClient, method: str, path: str, household: str, query: dict[str, str]
) -> tuple[int, str, bytes]:
    body = None if method == "get" else BODY
    async with browser.stream(method, path.replace("{household_id}", household), params=query, json=body) as answer:
        first = b"" if answer.headers["content-type"].startswith("text/event-stream") else await answer.aread()
        return answer.status_code, answer.headers["content-type"], first


async def test_anothers_home_is_answered_like_no_home_by_every_endpoint(gateway: Serving) -> None:
    theirs = gateway.home_of("bob", "Bob's farm", ("Secret workshop",))
    mine = gateway.home_of("alice", "Alice's flat")
    alice = await gateway.signed_in("alice")
    document = (await alice.get("/api/openapi.json")).json()
    asked = questions(document)
    assert len(asked) >= 9
    for method, path, query in asked:
        answers = [
            await ask(alice, method, path, household, query)
            for household in (theirs, mint_household_id(), "*", "h", "%2e%2e", mine.upper(), f"{mine}%00", "x" * 150)
        ]
        status, kind, body = answers[0]
        assert (status, kind) == (404, "application/problem+json"), (method, path)
        assert len(set(answers)) == 1, (method, path, answers)
        assert b"Bob" not in body
        own_status, _, own_body = await ask(alice, method, path, mine, query)
        assert own_status == 200, (method, path, own_body)
    assert gateway.parts.store.socket_names(theirs) == {1: "Secret workshop"}
    assert {question.household for question in gateway.history.asked} <= {mine}


async def test_every_endpoint_is_closed_to_whoever_is_not_signed_in(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    nobody = await gateway.browser()
    document = (await nobody.get("/api/openapi.json")).json()
    stale = await gateway.browser()
    stale.cookies.set("wattfleet_session", "a cookie of long ago")
    for path, operations in document["paths"].items():
        for method in METHODS:
            if path.startswith("/api/") and method in operations:
                for browser in (nobody, stale):
                    status, kind, _ = await ask(browser, method, re.sub(r"\{\w+\}", home, path), home, {})
                    assert (status, kind) == (401, "application/problem+json"), (method, path)


async def test_each_person_lists_their_own_homes_only(gateway: Serving) -> None:
    flat, house = gateway.home_of("alice", "Alice's flat"), gateway.home_of("alice", "Alice's house")
    farm = gateway.home_of("bob", "Bob's farm")
    alice, bob = await gateway.signed_in("alice"), await gateway.signed_in("bob", "Bob")
    assert [home["id"] for home in (await alice.get("/api/v1/households")).json()] == [flat, house]
    assert [home["id"] for home in (await bob.get("/api/v1/households")).json()] == [farm]


async def test_a_home_of_two_people_is_seen_by_both(gateway: Serving) -> None:
    home = gateway.home_of("alice", "Ours")
    store = gateway.parts.store
    store.ensure_household(home, "Ours", store.ensure_user(gateway.settings.oidc.issuer, "bob"))
    for person in ("alice", "bob"):
        browser = await gateway.signed_in(person)
        assert [found["name"] for found in (await browser.get("/api/v1/households")).json()] == ["Ours"]


async def test_every_error_answer_is_documented_as_a_problem(gateway: Serving) -> None:
    document = (await (await gateway.browser()).get("/api/openapi.json")).json()
    for path, operations in document["paths"].items():
        if path.startswith("/api/"):
            for operation in operations.values():
                assert "401" in operation["responses"], path
                for status, answer in operation["responses"].items():
                    if status >= "400":
                        assert "application/problem+json" in answer["content"], (path, status)
    assert "ProblemDocument" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_nothing_else_is_served(gateway: Serving) -> None:
    browser = await gateway.browser()
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/healthz", "/api", "/api/v1/nothing", "/_upload"):
        answer = await browser.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
