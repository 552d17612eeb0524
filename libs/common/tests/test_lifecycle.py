"""A process of ours keeps its memory to itself, and ends when it is told to."""

import os
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


@pytest.mark.bar(16)
@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel with PR_GET_DUMPABLE")
def test_a_process_writes_no_core_and_is_closed_to_debuggers() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=20, check=True)
    assert told.stdout.strip() == "(0, 0) 0"


# Run by one user without privileges, as parent of both: whether it can read the memory of a child that it started.
READER = """
import subprocess, sys
CLOSED = "from common import lifecycle; lifecycle._close_up(); print('up', flush=True); input()"
OPEN = "from common import lifecycle; print('up', flush=True); input()"
for program in (OPEN, CLOSED):
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\\n"
    try:
        with open(f"/proc/{child.pid}/maps") as maps, open(f"/proc/{child.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(int(maps.readline().split("-")[0], 16))
            print("read", len(memory.read(16)))
    except OSError as error:
        print(type(error).__name__)
    child.stdin.close()
    child.wait()
"""


@pytest.mark.bar(16)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_process_is_closed_to_other_processes_of_its_user() -> None:
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    told = subprocess.run(
        [sys.executable, "-c", READER], capture_output=True, text=True, timeout=30, check=True, cwd="/", **user
    )
    assert told.stdout.split("\n")[:2] == ["read 16", "PermissionError"]
