"""Run any command as a step: one line and a log while all is well, the end of the log when it is not.

python setup/run.py NAME WHAT COMMAND…
"""

import sys

from step import step


def main() -> None:
    """Run it. Exits with 1 when the command fails."""
    name, what, *command = sys.argv[1:]
    with step(name, what) as running:
        running.run(*command)


if __name__ == "__main__":
    main()
