"""`python -m wattfleet_operator.embedded.demo`: the whole platform with three simulated homes, on this machine alone.

A thin command over `Platform`: it says what happens, fills the homes' past, tells where to sign in, and stops
everything on Ctrl-C (a second Ctrl-C does not wait). What goes wrong is one line that says what to do.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from time import monotonic

from rich.console import Console
from wattfleet_tenants.telemetry import logs

from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.embedded.demo_homes import HOMES, demo_households, demo_people, hand_over, start_home
from wattfleet_operator.embedded.history import show_history
from wattfleet_operator.embedded.identity_provider import Person
from wattfleet_operator.embedded.platform import Parts, Platform
from wattfleet_operator.embedded.process import LOG_BYTES
from wattfleet_operator.embedded.programs import CannotStart
from wattfleet_operator.errors import NotYet

_MOST_DAYS = 90


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo until Ctrl-C; returns its exit code."""
    chosen = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        _log_to(chosen.home / "logs")
        asyncio.run(_Demo(chosen, console).run())
    except (CannotStart, NotYet, TimeoutError, OSError, ValueError) as error:  # ValueError: a damaged resource
        console.print(f"Wattfleet cannot start: {error}", style="red", markup=False)
        return 1
    return 0


class _Demo:
    """One run of the demo, as `chosen` on the command line."""

    def __init__(self, chosen: argparse.Namespace, console: Console) -> None:
        self._chosen = chosen
        self._console = console
        self._begun_s = monotonic()
        self._people: tuple[Person, ...] = ()
        self._platform: Platform | None = None

    async def run(self) -> None:
        """Starts everything, and returns when it was stopped again."""
        self._people = await demo_people(FolderVault(self._chosen.home.resolve() / "vault"))
        self._platform = Platform(self._chosen.home, self._chosen.port, Parts.EVERYTHING, self._people, self._say)
        work = asyncio.create_task(self._until_stopped(self._platform))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, work, self._platform)
        try:
            await work
        except asyncio.CancelledError:
            self._say("Stopped. The data stays, and the next start is quick.")

    async def _until_stopped(self, platform: Platform) -> None:
        async with platform:
            if not self._chosen.no_homes:
                await self._start_homes(platform)
            self._tell(platform)
            await asyncio.Event().wait()

    async def _start_homes(self, platform: Platform) -> None:
        households, days = await demo_households(platform.vault), self._chosen.history_days
        starts = [start_home(platform, home, households[home.name], days) for home in HOMES]
        agents = await asyncio.gather(*starts)
        self._say(f"{len(HOMES)} homes are carried, and their agents send")
        history = asyncio.create_task(show_history(agents, self._console, f"Sending {days} days of history"))
        try:
            # One after the other: the gateway's admin command is a process of its own, and there may be few cores.
            for home in HOMES:
                await hand_over(platform, home, households[home.name], self._people)
            await history
        finally:
            history.cancel()

    def _tell(self, platform: Platform) -> None:
        self._say(f"Wattfleet is ready: [bold]{platform.url}[/bold]")
        self._console.print("\nSign in as")
        for person in self._people:
            homes = ", ".join(home.title for home in HOMES if home.owner == person.user)
            self._console.print(f"  [bold]{person.user:6}[/bold] {person.password}   [dim]{homes}[/dim]")
        self._console.print(f"\nLogs and data are in {platform.home}. Ctrl-C stops everything.\n")

    def _stop(self, work: "asyncio.Task[None]", platform: Platform) -> None:
        if work.cancelling():
            platform.supervisor.hurry()
            return
        self._say("Stopping (Ctrl-C again does not wait)")
        work.cancel()

    def _say(self, step: str) -> None:
        self._console.print(f"[dim]{monotonic() - self._begun_s:5.1f} s[/dim]  {step}")


def _log_to(folder: Path) -> None:
    """The operator's own log, as JSON lines like all others."""
    folder.mkdir(parents=True, exist_ok=True)
    logs.configure("operator")
    (console,) = logging.getLogger().handlers
    file = RotatingFileHandler(folder / "operator.log", maxBytes=LOG_BYTES, backupCount=1)
    file.setFormatter(console.formatter)
    logging.basicConfig(handlers=[file], force=True, level=logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wattfleet_operator.embedded.demo",
        description="Runs all of Wattfleet on this machine, with three simulated homes. Ctrl-C stops it.",
    )
    port = os.environ.get("PORT", "8080")
    parser.add_argument("--port", type=_port, default=port, metavar="N", help=f"where the page is (default: {port})")
    home = Path(os.environ.get("WATTFLEET_HOME", ".wattfleet"))
    parser.add_argument("--home", type=Path, default=home, metavar="FOLDER", help=f"for all data (default: {home})")
    parser.add_argument(
        "--history-days", type=_days, default=30, metavar="N", help="how much past the homes bring (default: 30)"
    )
    parser.add_argument("--no-homes", action="store_true", help="start the platform without homes")
    return parser


def _port(text: str) -> int:
    return _number(text, 1, 65_535, "a port")


def _days(text: str) -> int:
    return _number(text, 0, _MOST_DAYS, "a number of days")


def _number(text: str, least: int, most: int, what: str) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {least} to {most}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
