"""The load generator's command line: `python -m wattfleet_bench.load --help`.

Wrong input is one line on standard error and exit code 2. Exit code 1: with --drain, something was still waiting; or
the store of the load's own shard does not hold what was acknowledged.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from wattfleet_tenants.reading import INTERVAL_S
from wattfleet_tenants.socket import MAX_SOCKETS

from wattfleet_bench.homes import Homes, day_in_the_past_ms
from wattfleet_bench.load import __doc__ as description
from wattfleet_bench.load.fleet import LoadFailed, Plan, Summary, drive
from wattfleet_bench.load.outboxes import write_manifest
from wattfleet_bench.load.ramp import Ramp
from wattfleet_bench.load.rung import compare_when_stored, write_homes
from wattfleet_bench.shard_under_test import ShardUnderTest

_WRONG_INPUT = 2
_NOT_DONE = 1
_WHOLE = re.compile(r"[0-9]{1,10}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a load; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        ramp = Ramp(chosen.min_delay, chosen.max_delay, chosen.step)
        return _load_shard_of_its_own(chosen, ramp) if chosen.homes is None else _load_platform(chosen, ramp)
    except (OSError, ValueError) as error:
        return _fail(str(error), _WRONG_INPUT)
    except LoadFailed as error:
        return _fail(str(error), _NOT_DONE)


def _load_platform(chosen: argparse.Namespace, ramp: Ramp) -> int:
    homes = sorted(chosen.homes.glob("*.json"))[: chosen.agents]
    if len(homes) < chosen.agents:
        raise ValueError(f"{chosen.agents} agents need as many home files, and {chosen.homes} has {len(homes)}")
    plan = _plan(chosen, ramp, homes, chosen.folder)
    summary = _drive(plan, chosen.json)
    manifest = write_manifest(plan.folder)
    print(f"outboxes      {plan.folder / 'outboxes'}, listed in {manifest}")
    return _verdict(chosen, summary)


def _load_shard_of_its_own(chosen: argparse.Namespace, ramp: Ramp) -> int:
    print("starting a shard: broker, ingest, writer, store", flush=True)
    with (
        TemporaryDirectory(prefix="wattfleet-load-", ignore_cleanup_errors=True) as place,
        ShardUnderTest(Path(place) / "shard", Homes(chosen.agents, day_in_the_past_ms())) as shard,
    ):
        folder = Path(place) / "load"
        homes = write_homes(shard.broker, shard.homes.households(), folder / "homes")
        summary = _drive(_plan(chosen, ramp, homes, folder), chosen.json)
        comparison = compare_when_stored(folder, shard.store)
    print(f"in the store  {comparison.as_text()}")
    if not comparison.exact:
        return _fail("the store does not hold what was acknowledged", _NOT_DONE)
    return _verdict(chosen, summary)


def _drive(plan: Plan, json_file: Path | None) -> Summary:
    summary = asyncio.run(_drive_until_signal(plan))
    print(summary.as_text(), flush=True)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(summary.as_json(), indent=1) + "\n")
    return summary


async def _drive_until_signal(plan: Plan) -> Summary:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return await drive(plan, lambda line: print(line, flush=True), stop)


def _verdict(chosen: argparse.Namespace, summary: Summary) -> int:
    if chosen.drain and summary.end.waiting:
        return _fail(f"{summary.end.waiting} messages still wait in the outboxes", _NOT_DONE)
    return 0


def _plan(chosen: argparse.Namespace, ramp: Ramp, homes: Sequence[Path], folder: Path) -> Plan:
    return Plan(
        homes=homes,
        folder=folder,
        ramp=ramp,
        sockets=chosen.sockets,
        interval_s=chosen.interval,
        duration_s=chosen.duration,
        drain_s=chosen.drain,
        processes=min(chosen.processes, chosen.agents),
        seed=chosen.seed,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        sys.exit(_fail(f"{message} (--help tells more)", _WRONG_INPUT))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m wattfleet_bench.load",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--agents", type=_whole(1), required=True, metavar="N", help="how many")
    add(
        "--homes",
        type=Path,
        metavar="FOLDER",
        help="of a platform: a home file (ID.json) for each agent, such as .wattfleet/homes. Without it a shard is"
        " started for the load, and in the end its store is compared with what was sent",
    )
    add("--min-delay", type=_whole(0), default=0, metavar="MS", help="before the first agents start (0)")
    add("--max-delay", type=_whole(0), default=10_000, metavar="MS", help="before the last agents start (10000)")
    add(
        "--step",
        type=_whole(1),
        default=1_000,
        metavar="MS",
        help="sub-ranges of the delays; later ones have more (1000)",
    )
    add("--sockets", type=_whole(1, MAX_SOCKETS), default=30, metavar="N", help="of each home (30)")
    add("--interval", type=_interval, default=float(INTERVAL_S), metavar="S", help="a minute takes S seconds (60)")
    add("--duration", type=_seconds, metavar="S", help="measure so long, from the start (default: until told to stop)")
    add("--drain", type=_seconds, default=0.0, metavar="S", help="then wait so long until all outboxes are empty (0)")
    add("--processes", type=_whole(1, 64), default=1, metavar="N", help="to share the agents among (1)")
    add(
        "--folder",
        type=Path,
        default=Path("build/load"),
        metavar="FOLDER",
        help="with --homes: for outboxes, clock and logs; the next run goes on with them (build/load)",
    )
    add("--seed", type=_whole(0), default=1, metavar="N", help="of the delays (1)")
    add("--json", type=Path, metavar="FILE", help="write the summary there too")
    return parser


def _whole(least: int, most: int = 1_000_000_000) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least:,} to {most:,}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    return _number(text, 0.0, 1e9)


def _interval(text: str) -> float:
    return _number(text, 0.1, float(INTERVAL_S))


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
    return number


def _fail(reason: str, code: int) -> int:
    print(f"wattfleet_bench.load: {' '.join(reason.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
