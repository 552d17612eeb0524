"""What the reconciler finishes, what it sweeps, and what it leaves alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import NotFound, Unavailable
from common.secret import Secret
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked
from vault.hashicorp.login import Connection
from vault.material import HmacSecret
from vault.reconcile import CLAIM_SLICES, SLICES

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


async def whole_cycle(parts: Any, rounds: int = CLAIM_SLICES) -> None:
    for _ in range(rounds):
        await parts.reconciler.round()


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
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, requests=[INFO]))
    await parts.reconciler.round()
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, requests=[INFO]))


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
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, requests=[INFO]))


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
    await whole_cycle(parts)
    assert (await parts.documents.read(actor.tenant, "fp", fingerprint)).data["binding_id"] == dead.binding_id
    clock.ahead = HOUR
    await whole_cycle(parts)
    assert (await parts.documents.read(actor.tenant, "fp", fingerprint)).data["binding_id"] == ""
    _, living = await parts.keys.keyed([b"", alive.fingerprint_text()])
    assert (await parts.documents.read(actor.tenant, "fp", living)).data["binding_id"] == alive.binding_id
    lines = [json.loads(line) for line in parts.audit_file.read_text().splitlines()]
    released = [(line["binding"], line["phase"], line["service"]) for line in lines if line["action"] == "release"]
    assert released[0] == (dead.binding_id, "intent", "vault")
    assert {name for name, _, _ in released} == {dead.binding_id}
    assert (await parts.bindings.bind(actor, wanted(api_key=dead.api_key.reveal())))[1]


async def test_what_is_not_ours_is_left_alone(parts: Any, server: Any, tenant: str, clock: Any) -> None:
    await parts.keys.import_key(tenant, "not-a-binding-id", HmacSecret(Secret("s" * 32)))
    await parts.reconciler.round()
    clock.ahead = HOUR
    await parts.reconciler.round()
    keys = server.admin.list("transit/keys")["data"]["keys"]
    assert f"{tenant}.not-a-binding-id" in keys
    assert {"strongroom-fingerprint", "strongroom-canary"} <= set(keys)


async def test_after_the_first_look_each_record_is_read_once_in_a_cycle_and_few_in_a_round(
    make: Any, proxy: Any, parts: Any, actor: Actor, wanted: Wanted
) -> None:
    names = [(await parts.bindings.bind(actor, wanted()))[0].id for _ in range(12)]
    proxied = await make(Connection(proxy.url))

    def read(collection: str) -> list[str]:
        return [call.rsplit("/", 1)[1] for call in proxy.seen if f"/strongroom/data/{collection}/" in call]

    await proxied.reconciler.round()
    looked_at = set(read("bindings"))
    assert looked_at == set(names), "at the start every record is looked at"
    looked_at = set()
    for turn in range(1, SLICES + 1):
        proxy.seen.clear()
        await proxied.reconciler.round()
        due = [name for name in names if int(name[:8], 16) % SLICES == turn % SLICES]
        claims = read("fp")
        assert all(int(claim[:8], 16) % CLAIM_SLICES == turn % CLAIM_SLICES for claim in claims)
        assert set(due) <= set(read("bindings"))
        assert len(proxy.seen) == 5 + len(due) + 2 * len(claims), "four lists, a count, and what is due"
        looked_at |= set(due)
    assert looked_at == set(names)


async def test_a_revocation_that_failed_in_this_process_is_finished_in_the_next_round(
    make: Any, proxy: Any, parts: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    proxied = await make(Connection(proxy.url))
    await proxied.reconciler.round()
    proxy.arm("cut before", "/config")
    with pytest.raises(Unavailable):
        await proxied.bindings.revoke(actor, made.id)
    assert (actor.tenant, made.id) in await parts.directory.keys()
    await proxied.reconciler.round()
    assert (actor.tenant, made.id) not in await parts.directory.keys()
    assert (await parts.documents.read(actor.tenant, "credentials", made.id)).data is None
    assert not proxied.bindings.unfinished


async def test_a_revocation_that_another_process_left_is_found_within_a_cycle(
    parts: Any, make: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    await parts.reconciler.round()
    await (await make()).bindings._record_revoked(actor.tenant, made.id)
    await whole_cycle(parts, SLICES)
    assert (actor.tenant, made.id) not in await parts.directory.keys()


async def test_a_look_that_failed_is_repeated_in_the_next_round(
    make: Any, proxy: Any, parts: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    await parts.bindings._record_revoked(actor.tenant, made.id)
    proxied = await make(Connection(proxy.url))
    proxy.arm("500 before", made.id, "GET")
    await proxied.reconciler.round()
    assert not proxy.fault, "the fault was met"
    assert (actor.tenant, made.id) in await parts.directory.keys()
    await proxied.reconciler.round()
    assert (actor.tenant, made.id) not in await parts.directory.keys()


async def test_an_orphan_that_comes_later_costs_nothing_until_it_is_old_and_is_swept_then(
    make: Any, proxy: Any, parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    proxied, asked = await make(Connection(proxy.url)), wanted()
    await proxied.reconciler.round()
    await orphan(parts, actor.tenant, asked)
    [claim] = await parts.directory.names(actor.tenant, "fp")

    def due(turn: int) -> bool:
        slices = [(asked.binding_id, SLICES), (claim, CLAIM_SLICES)]
        return any(int(name[:8], 16) % count == turn % count for name, count in slices)

    clock.ahead = HOUR
    for _ in range(2):
        proxy.seen.clear()
        while due(proxied.reconciler._turn):
            proxied.reconciler._turn += 1
        await proxied.reconciler.round()
        assert not [call for call in proxy.seen if asked.binding_id in call]
    assert (actor.tenant, asked.binding_id) in await parts.directory.keys()
    clock.ahead = 2 * HOUR
    await proxied.reconciler.round()
    assert (actor.tenant, asked.binding_id) not in await parts.directory.keys()
    assert (await parts.bindings.bind(actor, asked))[1]


async def test_an_orphan_under_an_id_that_was_swept_before_is_swept_again(
    parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    asked = wanted()
    await parts.bindings.records.mark(actor.tenant, asked.binding_id, sweeping=False, cas=0)
    await orphan(parts, actor.tenant, asked)
    await parts.reconciler.round()
    clock.ahead = HOUR
    await parts.reconciler.round()
    assert (actor.tenant, asked.binding_id) not in await parts.directory.keys()
