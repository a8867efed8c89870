"""The agent's command line: `python -m wattfleet_agent --help`.

Wrong input is one line on standard error and exit code 2; an agent that runs ends only when it is told to.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from wattfleet_tenants.telemetry import logs

from wattfleet_agent import wiring
from wattfleet_agent.history import MOST_DAYS
from wattfleet_agent.link import read_home
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.recorded_house import SOCKETS, RecordedHouse
from wattfleet_agent.simulated.home import HOMES, SimulatedHome, sockets_of

_WRONG_INPUT = 2
_NOT_DONE = 1
_SENSOR = f"what measures: simulated:NAME, where NAME is one of {', '.join(HOMES)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        logs.configure("agent", _log_level(chosen))
        return _obey(chosen)
    except (OSError, ValueError) as error:
        return _fail(str(error), _WRONG_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", _NOT_DONE)
    except sqlite3.DatabaseError as error:
        # Started again, the agent moves a damaged outbox aside.
        return _fail(f"the outbox does not work: {error}", _NOT_DONE)


def _obey(chosen: argparse.Namespace) -> int:
    """Runs the command; of several failures in its tasks, which end together, the first is raised."""
    try:
        code: int = chosen.command(chosen)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return code


def _run(chosen: argparse.Namespace) -> int:
    home = SimulatedHome(_simulated(chosen.sensor), chosen.sockets)
    asyncio.run(wiring.run(chosen.home, chosen.outbox or _beside(chosen.home, "outbox"), home, chosen.history))
    return 0


def _replay(chosen: argparse.Namespace) -> int:
    outbox = chosen.outbox or _beside(chosen.home, "replay")
    outcome = asyncio.run(wiring.replay(chosen.home, outbox, RecordedHouse(chosen.file, chosen.time_zone)))
    if outcome.complete and not chosen.outbox:
        _remove(outbox)
    print(f"sent {outcome.minutes} minutes, acknowledged {outcome.acknowledged}, in {outcome.took_s:.1f} s")
    if not outcome.complete:
        return _fail("stopped before all was acknowledged: the same command goes on from here", _NOT_DONE)
    return 0


def _resend(chosen: argparse.Namespace) -> int:
    household = read_home(chosen.home).household
    outbox = Outbox(chosen.outbox or _beside(chosen.home, "outbox"), household, repair=False)
    messages = outbox.send_again(round(chosen.since.timestamp() * 1000))
    outbox.close()
    print(f"{messages} messages will be sent again by the running agent, or when it is started")
    return 0


def _sockets(chosen: argparse.Namespace) -> int:
    names = [socket.name for socket in sockets_of(_simulated(chosen.sensor), chosen.sockets)]
    print(json.dumps(names))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wattfleet_agent",
        description="Measures every socket of a home and sends one small message a minute.",
        epilog="WATTFLEET_LOG_LEVEL=DEBUG says more; WATTFLEET_HEALTH_PORT opens /metrics, /healthz and /readyz.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="measure and send, until told to stop")
    _add_home(run)
    _add_sensor(run, "--sensor")
    run.add_argument(
        "--history",
        type=_days,
        default=0,
        metavar="DAYS",
        help="first send what is missing of the last DAYS days (a simulated home knows its past)",
    )
    run.set_defaults(command=_run)

    replay = commands.add_parser(
        "replay",
        help="send a recorded house with its own timestamps, as fast as the platform takes it",
        description=f"Sends a recorded house. Its sockets: {', '.join(SOCKETS)}. Exit code 0: all is acknowledged.",
    )
    replay.add_argument("file", type=Path, help="one row a minute, columns separated by ';' (may end in .gz)")
    _add_home(replay)
    replay.add_argument(
        "--time-zone", type=_zone, required=True, metavar="ZONE", help="of the times in the file: Europe/Paris"
    )
    replay.set_defaults(command=_replay)

    resend = commands.add_parser("resend", help="send again what the platform acknowledged within the last 48 h")
    _add_home(resend)
    resend.add_argument(
        "--since", type=_moment, required=True, metavar="TIME", help="first minute: 2026-11-21T14:00+01:00"
    )
    resend.set_defaults(command=_resend)

    sockets = commands.add_parser("sockets", help="print the names of a home's sockets as a JSON list")
    _add_sensor(sockets, "sensor")
    sockets.set_defaults(command=_sockets)
    return parser


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, required=True, metavar="HOME.json", help="the home file")
    parser.add_argument("--outbox", type=Path, metavar="PATH", help="the outbox (default: beside the home file)")


def _add_sensor(parser: argparse.ArgumentParser, name: str) -> None:
    if name.startswith("--"):
        parser.add_argument(name, required=True, metavar="SENSOR", help=_SENSOR)
    else:
        parser.add_argument(name, metavar="SENSOR", help=_SENSOR)
    parser.add_argument("--sockets", type=int, metavar="N", help="fewer or more sockets than the home has")


def _simulated(sensor: str) -> str:
    kind, _, name = sensor.partition(":")
    if kind != "simulated":
        raise ValueError(f"unknown sensor {sensor!r}: it is simulated:NAME")
    return name


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 to {MOST_DAYS}")
    return int(text)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time zone such as Europe/Paris") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-21T14:00+01:00") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} does not say its offset, such as +01:00 or Z")
    return moment


def _log_level(chosen: argparse.Namespace) -> str | None:
    """What the environment says; only warnings where a person looks at a progress bar."""
    watched = chosen.command is _replay and sys.stdout.isatty() and "WATTFLEET_LOG_LEVEL" not in os.environ
    return "WARNING" if watched else None


def _beside(home: Path, kind: str) -> Path:
    return home.with_name(f"{home.stem}.{kind}.db")


def _remove(outbox: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".sequence", ".lock"):
        outbox.with_name(outbox.name + suffix).unlink(missing_ok=True)


def _fail(reason: str, code: int) -> int:
    print(f"wattfleet_agent: {' '.join(reason.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
