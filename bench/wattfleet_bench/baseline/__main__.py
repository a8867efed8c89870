"""`make bench-baseline`: the published design rebuilt here and measured beside ours, in turns; the ratios are printed.

Results go to build/bench-baseline.json. A run of ours that is not stored as it was sent makes the command fail (exit
code 1); readings that the other designs lose are a result, and a missed target is shown and does not.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from wattfleet_bench import results
from wattfleet_bench.baseline import comparison
from wattfleet_bench.bench import Bench, Progress
from wattfleet_bench.measure import machine
from wattfleet_bench.verification import NotAsSent

_OUTPUT = Path("build/bench-baseline.json")
_REPEATS = 3
_ROUND_S = 95.0  # on two quiet cores
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes and prints; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.programs.is_dir():
        print(f"{options.programs} holds no RabbitMQ and InfluxDB: `make bench-baseline` fetches them", file=sys.stderr)
        return 1
    # An HTTP client's line per request would drown what is to be read.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    conditions = str(machine()) + (
        "; a quick run with a tenth of the messages: for a look only" if options.quick else ""
    )
    progress = Progress({f"round {number}": _ROUND_S for number in range(1, options.repeats + 1)})
    bench = Bench(progress, options.repeats, options.quick)
    try:
        found = comparison.results(comparison.measure(bench, options.programs.resolve()))
    except NotAsSent as error:
        print(f"FAILED: the store does not hold what was sent: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("  · stopped: nothing is written, everything that was started is stopped", file=sys.stderr)
        return _INTERRUPTED
    results.write(options.output, found, conditions)
    print(f"\n{conditions}\n\n{results.table(found, markdown=options.markdown)}\n\n{comparison.in_words(found)}")
    print(f"\n{len(found)} results in {options.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wattfleet_bench.baseline", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--programs", type=Path, required=True, help="the folder that setup/baseline.py made")
    parser.add_argument("--repeats", type=int, default=_REPEATS, help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages: for a look, not for figures")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown, for a README")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="where the results go (default: %(default)s)")
    return parser


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
