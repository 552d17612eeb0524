"""The memory of the running processes, searched for the secrets that were bound: sealed ones, and plain ones.

A secret carries a mark in its middle, for what frees memory writes over its beginning first.
"""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Driver
from tests.integration.test_canary import spellings
from tests.integration.test_sealed_bind import sealed

PROCESSES = ("gateway", "vault", "verifier", "worker")
CHUNK = 1 << 26
HOLDER = "import os; held = os.read(0, 1000); print('held', flush=True); os.read(0, 1)"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of a process that is closed")


def copies(pid: int, mark: str) -> int:
    """Return how often a mark stands in the memory of a process, in any spelling."""
    needle, found = re.compile(b"|".join(re.escape(one) for one in spellings(mark))), 0
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for place, rights, *rest in maps:
            if not rights.startswith("rw") or (len(rest) > 3 and rest[3] in ("[vvar]", "[vsyscall]")):
                continue
            begin, end = (int(part, 16) for part in place.split("-"))
            found += sum(len(needle.findall(part)) for part in pieces(memory, begin, end))
    return found


def pieces(memory: Any, begin: int, end: int) -> Iterable[bytes]:
    """Yield a stretch of memory; what is gone meanwhile is left out. A mark across two pieces is in none."""
    for at in range(begin, end, CHUNK):
        try:
            memory.seek(at)
            part = memory.read(min(CHUNK, end - at))
        except (OSError, ValueError):
            return
        yield part


def everywhere(driver: Driver, mark: str) -> dict[str, int]:
    return {name: copies(driver.child(name).pid, mark) for name in PROCESSES}


def signatures(driver: Driver) -> int:
    """Return how many signatures the audit trail tells of."""
    told = 0
    for file in (driver.stack.home / "audit").iterdir():
        for line in file.read_bytes().splitlines():
            entry = json.loads(line)
            told += entry.get("action") == "sign" and entry.get("phase") == "outcome"
    return told


def bound(driver: Driver, number: int, mark: str, *, seal: bool) -> list[str]:
    """Bind accounts whose secrets carry the mark, and return the bindings."""
    made = []
    for _ in range(number):
        credential = driver.account(secret_key=f"{secrets.token_hex(12)}{mark}{secrets.token_hex(12)}")
        answer = driver.bind(sealed(driver, credential) if seal else credential)
        assert answer.json()["status"] == "connected", answer.text
        assert answer.json()["credential"]["sealed"] is seal
        made.append(answer.json()["id"])
    return made


def sign(driver: Driver, names: list[str], number: int) -> None:
    """Have at least `number` signatures made, by verifications."""
    wanted = signatures(driver) + number
    with driver.client(Prefer="wait=20") as http:
        while signatures(driver) < wanted:
            for name in names[:20]:
                assert http.post(f"/v1/bindings/{name}/verify").is_success


def searched(driver: Driver, binds: int, signs: int) -> dict[str, dict[str, int]]:
    """Return the copies after sealed binds and their signatures, after plain binds, and after signatures with these."""
    unseen, seen = secrets.token_hex(16), secrets.token_hex(16)
    sign(driver, bound(driver, binds, unseen, seal=True), signs)
    found = {"sealed": everywhere(driver, unseen)}
    names = bound(driver, binds, seen, seal=False)
    found["plain"] = everywhere(driver, seen)
    sign(driver, names, signs)
    found["signed"] = everywhere(driver, seen)
    print(json.dumps({"binds": binds, "signatures": signs, **found}))
    return found


def hold(found: dict[str, dict[str, int]]) -> None:
    assert found["sealed"] == dict.fromkeys(PROCESSES, 0)
    for name in ("verifier", "worker"):
        assert (found["plain"][name], found["signed"][name]) == (0, 0)
    for name in ("gateway", "vault"):
        assert found["signed"][name] <= found["plain"][name]


@pytest.mark.bar(15)
@pytest.mark.timeout(300)
def test_no_process_holds_a_sealed_secret_and_signing_brings_none_into_memory(driver: Driver) -> None:
    hold(searched(driver, 5, 50))


@pytest.mark.drill
@pytest.mark.bar(15)
@pytest.mark.timeout(1800)
def test_no_process_holds_any_of_a_hundred_sealed_secrets_after_a_thousand_signatures(driver: Driver) -> None:
    hold(searched(driver, 100, 1000))


def test_the_search_finds_what_a_process_does_hold_in_any_spelling() -> None:
    mark = secrets.token_hex(16)
    text = f"{secrets.token_hex(12)}{mark}{secrets.token_hex(12)}".encode()
    for held in (text, text.hex().encode(), base64.b64encode(b"x" + text)):
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(held)
            process.stdin.flush()
            assert process.stdout.readline() == b"held\n"
            assert copies(process.pid, mark) > 0
            assert copies(process.pid, secrets.token_hex(16)) == 0
            process.stdin.close()
            assert process.wait(10) == 0
