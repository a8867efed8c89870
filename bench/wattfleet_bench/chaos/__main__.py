"""`make chaos`: `python -m wattfleet_bench.chaos --help`.

Exit code 0: everything that was sent is stored, once and unchanged, and the accounts agree; 1: not so; 2: wrong input.
"""

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from wattfleet_tenants.adapters.jetstream import ACK_WAIT_S

from wattfleet_bench.chaos import __doc__ as description
from wattfleet_bench.chaos.homes import Load
from wattfleet_bench.chaos.outcome import Outcome
from wattfleet_bench.chaos.run import Chaos, Plan, Say
from wattfleet_bench.measure import machine
from wattfleet_bench.results import write

LOAD = Load(groups=2, agents=60, interval_s=0.4, at_home=2, history_days=60)
PAUSE_S = (2.0, 14.0)
_NOT_DONE = 1
_WRONG_INPUT = 2
_MOST_ROUNDS = 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # servers that are away are what this is about
    plan = Plan(chosen.rounds, chosen.seed, LOAD, PAUSE_S, ACK_WAIT_S)
    about = str(machine())
    _say(f"{plan.rounds} rounds, seed {plan.seed}, {LOAD.messages_per_s:,.0f} msg/s and {LOAD.at_home} histories")
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="wattfleet-chaos-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            return _fail(f"{folder} is not empty: a run begins with nothing", _WRONG_INPUT)
        outcome = asyncio.run(Chaos(plan, folder, _since(time.monotonic())).run())
    except KeyboardInterrupt:
        return _fail(f"interrupted; data and logs are in {folder}", _NOT_DONE)
    except OSError as error:  # a time-out, too
        return _fail(f"{error}; data and logs are in {folder}", _NOT_DONE)
    _clean_up(folder, outcome, keep=chosen.folder is not None)
    write(chosen.json, outcome.results(), about)
    _say(outcome.as_text())
    return 0 if outcome.good else _NOT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wattfleet_bench.chaos",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=_rounds, default=20, metavar="N", help="of kills (20, about 7 minutes)")
    add("--seed", type=int, default=secrets.randbelow(10_000), metavar="N", help="of the moments (drawn and printed)")
    add("--folder", type=Path, metavar="FOLDER", help="for data and logs, empty or not there; it is kept")
    add("--json", type=Path, default=Path("build/chaos.json"), metavar="FILE", help="results (build/chaos.json)")
    return parser


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds from 1 to {_MOST_ROUNDS}")
    return int(text)


def _clean_up(folder: Path, outcome: Outcome, *, keep: bool) -> None:
    if outcome.good and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _say(f"data and logs are in {folder}")


def _since(began_s: float) -> Say:
    return lambda text: _say(f"{time.monotonic() - began_s:5.0f} s  {text}")


def _say(text: str) -> None:
    print(text, flush=True)


def _fail(reason: str, code: int) -> int:
    print(f"wattfleet_bench.chaos: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
