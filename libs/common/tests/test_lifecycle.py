"""A process of ours keeps its memory to itself, and ends when it is told to."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from common import lifecycle

async def main(stopping):
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))

lifecycle.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel with PR_GET_DUMPABLE")
def test_a_process_writes_no_core_and_is_closed_to_debuggers() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=20, check=True)
    assert told.stdout.strip() == "(0, 0) 0"
