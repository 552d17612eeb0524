"""Rotation while something goes wrong or goes on: writes without a reply, signatures in flight, a vanished process."""

import asyncio
import contextlib
from typing import Any

import pytest
from common.errors import (
    Aborted,
    StrongroomError,
    Unavailable,
)
from strongroom.types.v1.binding_pb2 import (
    ROTATION_STATE_FAILED,
    ROTATION_STATE_FENCING,
    ROTATION_STATE_VERIFYING,
)
from vault.actor import Actor
from vault.hashicorp.login import Connection

from services.vault.tests.rotations import WORKS, Replace, Wanted, api_key_of, proven, rotated


async def test_a_rotation_that_was_never_stored_is_given_up_and_can_be_repeated(
    parts: Any, actor: Actor, wanted: Wanted, replace: Replace, clock: Any, proxy: Any, make: Any, server: Any
) -> None:
    binding = await proven(parts, actor, wanted())
    proxied = await make(Connection(proxy.url))
    request = replace(binding.id, "cut")
    proxy.arm("cut before", "import_version")
    with pytest.raises(Unavailable):
        await proxied.rotations.stage(actor, request)
    opened = (await parts.bindings.records.load(actor.tenant, binding.id)).binding
    assert (opened.rotation.state, opened.rotation.credential.version) == (ROTATION_STATE_VERIFYING, 0)
    with pytest.raises(Aborted):
        await parts.rotations.stage(actor, replace(binding.id))
    clock.ahead = 46
    await parts.reconciler.round()
    given_up = (await parts.bindings.records.load(actor.tenant, binding.id)).binding
    assert (given_up.rotation.state, given_up.rotation.reason) == (ROTATION_STATE_FAILED, "interrupted")
    assert (await rotated(parts, actor, request)).credential.version == 2


@pytest.mark.bar(35)
@pytest.mark.parametrize("fault", ["cut after", "500 after"])
@pytest.mark.parametrize("part", ["import_version", "data/credentials", "data/bindings", "data/fp"])
async def test_a_rotation_whose_write_was_applied_without_a_reply_succeeds_by_reading_back(
    parts: Any, make: Any, proxy: Any, actor: Actor, wanted: Wanted, replace: Replace, fault: str, part: str
) -> None:
    binding = await proven(parts, actor, wanted())
    proxied = await make(Connection(proxy.url))
    proxy.arm(fault, part)
    staged, attempt = await proxied.rotations.stage(actor, replace(binding.id))
    assert proxy.fault == ""
    assert (attempt.version, staged.rotation.credential.version) == (2, 2)
    assert (await parts.keys.state(actor.tenant, binding.id)).latest == 2


@pytest.mark.parametrize("part", ["config", "trim", "data/credentials", "destroy/credentials"])
async def test_a_fence_that_cannot_be_set_is_set_by_the_reconciler(
    parts: Any, make: Any, proxy: Any, actor: Actor, wanted: Wanted, replace: Replace, part: str
) -> None:
    binding = await proven(parts, actor, wanted())
    request = replace(binding.id)
    staged, _ = await parts.rotations.stage(actor, request)
    proxied = await make(Connection(proxy.url))
    proxy.arm("500 before", part, "PUT" if part.startswith("destroy") else "POST")
    with pytest.raises(Unavailable):
        await proxied.settlements.promote(actor, binding.id, staged.revision, 2, WORKS)
    promoted = (await parts.bindings.records.load(actor.tenant, binding.id)).binding
    assert (promoted.rotation.state, promoted.credential.version) == (ROTATION_STATE_FENCING, 2)
    assert await api_key_of(parts, actor, binding.id) == (request.credential.api_key, 2)
    await proxied.reconciler.round()
    record = await parts.bindings.records.load(actor.tenant, binding.id)
    assert (record.left, record.binding.HasField("rotation")) == (None, False)
    assert await parts.keys.sign(actor.tenant, binding.id, binding.credential.key_type, [b"x"], 1) is None


async def test_a_rotation_fails_no_signature_in_flight(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted())
    keys = {1: (await api_key_of(parts, worker, binding.id))[0]}
    ended, seen = asyncio.Event(), set[int]()

    async def sign() -> None:
        while not ended.is_set():
            api_key, version = await api_key_of(parts, worker, binding.id)
            seen.add(version)
            assert api_key == keys[version]

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(sign())
        for version in range(2, 12):
            request = replace(binding.id)
            keys[version] = request.credential.api_key
            assert (await rotated(parts, actor, request)).credential.version == version
        ended.set()
    assert len(seen) > 5


async def test_no_signature_by_the_old_key_begins_after_a_rotation_was_answered(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted())
    for version in range(2, 6):
        await rotated(parts, actor, replace(binding.id))
        signed = await asyncio.gather(*(api_key_of(parts, worker, binding.id) for _ in range(20)))
        assert {number for _, number in signed} == {version}


async def test_an_interrupted_rotation_of_a_vanished_process_never_undoes_a_later_one(
    parts: Any, make: Any, proxy: Any, actor: Actor, wanted: Wanted, replace: Replace, clock: Any
) -> None:
    binding = await proven(parts, actor, wanted())
    proxied = await make(Connection(proxy.url))
    proxy.arm("silence after", "import_version")
    slow = asyncio.create_task(proxied.rotations.stage(actor, replace(binding.id)))
    while not any("import_version" in line for line in proxy.seen):
        await asyncio.sleep(0.01)
    clock.ahead = 46
    request = replace(binding.id)
    done = await rotated(parts, actor, request)
    with contextlib.suppress(StrongroomError):
        await slow
    record = await parts.bindings.records.load(actor.tenant, binding.id)
    assert (record.binding, record.staged) == (done, None)
    document = await parts.documents.read(actor.tenant, "credentials", binding.id)
    assert list(document.data["versions"]) == [str(done.credential.version)]
    assert (await api_key_of(parts, actor, binding.id))[0] == request.credential.api_key
