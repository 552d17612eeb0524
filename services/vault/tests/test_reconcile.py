"""What the reconciler finishes, what it sweeps, and what it leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest
from common.errors import NotFound, Unavailable
from common.secret import Secret
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, SignRequest
from vault.actor import Actor
from vault.asked import Asked
from vault.material import HmacSecret

Wanted = Callable[..., Asked]
HOUR = 3601
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")


async def orphan(parts: Any, tenant: str, asked: Asked) -> None:
    """Leave what a bind killed before its commit leaves."""
    _, fingerprint = await parts.keys.keyed([b"", asked.fingerprint_text()])
    await parts.bindings.claims.take(tenant, fingerprint, asked.binding_id)
    await parts.keys.import_key(tenant, asked.binding_id, asked.material)
    data = {"api_key": asked.api_key.reveal(), "passphrase": asked.passphrase.reveal()}
    await parts.documents.write(tenant, "credentials", asked.binding_id, data, 0)


async def test_an_orphan_is_swept_after_an_hour_and_its_bind_can_still_be_repeated(
    parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    asked = wanted()
    await orphan(parts, actor.tenant, asked)
    await parts.reconciler.round()
    assert (actor.tenant, asked.binding_id) in await parts.directory.keys()
    clock.ahead = HOUR
    await parts.reconciler.round()
    assert (actor.tenant, asked.binding_id) not in await parts.directory.keys()
    assert (await parts.documents.read(actor.tenant, "credentials", asked.binding_id)).data is None
    with pytest.raises(NotFound):
        await parts.bindings.records.load(actor.tenant, asked.binding_id)
    binding, created = await parts.bindings.bind(actor, asked)
    assert created
    assert await parts.bindings.bind(actor, asked) == (binding, False)
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, request=INFO))
    await parts.reconciler.round()
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, request=INFO))


async def test_nobody_binds_under_an_id_that_is_being_swept_and_a_cut_sweep_is_finished(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    asked = wanted()
    await orphan(parts, actor.tenant, asked)
    await parts.bindings.records.mark(actor.tenant, asked.binding_id, sweeping=True, cas=0)
    with pytest.raises(Unavailable):
        await parts.bindings.bind(actor, asked)
    await parts.reconciler.round()
    assert (await parts.bindings.bind(actor, asked))[1]


async def test_a_bind_that_commits_first_is_not_swept(parts: Any, actor: Actor, wanted: Wanted, clock: Any) -> None:
    asked = wanted()
    await orphan(parts, actor.tenant, asked)
    await parts.reconciler.round()
    clock.ahead = HOUR
    binding, _ = await parts.bindings.bind(actor, asked)
    with pytest.raises(Unavailable):
        await parts.bindings.records.mark(actor.tenant, asked.binding_id, sweeping=True, cas=0)
    await parts.reconciler.round()
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, request=INFO))


async def test_a_revocation_that_was_only_recorded_is_finished(parts: Any, actor: Actor, wanted: Wanted) -> None:
    kept, _ = await parts.bindings.bind(actor, wanted())
    ended, _ = await parts.bindings.bind(actor, wanted())
    await parts.bindings._record_revoked(actor.tenant, ended.id)
    await parts.reconciler.round()
    keys = await parts.directory.keys()
    assert (actor.tenant, ended.id) not in keys
    assert (actor.tenant, kept.id) in keys
    assert (await parts.documents.read(actor.tenant, "credentials", ended.id)).data is None
    told = parts.audit_file.read_text().splitlines()
    await parts.reconciler.round()
    assert parts.audit_file.read_text().splitlines() == told, "a finished revocation is left alone"


async def test_a_dead_claim_is_released_and_a_living_one_kept(
    parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    dead, alive = wanted(), wanted()
    _, fingerprint = await parts.keys.keyed([b"", dead.fingerprint_text()])
    await parts.bindings.claims.take(actor.tenant, fingerprint, dead.binding_id)
    await parts.bindings.bind(actor, alive)
    await parts.reconciler.round()
    assert (await parts.documents.read(actor.tenant, "fp", fingerprint)).data["binding_id"] == dead.binding_id
    clock.ahead = HOUR
    await parts.reconciler.round()
    assert (await parts.documents.read(actor.tenant, "fp", fingerprint)).data["binding_id"] == ""
    _, living = await parts.keys.keyed([b"", alive.fingerprint_text()])
    assert (await parts.documents.read(actor.tenant, "fp", living)).data["binding_id"] == alive.binding_id
    assert (await parts.bindings.bind(actor, wanted(api_key=dead.api_key.reveal())))[1]


async def test_what_is_not_ours_is_left_alone(parts: Any, server: Any, tenant: str, clock: Any) -> None:
    await parts.keys.import_key(tenant, "not-a-binding-id", HmacSecret(Secret("s" * 32)))
    await parts.reconciler.round()
    clock.ahead = HOUR
    await parts.reconciler.round()
    keys = server.admin.list("transit/keys")["data"]["keys"]
    assert f"{tenant}.not-a-binding-id" in keys
    assert {"strongroom-fingerprint", "strongroom-canary"} <= set(keys)
