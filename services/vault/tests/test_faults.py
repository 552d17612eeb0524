"""A network and a server that fail at the worst moment: nothing half-visible or lost, and a token for nobody else."""

import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cli.processes import free_port
from common.errors import BindingRevoked, Internal, NotFound, Unavailable
from common.secret import Secret
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, Verdict
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked
from vault.hashicorp.http import guarded
from vault.hashicorp.login import SERVICE, Connection
from vault.material import HmacSecret
from vault.store import Applied, NotApplied, Unknown, Why

Wanted = Callable[..., Asked]
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
BINDING_WRITES = {
    "claim": "data/fp/",
    "import": "/import",
    "credential": "data/credentials/",
    "record": "data/bindings/",
}
REVOKE_WRITES = {
    "record": ("POST", "data/bindings/"),
    "soft-delete": ("DELETE", "/soft-delete"),
    "config": ("POST", "/config"),
    "delete": ("DELETE", ""),
    "destroy": ("PUT", "destroy/credentials/"),
}


@pytest.fixture
async def proxied(proxy: Any, make: Any) -> Any:
    return await make(Connection(proxy.url))


@pytest.mark.bar(34, 35)
@pytest.mark.parametrize("fault", ["cut after", "500 after", "half a reply"])
@pytest.mark.parametrize("write", BINDING_WRITES)
async def test_a_bind_whose_write_was_applied_without_a_reply_succeeds_by_reading_back(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted, write: str, fault: str
) -> None:
    asked = wanted()
    proxy.arm(fault, BINDING_WRITES[write])
    binding, created = await proxied.bindings.bind(actor, asked)
    assert not proxy.fault, "the fault was met"
    assert created
    assert await proxied.bindings.bind(actor, asked) == (binding, False)
    assert await proxied.documents.names(actor.tenant, "bindings") == [asked.binding_id]


@pytest.mark.parametrize("fault", ["cut before", "500 before", "sealed"])
@pytest.mark.parametrize("write", BINDING_WRITES)
async def test_a_bind_whose_write_never_arrived_is_unavailable_and_a_repeat_completes_it(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted, write: str, fault: str
) -> None:
    asked = wanted()
    proxy.arm(fault, BINDING_WRITES[write])
    with pytest.raises(Unavailable) as refused:
        await proxied.bindings.bind(actor, asked)
    assert refused.value.retry_after == 2.0
    with pytest.raises(NotFound):
        await proxied.bindings.records.load(actor.tenant, asked.binding_id)
    assert (await proxied.bindings.bind(actor, asked))[1]


@pytest.mark.bar(35)
@pytest.mark.parametrize("fault", ["cut after", "500 after", "cut before", "500 before", "sealed"])
@pytest.mark.parametrize("write", REVOKE_WRITES)
async def test_a_revocation_cut_anywhere_is_completed_by_a_repeat(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted, write: str, fault: str
) -> None:
    made, _ = await proxied.bindings.bind(actor, wanted())
    method, part = REVOKE_WRITES[write]
    proxy.arm(fault, part or made.id, method)
    with contextlib.suppress(Unavailable):
        await proxied.bindings.revoke(actor, made.id)
    assert not proxy.fault, "the fault was met"
    await proxied.bindings.revoke(actor, made.id)
    assert (actor.tenant, made.id) not in await proxied.directory.keys()
    document = await proxied.documents.read(actor.tenant, "credentials", made.id)
    assert document.data is None
    with pytest.raises(BindingRevoked):
        await proxied.signer.sign(Actor(actor.tenant, "worker"), SignRequest(binding_id=made.id, requests=[INFO]))


@pytest.mark.parametrize("fault", ["cut after", "500 after"])
async def test_a_verdict_written_without_a_reply_is_recorded_once(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted, fault: str
) -> None:
    made, _ = await proxied.bindings.bind(actor, wanted())
    proxy.arm(fault, "data/bindings/")
    binding, changed = await proxied.bindings.transition(actor, made.id, 1, Verdict(status=STATUS_CONNECTED))
    assert (changed, binding.revision) == (True, 2)
    assert (await proxied.bindings.records.load(actor.tenant, made.id)).binding.revision == 2


async def test_a_write_that_gets_no_reply_in_time_is_read_back(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted
) -> None:
    proxy.arm("silence after", "data/bindings/")
    assert (await proxied.bindings.bind(actor, wanted()))[1]


async def test_a_signature_lost_on_the_way_is_asked_for_again(
    proxied: Any, proxy: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await proxied.bindings.bind(actor, wanted())
    proxy.arm("cut after", "/hmac/")
    assert await proxied.signer.sign(Actor(actor.tenant, "worker"), SignRequest(binding_id=made.id, requests=[INFO]))


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("cut before", Unknown()),
        ("cut after", Unknown()),
        ("500 before", Unknown()),
        ("500 after", Unknown()),
        ("half a reply", Unknown()),
        ("sealed", NotApplied(Why.UNAVAILABLE)),
        ("http://127.0.0.1:1", NotApplied(Why.UNAVAILABLE)),
    ],
)
async def test_the_port_says_what_it_knows_of_a_write(
    proxied: Any, proxy: Any, tenant: str, fault: str, outcome: object
) -> None:
    proxy.arm(fault, "data/fp/")
    assert await proxied.documents.write(tenant, "fp", "a" * 64, {}, 0) == outcome
    proxy.arm(fault, "/import")
    assert await proxied.keys.import_key(tenant, "a" * 32, HmacSecret(Secret("s" * 64))) == outcome


async def test_a_vault_that_is_not_there_is_unavailable_with_a_time_to_come_back(
    make: Any, actor: Actor, wanted: Wanted
) -> None:
    nowhere = await make(Connection(f"http://127.0.0.1:{free_port()}"))
    asked = wanted()
    for action in (
        nowhere.bindings.bind(actor, asked),
        nowhere.bindings.revoke(actor, asked.binding_id),
        nowhere.signer.sign(actor, SignRequest(binding_id=asked.binding_id, requests=[INFO])),
        nowhere.documents.names(actor.tenant, "bindings"),
        nowhere.keys.canary(),
    ):
        with pytest.raises(Unavailable) as refused:
            await action
        assert refused.value.retry_after == 2.0
    assert await nowhere.documents.write(actor.tenant, "fp", "a" * 64, {}, 0) == NotApplied(Why.UNAVAILABLE)


@pytest.mark.parametrize("step", ["bind.claimed", "bind.imported", "bind.tested", "bind.stored"])
async def test_a_vault_that_goes_away_during_a_bind_leaves_nothing_visible(
    proxy: Any, make: Any, parts: Any, actor: Actor, wanted: Wanted, step: str
) -> None:
    class Outage:
        def reached(self, now: str) -> None:
            if now == step:
                proxy.arm("cut before", method="", lasting=True)

    proxied = await make(Connection(proxy.url), steps=Outage())
    asked = wanted()
    with pytest.raises(Unavailable):
        await proxied.bindings.bind(actor, asked)
    assert await parts.documents.names(actor.tenant, "bindings") == []
    assert (await parts.bindings.bind(actor, asked))[1]


async def test_a_redirect_is_never_followed_and_no_token_reaches_the_other_server(
    proxied: Any, proxy: Any, make: Any, listen: Any, actor: Actor, wanted: Wanted
) -> None:
    visits: list[web.BaseRequest] = []

    async def thief(request: web.BaseRequest) -> web.Response:
        visits.append(request)
        return web.json_response({"data": {}, "auth": {"client_token": "stolen", "lease_duration": 300}})

    async with listen(thief) as elsewhere:
        asked = wanted()
        made, _ = await proxied.bindings.bind(actor, asked)
        proxy.arm(elsewhere, method="", lasting=True)
        with pytest.raises(Unavailable):
            await proxied.bindings.revoke(actor, made.id)
        with pytest.raises(Unavailable):
            await proxied.signer.sign(actor, SignRequest(binding_id=made.id, requests=[INFO]))
        fresh = await make(Connection(proxy.url))  # its login, through hvac, is redirected too
        with pytest.raises(Unavailable):
            await fresh.bindings.bind(actor, wanted())
        assert "POST /v1/auth/jwt/login" in proxy.seen
        async with aiohttp.ClientSession() as session, session.get(elsewhere):
            assert len(visits) == 1  # ours just now, and nobody's before


@pytest.mark.parametrize("segment", ["..", ".", "", "a/b", "a b", "a%2e", "a?b", "a#b", "ä", "a\n", "a\\b"])
async def test_a_path_segment_outside_the_grammar_opens_no_connection(
    proxied: Any, proxy: Any, tenant: str, segment: str
) -> None:
    with pytest.raises(Internal):
        guarded(("transit", segment))
    with pytest.raises(Internal):
        await proxied.documents.read(tenant, "bindings", segment)
    with pytest.raises(Internal):
        await proxied.http.call(SERVICE, "GET", segment)
    assert proxy.seen == []


async def test_proxies_and_addresses_in_the_environment_are_ignored(
    make: Any, actor: Actor, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "from-the-environment")
    parts = await make()
    assert (await parts.bindings.bind(actor, wanted()))[1]


async def test_an_applied_write_is_applied(proxied: Any, tenant: str) -> None:
    assert await proxied.documents.write(tenant, "fp", "b" * 64, {}, 0) == Applied(1)
