"""A stand-in for the gateway, for looking at the page and for its browser tests: one origin, believable homes.

It serves the exported page, passes the event socket on to the page's backend, and answers the API for some people from
a simulated house: Alice has two homes, Nora none and may add none, Nick none yet. The data has what real homes have: a
stretch in which nothing was measured, a socket that went silent, one that was never heard of, refused messages.
`POST /fake/…` switches faults.

    python ui_reflex/tests/ui_fake_gateway.py FOLDER BACKEND_URL PORT
"""

import asyncio
import csv
import io
import json
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import uvicorn
import websockets
from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect

HOUSE = "h0000000000000alice"
CABIN = "h0000000000000cabin"
HOMES = {
    HOUSE: {"id": HOUSE, "name": "Alice's house", "time_zone": "Europe/London", "home_file_command": ""},
    CABIN: {"id": CABIN, "name": "Mountain cabin", "time_zone": "America/New_York", "home_file_command": ""},
}
PEOPLE: dict[str, tuple[str, list[str]]] = {
    "alice": ("Alice Ampere", [HOUSE, CABIN]),
    "sam": ("Sam Solo", [HOUSE]),
    "nora": ("Nora Newcomer", []),
    "nick": ("Nick Newcomer", []),
    "anna": ("Anna Another", [HOUSE]),
}
MAY_ADD = ("nick", "anna")
NAMES = {
    HOUSE: ["Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge", "Attic"],
    CABIN: ["Boiler", "Lights", "Fridge"],
}
HOUR_MS = 3_600_000


@dataclass
class Faults:
    """What the tests switch: the API down, sessions ended, live values replaced by the minute's, homes that wait.

    no_home: the gateway's words when it takes no home.
    """

    down: bool = False
    signed_out: bool = False
    minute_only: bool = False
    homes_wait: bool = False
    no_home: str = ""


def power_w(home: str, number: int, at_ms: int, now_ms: int) -> float | None:
    """The simulated house: a socket's watts at a minute, None where nothing was measured."""
    at_ms -= at_ms % 60_000
    if home == CABIN:
        return [620.0, 45.0, 70.0][number - 1] * (1 + 0.3 * math.sin(at_ms / HOUR_MS + number))
    age_h = (now_ms - at_ms) / HOUR_MS
    if 7.5 < age_h % 72 < 9 or number == 7 or (number == 4 and age_h < 2):
        return None
    hour = datetime.fromtimestamp(at_ms / 1000, ZoneInfo("Europe/London"))
    h = hour.hour + hour.minute / 60
    wave = math.sin(at_ms / 60_000 / (7 + number)) + math.sin(at_ms / 60_000 / (31 + 3 * number))

    def bump(middle: float, width: float) -> float:
        return math.exp(-(((h - middle) / width) ** 2))

    base = {
        1: 260 + 620 * bump(5, 3.5) + 320 * bump(20.5, 3) + 30 * wave,
        2: 1600 + 60 * wave if h < 4.3 else 3,
        3: 45 + 520 * bump(7.5, 0.8) + 640 * bump(18.6, 0.9) + 12 * wave,
        4: 4 + (900 * bump(10.3, 1.1)),
        5: 12 + (95 + 8 * wave) * (8.5 < h < 18),
        6: 62 + 26 * wave,
    }[number]
    return round(max(base, 0.0), 1)


@dataclass
class World:
    """The simulated homes as the API tells of them, and what is wrong with them."""

    faults: Faults = field(default_factory=Faults)
    names: dict[tuple[str, int], str] = field(default_factory=dict)

    def viewer(self, wattfleet_session: Annotated[str, Cookie()] = "") -> str:
        if wattfleet_session not in PEOPLE or self.faults.signed_out:
            raise HTTPException(401, "Not signed in")
        return wattfleet_session

    def home(self, home: str) -> dict[str, Any]:
        waits = self.faults.homes_wait and home not in (HOUSE, CABIN)
        state = {"ready": not waits, "placed": not waits, "reason": "NoShardHasRoom" if waits else "Ready"}
        return {**HOMES[home], **state}

    def sockets(self, home: str) -> list[dict[str, Any]]:
        return [{"number": i, "name": self.names.get((home, i), name)} for i, name in enumerate(NAMES[home], start=1)]

    def now(self, home: str) -> dict[str, Any]:
        now_ms = int(time.time() * 1000)
        last = now_ms - now_ms % 60_000 - 60_000
        lines = []
        for socket in self.sockets(home):
            power = power_w(home, socket["number"], last, now_ms)
            state = "online" if power is not None else "silent" if socket["number"] == 7 else "offline"
            at_ms = {"online": last, "offline": last - 2 * HOUR_MS, "silent": None}[state]
            lines.append({**socket, "power_w": power, "at_ms": at_ms, "state": state})
        known = [line["power_w"] for line in lines if line["power_w"] is not None]
        return {"power_w": round(sum(known), 1) if known else None, "at_ms": last, "sockets": lines}

    def live(self, home: str) -> dict[str, Any]:
        latest, slow = self.now(home), self.faults.minute_only
        return {
            "at_ms": latest["at_ms"] if slow else int(time.time() * 1000),
            "source": "minute" if slow else "live",
            "power_w": _wobbling(latest["power_w"], slow),
            "sockets": [{"number": line["number"], "power_w": line["power_w"]} for line in latest["sockets"]],
        }

    def buckets(self, home: str, edges: list[tuple[int, int]]) -> list[dict[str, Any]]:
        now_ms = int(time.time() * 1000)
        answer = []
        for socket in self.sockets(home):
            means, measured = [], []
            for start, end in edges:
                # Three samples of a bucket are enough to believe it.
                every = range(start, end, max(60_000, (end - start) // 3 // 60_000 * 60_000))
                powers = [power_w(home, socket["number"], at, now_ms) for at in every if at < now_ms - 60_000]
                known = [power for power in powers if power is not None]
                means.append(round(sum(known) / len(known), 2) if known else None)
                measured.append(round(len(known) / len(every), 4))
            answer.append({**socket, "mean_power_w": means, "measured": measured})
        return answer

    def day(self, home: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
        lines = []
        for socket in self.buckets(home, [(at, at + 900_000) for at in range(start_ms, end_ms, 900_000)]):
            parts = zip(socket.pop("mean_power_w"), socket.pop("measured"), strict=True)
            known = [power * share / 4 for power, share in parts if power is not None]
            lines.append({**socket, "energy_wh": [round(sum(known), 1) if known else None], "measured": [1.0]})
        return lines


def _wobbling(power: float | None, slow: bool) -> float | None:
    return None if power is None else round(power + (0 if slow else 40 * math.sin(time.time() / 3)), 1)


def create_app(static: Path, backend: str) -> FastAPI:
    """The stand-in, serving the page exported into `static` and the backend at `backend` (http://host:port)."""
    app = FastAPI()
    app.state.world = world = World()
    policy = (static / "content-security-policy.txt").read_text().strip()

    @app.middleware("http")
    async def answer(request: Request, call_next: Any) -> Response:
        if world.faults.down and request.url.path.startswith("/api"):
            return problem(503, "Unavailable")
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = policy
        return response

    @app.exception_handler(HTTPException)
    async def as_problem(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail))

    add_people(app, world)
    add_readings(app, world)
    add_page(app, static, backend)
    return app


def add_people(app: FastAPI, world: World) -> None:
    """Signing in and out, who somebody is, and the switches for faults."""

    @app.get("/auth/sign-in")
    def sign_in(return_to: str = "/", who: str = "alice") -> Response:
        world.faults.signed_out = False
        response = RedirectResponse(return_to, 303)
        response.set_cookie("wattfleet_session", who, httponly=True, samesite="lax")
        return response

    @app.post("/auth/sign-out")
    def sign_out() -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie("wattfleet_session")
        return response

    @app.post("/fake/{fault}")
    def switch(fault: str, on: bool) -> None:
        setattr(world.faults, fault, on)

    @app.get("/api/v1/viewer")
    def viewer(who: Annotated[str, Depends(world.viewer)]) -> Any:
        return {"name": PEOPLE[who][0], "may_add_home": who in MAY_ADD}

    @app.get("/api/v1/households")
    def households(who: Annotated[str, Depends(world.viewer)]) -> Any:
        return [world.home(home) for home in PEOPLE[who][1]]

    @app.post("/api/v1/households", status_code=201)
    def add(who: Annotated[str, Depends(world.viewer)], body: dict[str, str]) -> Any:
        if world.faults.no_home:
            raise HTTPException(409, world.faults.no_home)
        home = f"h{len(HOMES):020}"
        HOMES[home] = {"id": home, **body, "home_file_command": f"fetch --home {home} > home.json"}
        NAMES[home] = []
        PEOPLE[who][1].append(home)
        return world.home(home)


def add_readings(app: FastAPI, world: World) -> None:
    """What belongs to one home."""

    def home_of(household: str, who: Annotated[str, Depends(world.viewer)]) -> str:
        if household not in PEOPLE[who][1]:
            raise HTTPException(404, "No such household")
        return household

    Home = Annotated[str, Depends(home_of)]  # noqa: N806 (a type)
    api = "/api/v1/households/{household}"

    @app.patch(api + "/sockets/{number}")
    def rename(home: Home, number: int, body: dict[str, str]) -> Any:
        world.names[home, number] = body["name"]
        return {"number": number, "name": body["name"]}

    @app.get(api + "/readings/now")
    def now(home: Home) -> Any:
        return world.now(home)

    @app.get(api + "/readings/range")
    def readings_range(home: Home, start: datetime, end: datetime, step_s: int) -> Any:
        edges = edges_of(start, end, step_s)
        return {"step_s": step_s, "start_ms": [edge[0] for edge in edges], "sockets": world.buckets(home, edges)}

    @app.get(api + "/readings/energy")
    def energy(home: Home, start: date, end: date, by: str) -> Any:
        zone = ZoneInfo(str(HOMES[home]["time_zone"]))
        start_ms, end_ms = (ms(datetime(day.year, day.month, day.day, tzinfo=zone)) for day in (start, end))
        day = {"start_ms": [start_ms], "end_ms": [end_ms], "sockets": world.day(home, start_ms, end_ms)}
        return {"by": by, "time_zone": str(zone), **day}

    @app.get(api + "/readings/export.csv")
    def export(home: Home, start: datetime, end: datetime, step_s: int) -> Response:
        edges = edges_of(start, end, step_s)
        text = io.StringIO()
        out = csv.writer(text)
        out.writerow(["time", "socket", "name", "mean_power_w", "measured"])
        for socket in world.buckets(home, edges):
            for (at, _), mean, share in zip(edges, socket["mean_power_w"], socket["measured"], strict=True):
                out.writerow([at, socket["number"], socket["name"], mean, share])
        disposition = {"Content-Disposition": 'attachment; filename="readings.csv"'}
        return Response(text.getvalue(), media_type="text/csv", headers=disposition)

    @app.get(api + "/quarantine")
    def quarantine(home: Home) -> Any:
        last = int((time.time() - 5 * 3600) * 1000)
        return [{"reason": "implausible-power", "count": 3, "last_ms": last}] if home == HOUSE else []

    @app.get(api + "/live")
    def live(home: Home, request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            while not await request.is_disconnected() and not world.faults.signed_out:
                yield f"event: reading\ndata: {json.dumps(world.live(home))}\n\n"
                await asyncio.sleep(1)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def add_page(app: FastAPI, static: Path, backend: str) -> None:
    """The exported page, and its event socket passed on to its backend."""

    @app.websocket("/_event/")
    async def event_socket(socket: WebSocket) -> None:
        await pass_on(socket, backend)

    @app.get("/{path:path}")
    def file(path: str) -> Response:
        for name in (path, f"{path}.html", f"{path}/index.html"):
            found = (static / (name or "index.html")).resolve()
            if found.is_file() and found.is_relative_to(static.resolve()):
                return FileResponse(found)
        return FileResponse(static / "404.html", 404)


async def pass_on(socket: WebSocket, backend: str) -> None:
    """Carry the event socket both ways, with the person's cookie, until either side ends."""
    protocols = [websockets.Subprotocol(name) for name in socket.scope["subprotocols"]]
    url = f"{backend.replace('http', 'ws', 1)}/_event/?{socket.url.query}"
    headers = {"Cookie": socket.headers.get("cookie", "")}
    origin = websockets.Origin(socket.headers["origin"])
    async with websockets.connect(
        url, subprotocols=protocols or None, additional_headers=headers, origin=origin, max_size=None
    ) as upstream:
        await socket.accept(subprotocol=upstream.subprotocol)

        async def up() -> None:
            with suppress(WebSocketDisconnect):
                while True:
                    await upstream.send(await socket.receive_text())
            await upstream.close()

        sending = asyncio.create_task(up())
        with suppress(websockets.ConnectionClosed):
            async for message in upstream:
                await socket.send_text(str(message))
        sending.cancel()


def edges_of(start: datetime, end: datetime, step_s: int) -> list[tuple[int, int]]:
    """The buckets between two times, in ms."""
    step_ms = step_s * 1000
    return [(at, at + step_ms) for at in range(ms(start), ms(end), step_ms)]


def ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return int(at.timestamp() * 1000)


def problem(status: int, title: str) -> Response:
    """An RFC 9457 answer."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": title}
    return JSONResponse(body, status, media_type="application/problem+json")


if __name__ == "__main__":
    folder, backend_url, port = sys.argv[1:]
    uvicorn.run(create_app(Path(folder), backend_url), host="127.0.0.1", port=int(port), log_level="warning")
