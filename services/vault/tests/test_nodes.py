"""Which address is called: the breaker, the pledge that only the active node answers, and who may not be used."""

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web
from cli.processes import free_port
from common import context
from common.profile import faults
from vault.hashicorp.breaker import FAILURES, PAUSE_S, Breaker
from vault.hashicorp.exchange import SILENCE_S, Lost
from vault.hashicorp.login import SERVICE, Connection
from vault.hashicorp.nodes import Claim, Nodes, Unfit, claim, pledge
from vault.settings import VaultSettings

OPENBAO = {"sealed": False, "standby": False, "version": "2.7.2", "cluster_id": "89b579c4-3a9c-e4f7-46a4-64cb23ec94d4"}
HASHICORP = {**OPENBAO, "version": "1.21.0", "performance_standby": False}


def shut(breaker: Breaker, now: float) -> None:
    for _ in range(FAILURES):
        assert breaker.admits(now)
        breaker.failed(now)


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through_at_a_time() -> None:
    breaker = Breaker(10.0)
    shut(breaker, 100.0)
    assert not breaker.admits(100.0 + PAUSE_S / 2)
    assert breaker.admits(100.0 + PAUSE_S)
    assert not breaker.admits(105.0), "the probe is under way"
    breaker.failed(106.0)
    assert not breaker.admits(106.0)
    assert breaker.admits(106.0 + PAUSE_S)
    breaker.answered()
    assert all(breaker.admits(106.0 + PAUSE_S) for _ in range(10))


def test_a_breaker_stays_closed_while_some_calls_are_answered() -> None:
    breaker = Breaker(10.0)
    for _ in range(10):
        breaker.failed(1.0)
        breaker.failed(1.0)
        breaker.answered()
    assert not breaker.open


def test_a_probe_that_was_given_up_makes_room_for_the_next() -> None:
    breaker = Breaker(10.0)
    shut(breaker, 0.0)
    assert breaker.admits(PAUSE_S)
    breaker.given_up(PAUSE_S + 0.1)
    assert breaker.admits(PAUSE_S + 0.1)


def test_an_openbao_is_asked_for_an_index_that_no_node_reaches() -> None:
    made = pledge(OPENBAO, alone=False)
    index = json.loads(base64.b64decode(made.headers["X-Vault-Index"]))
    assert index == {"cluster": OPENBAO["cluster_id"], "value": "18446744073709551615"}
    assert made.headers["X-Vault-Inconsistent"] == "fail"
    assert pledge(OPENBAO, alone=True).headers["X-Vault-Inconsistent"] == "forward-active-node"
    own = base64.b64encode(json.dumps({**index, "value": "41"}, separators=(",", ":")).encode()).decode()
    other = base64.b64encode(json.dumps({**index, "cluster": "0" * 36}, separators=(",", ":")).encode()).decode()
    assert made.kept(own)
    assert not made.kept(other)
    assert not made.kept("")


def test_a_community_vault_needs_no_pledge_for_its_standbys_forward() -> None:
    assert pledge(HASHICORP, alone=True).headers == {}
    assert pledge(HASHICORP, alone=True).kept("")


@pytest.mark.bar(42)
@pytest.mark.parametrize(
    "health",
    [
        {**HASHICORP, "performance_standby": True},
        {**HASHICORP, "version": "1.21.0+ent"},
        {**OPENBAO, "cluster_id": ""},
        {"sealed": False},
    ],
)
def test_a_server_whose_standbys_might_answer_is_unfit(health: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        pledge(health, alone=False)


def test_of_two_that_claim_to_be_active_the_one_whose_storage_is_further_is_believed() -> None:
    nodes = Nodes(Connection("http://a:1,http://b:1,http://c:1"), 1.0)
    woken = claim({"is_self": True, "raft_committed_index": 40, "active_time": "2026-11-28T02:00:00Z"})
    elected = claim({"is_self": True, "raft_committed_index": 43, "active_time": "2026-11-28T01:00:00Z"})
    assert woken == Claim(40, "2026-11-28T02:00:00Z")
    assert claim({"is_self": False}) is claim({}) is None
    first, second, _ = nodes.all
    assert elected
    nodes.elect({first: woken, second: elected})
    assert nodes.order(again=False)[0] is second
    nodes.elect({})
    assert nodes.order(again=False) == []


def test_a_node_that_has_not_answered_for_a_second_is_not_trusted_to_be_active_still() -> None:
    nodes = Nodes(Connection("http://a:1,http://b:1"), 1.0)
    assert not nodes.fresh(100.0)
    nodes.all[0].answered(100.0)
    assert nodes.fresh(100.9)
    assert not nodes.fresh(101.1)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("http://127.0.0.1:8200", True),
        ("https://a:8200,https://b:8200/,https://c:8200", True),
        ("https://a:8200,", False),
        ("https://a:8200;https://b:8200", False),
        ("https://a:8200, https://b:8200", False),
        ("", False),
    ],
)
def test_addresses_are_separated_by_commas(text: str, good: bool) -> None:
    field = VaultSettings.model_fields["vault_url"]
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[str] = TypeAdapter(field.rebuild_annotation())
    try:
        adapter.validate_python(text)
    except ValidationError:
        assert not good
    else:
        assert good


@pytest.mark.bar(42)
async def test_an_answer_without_the_clusters_index_is_not_believed(make: Any, listen: Any, server: Any) -> None:
    """As from a server of before 2.7, which would not know what it was asked."""
    parts = await make()
    token = await parts.http._logins.token(SERVICE)

    async def old(request: web.BaseRequest) -> web.Response:
        return web.json_response(OPENBAO if request.path == "/v1/sys/health" else {"data": {"found": True}})

    async with listen(old) as url:
        elsewhere = await make(Connection(url))
        elsewhere.http._logins = parts.http._logins
        assert isinstance(await elsewhere.http._send("GET", "any", token, None, pure=False), Lost)
        assert "2.7" in elsewhere.http.unfit


async def test_a_dead_address_is_passed_over_and_the_living_one_kept(make: Any, server: Any, tenant: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    parts = await make(Connection(f"{nowhere},{server.connection.url}"))
    assert await parts.documents.read(tenant, "bindings", "0" * 32) is None
    assert f"{parts.http._nodes.order(again=False)[0].base}" == f"{server.connection.url}/v1/"


async def test_nobody_waits_longer_for_vault_than_the_caller_waits(make: Any, listen: Any, server: Any) -> None:
    parts = await make()
    token = await parts.http._logins.token(SERVICE)

    async def silent(request: web.BaseRequest) -> web.Response:
        if request.path != "/v1/sys/health":
            await asyncio.sleep(60)
        return web.json_response(OPENBAO)

    async with listen(silent) as url:
        elsewhere = await make(Connection(url))
        loop = asyncio.get_running_loop()
        context.deadline.set(loop.time() + 0.3)
        try:
            async with asyncio.timeout(SILENCE_S):  # far more than the caller has, and less than a silent server gets
                answer = await elsewhere.http._send("POST", "any", token, {}, pure=False)
        finally:
            context.deadline.set(None)
        assert answer == Lost(sent=True, silent=True)
        assert not elsewhere.http._nodes.all[0].breaker.open


async def test_a_silent_server_is_not_waited_for_by_everybody(
    make: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vault.hashicorp import exchange

    monkeypatch.setattr(exchange, "SILENCE_S", 0.2)
    asked: list[str] = []
    parts = await make()
    token = await parts.http._logins.token(SERVICE)

    async def silent(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        if request.path != "/v1/sys/health":
            await asyncio.sleep(60)
        return web.json_response(OPENBAO)

    async with listen(silent) as url:
        http = (await make(Connection(url))).http
        for _ in range(FAILURES):
            assert (await http._send("POST", "any", token, {}, pure=False)) == Lost(sent=True, silent=True)
        before = len(asked)
        answers = await asyncio.gather(*(http._send("POST", "any", token, {}, pure=False) for _ in range(50)))
        assert set(answers) == {Lost(sent=False)}
        assert len(asked) == before


def test_in_production_each_address_needs_tls() -> None:
    wanted = "vault_url: TLS is off: must begin with https://"
    assert wanted in faults({"vault_url": "https://a:8200,http://b:8200", "vault_ca_file": "ca.pem"})
    assert wanted not in faults({"vault_url": "https://a:8200,https://b:8200", "vault_ca_file": "ca.pem"})
