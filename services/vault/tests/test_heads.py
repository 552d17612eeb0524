"""Heads on a real Transit: signed, in the trail, kept apart, late without Vault, and in nobody's way."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from common import trail
from common.trail import ChainBroken, Position
from common.trail_check import Check, Line
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from vault.audit import AuditLog
from vault.heads import PERIOD_S, Heads


@pytest.fixture
def proves(server: Any) -> Callable[[int, bytes, str], bool]:
    """Return a check by the public key that an auditor reads at Vault."""
    keys = server.admin.read("transit/keys/strongroom-audit")["data"]["keys"]

    def check(version: int, message: bytes, signature: str) -> bool:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(keys[str(version)]["public_key"]))
        try:
            public.verify(base64.b64decode(signature), message)
        except InvalidSignature:
            return False
        return True

    return check


class Trail:
    """One audit folder with heads over it."""

    def __init__(self, parts: Any, folder: Path, clock: Any, file_bytes: int = 1 << 20) -> None:
        self.folder, self.clock = folder, clock
        self.audit = AuditLog(folder, clock, file_bytes)
        self.audit.start()
        self.heads = Heads(self.audit, parts.keys, parts.own, clock)

    async def begun(self) -> None:
        try:
            await self.heads.begin()
        finally:
            await self.audit.stop()

    async def minute(self) -> None:
        self.clock.ahead += PERIOD_S
        await self.heads.round()


@pytest.fixture
async def start(parts: Any, tmp_path: Path, clock: Any) -> AsyncIterator[Callable[..., Trail]]:
    made: list[Trail] = []

    def make(own: Any = None, **options: Any) -> Trail:
        made.append(Trail(own or parts, tmp_path / "trail", clock, **options))
        return made[-1]

    yield make
    for one in made:
        await one.audit.stop()


def read(folder: Path, **options: Any) -> tuple[list[Line], Check]:
    check = Check([file.path for file in trail.files_of(folder)], **options)
    return list(check.read()), check


def kept_of(server: Any, instance: str) -> Position | None:
    """Return what is kept of a trail in Vault."""
    found = server.admin.read(f"strongroom/data/heads/{instance}")
    return Position(instance, found["data"]["data"]["sequence"], found["data"]["data"]["hash"]) if found else None


async def test_each_minute_in_which_something_was_written_leaves_one_head_that_the_public_key_proves(
    server: Any, start: Any, proves: Any
) -> None:
    made = start()
    await made.heads.begin()
    for number in range(3):
        end = await made.audit.append({"n": number})
        if number == 0:
            await made.heads.round()
            assert made.audit.end == end, "the minute is not over"
        await made.minute()
        await made.minute()
    lines, check = read(made.folder, proves=proves)
    assert check.faults == []
    assert [line.fields.get("action", line.fields.get("n")) for line in lines] == [
        "file",
        0,
        "head",
        1,
        "head",
        2,
        "head",
    ]
    assert lines[2].fields["head"]["sequence"] == 2
    [chain] = check.chains.values()
    assert (chain.heads, chain.signed_to, chain.last) == (3, 6, 7)
    assert kept_of(server, made.audit.end.instance) == made.audit.end


async def test_the_end_of_a_process_and_of_a_file_are_signed(server: Any, start: Any, proves: Any) -> None:
    made = start(file_bytes=100)
    await made.audit.append({"n": 1})
    await made.heads.round()
    await made.audit.append({"n": 2})
    await made.heads.close()
    await made.heads.close()
    lines, check = read(made.folder, proves=proves, kept={made.audit.end.instance: made.audit.end})
    assert check.faults == []
    actions = [line.fields.get("action", line.fields.get("n")) for line in lines]
    assert actions == ["file", 1, "head", "file", 2, "head"]
    assert len(trail.files_of(made.folder)) == 2
    assert kept_of(server, made.audit.end.instance) == made.audit.end


async def test_without_vault_heads_come_late_files_still_end_and_actions_go_on(
    server: Any, start: Any, make: Any, proxy: Any, proves: Any, login_clock: Any
) -> None:
    made = start(await make(type(server.connection)(proxy.url)), file_bytes=1000)
    await made.audit.append({"n": 1})
    proxy.arm("sealed", method="", lasting=True)
    await made.minute()
    assert made.audit.end.sequence == 2
    await made.audit.append({"text": "x" * 1000})
    await made.heads.round()
    await made.audit.append({"n": 2})
    assert len(trail.files_of(made.folder)) == 2
    proxy.arm("")
    login_clock.ahead += 2  # a failed login is tried again after a second
    await made.minute()
    lines, check = read(made.folder, proves=proves)
    assert check.faults == []
    assert [line.fields.get("action") for line in lines] == ["file", None, None, "close", "file", None, "head"]
    assert check.chains[made.audit.end.instance].signed_to == 6
    assert kept_of(server, made.audit.end.instance) == made.audit.end


async def test_a_frozen_vault_holds_up_no_line(server: Any, start: Any, make: Any, proxy: Any) -> None:
    made = start(await make(type(server.connection)(proxy.url)))
    await made.audit.append({"n": 1})
    proxy.arm("silence after", part="sign/strongroom-audit")
    making = asyncio.create_task(made.minute())
    while not any("sign/strongroom-audit" in call for call in proxy.seen):
        await asyncio.sleep(0.01)
    for number in range(50):
        await made.audit.append({"n": number})
    assert not making.done()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    proxy.arm("silence after", part="sign/strongroom-audit")
    await asyncio.wait_for(made.heads.close(), 20)  # the silence lasts longer
    assert made.audit.end.sequence == 52


@pytest.mark.bar(57)
async def test_a_start_refuses_a_trail_whose_kept_end_is_missing_or_another(start: Any, proves: Any) -> None:
    made = start()
    await made.audit.append({"n": 1})
    await made.heads.close()
    await made.audit.stop()
    whole = made.audit.path.read_bytes()
    path = made.audit.path
    for cut in (whole[: whole.rfind(b"\n", 0, -1) + 1], whole[:-3]):
        path.write_bytes(cut)
        with pytest.raises(ChainBroken, match="ends at line 2, and line 3 was kept in Vault"):
            await start().begun()
    path.write_bytes(whole)
    forged = [json.loads(line) for line in whole.splitlines()]
    forged[1]["n"] = 7
    for before, line in itertools.pairwise(forged):
        line["previous"] = trail.digest(trail.canonical(before))
    path.write_bytes(b"".join(trail.canonical(line) + b"\n" for line in forged))
    with pytest.raises(ChainBroken, match=r"line 3 of the audit trail .* is not the one that was kept"):
        await start().begun()
    path.write_bytes(whole)
    again = start()
    await again.heads.begin()
    await again.minute()
    assert path.read_bytes() == whole, "nothing was written since"


async def test_a_position_behind_the_kept_one_never_replaces_it(
    start: Any, parts: Any, server: Any, logged: Any
) -> None:
    made = start()
    instance = made.audit.end.instance
    await parts.own.write("heads", instance, {"sequence": 99, "hash": "0" * 64, "time": ""}, 0)
    await made.audit.append({"n": 1})
    await made.heads.close()
    assert kept_of(server, instance) == Position(instance, 99, "0" * 64)
    assert "audit_head_disputed" in [entry["event"] for entry in logged]


async def test_no_tenant_can_sign_a_head_or_write_what_is_kept(parts: Any, tenant: str) -> None:
    from vault.hashicorp.login import RECONCILER, tenant_role

    for role in (RECONCILER, tenant_role(tenant)):
        answer = await parts.http.call(role, "POST", "transit", "sign", "strongroom-audit", body={"input": "eA=="})
        assert answer.status == 403
        for method in ("GET", "POST"):
            answer = await parts.http.call(role, method, "strongroom", "data", "heads", "0" * 16, body={"data": {}})
            assert answer.status == 403
