"""The ladder, `make bench`: from the size of a message to the whole pipeline, about 10 minutes.

Each rung warms up, repeats, and tells the median with the least and the most. Results go to build/bench.json and, as a
table beside the published project's numbers, to the terminal. A run of the pipeline whose verification fails, and a
rung that ends in an error, make the command fail (exit code 1); a missed target is shown and does not.
"""

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from wattfleet_bench import published, results
from wattfleet_bench.bench import Bench, Progress
from wattfleet_bench.measure import machine
from wattfleet_bench.results import Result
from wattfleet_bench.rungs import agents, broker, connections, ingest, message, pipeline, reader, store, writer
from wattfleet_bench.verification import NotAsSent

_OUTPUT = Path("build/bench.json")
_REPEATS = 3
_QUICK_TAKES = 0.3
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Rung:
    """expected_s: how long it takes on two quiet cores."""

    run: Callable[[Bench], list[Result]]
    expected_s: float


RUNGS = {
    "message": Rung(message.run, 1),
    "broker": Rung(broker.run, 45),
    "ingest": Rung(ingest.run, 40),
    "connections": Rung(connections.run, 40),
    "agents": Rung(agents.run, 110),
    "writer": Rung(writer.run, 10),
    "store": Rung(store.run, 80),
    "reader": Rung(reader.run, 90),
    "pipeline-60k": Rung(pipeline.run_small, 120),
    "pipeline-600k": Rung(pipeline.run_large, 220),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the ladder; returns the exit code."""
    options = _parser().parse_args(arguments)
    # An HTTP client's line per request would drown what is to be read.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    chosen = options.only or list(RUNGS)
    share = _QUICK_TAKES if options.quick else 1.0
    bench = Bench(Progress({name: RUNGS[name].expected_s * share for name in chosen}), _REPEATS, options.quick)
    conditions = str(machine()) + (
        "; a quick run with a tenth of the messages: for a look only" if options.quick else ""
    )
    began_s = time.monotonic()
    try:
        found, failures = _climb(bench, chosen)
    except KeyboardInterrupt:
        print("  · stopped: nothing is written, everything that was started is stopped", file=sys.stderr)
        return _INTERRUPTED
    results.write(options.output, found, conditions)
    _tell(found, failures, conditions, options.markdown)
    print(f"\n{len(found)} results in {options.output}, after {time.monotonic() - began_s:.0f} s")
    return 1 if failures else 0


def _climb(bench: Bench, chosen: Sequence[str]) -> tuple[list[Result], list[str]]:
    """The results of all rungs, and what failed."""
    found: list[Result] = []
    failures = []
    for name in chosen:
        bench.progress.rung(name)
        try:
            found += RUNGS[name].run(bench)
        except NotAsSent as error:
            failures.append(f"{name}: the store does not hold what was sent: {error}")
            found.append(Result(f"{name}.verified", 0, "", "= 1", False, str(error)))
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
            traceback.print_exc()
    return found, failures


def _tell(found: Sequence[Result], failures: Sequence[str], conditions: str, markdown: bool) -> None:
    print(f"\n{conditions}\n")
    print(results.table(found, markdown=markdown))
    if beside := published.beside(list(found)):
        print(f"\nBeside the published project (its own machines, 11 readings a message):\n\n{beside}")
    for one in results.missed(found):
        print(f"\nmissed: {one.name} is {results.number(one.value)} {one.unit}, target {one.target}")
    for failure in failures:
        print(f"\nFAILED {failure}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wattfleet_bench.ladder", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--only", action="append", choices=list(RUNGS), metavar="RUNG", help=f"one of {', '.join(RUNGS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages: for a look, not for figures")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown, for a README")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="where the results go (default: %(default)s)")
    return parser


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
