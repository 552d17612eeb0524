"""Become another program, which the kernel kills with the launcher: `python -I -S child.py <parent pid> command...`.

A shim of its own because the request must be made between fork and exec, where a program with threads must not run
Python. Outside Linux there is no such request, and the program simply starts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGKILL at the parent's death, make sure that it still lives, and exec."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the launcher is gone")
    os.execv(command[0], command)  # noqa: S606  the launcher's own command


if __name__ == "__main__":
    main()
