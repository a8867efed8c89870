"""Ties a process to its supervisor, then becomes it: run as `python tether.py SUPERVISOR_PID SIGNAL PROGRAM ARGUMENT…`.

Linux sends a process the signal it asked for when its parent dies, even of SIGKILL, and the request survives exec. It
is asked for here and not between fork and exec of the supervisor, where Python code may deadlock beside threads.
Elsewhere the process runs untied, and the next start finds what is left by its pid and start time.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks for the signal, makes sure that the supervisor still lives, and becomes the program."""
    supervisor_pid, signal_number, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != supervisor_pid:  # it died before it could be asked
            sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is what we want)


if __name__ == "__main__":
    main()
