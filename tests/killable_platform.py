"""A platform in a process of its own, so that all of it can be killed: `python killable_platform.py FOLDER`.

It prints the id of a household whose agent sends its history, and runs until it is killed.
"""

import sys
import threading
from pathlib import Path

from running_platform import ALICE, started

SOCKETS = ("Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge")
AGENT = "robust"
HISTORY_DAYS = 14
"""At 1,000 messages a second this flows for longer than it takes to kill everything."""


def main() -> None:
    with started(Path(sys.argv[1])) as platform:
        household = platform.add_home("The robust house", ALICE, SOCKETS)
        platform.start_agent(AGENT, household, "simulated:family", HISTORY_DAYS)
        print(household, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
