"""Our audit trail beside Vault's own: each signature is in both, by Vault's id of the request, and nothing is in one
alone."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import BindingRevoked, PolicyRefused
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
TRADE = ExchangeRequest(method="POST", path="/api/v3/trade/place-order", body=b"{}")


def key_uses(server: Any, tenant: str) -> Counter[str]:
    """Return how often Vault recorded each request that used a key of the tenant, by Vault's id of it."""
    records = [json.loads(line) for line in (server.bao.home / "audit.log").read_text().splitlines()]
    uses = [f"transit/{way}/{tenant}." for way in ("hmac", "sign")]
    return Counter(
        one["request"]["id"]
        for one in records
        if one["type"] == "request" and one["request"]["path"].startswith(tuple(uses))
    )


def messages_of(server: Any, tenant: str) -> dict[str, int]:
    """Return how many messages each use of one of the tenant's keys signed, as Vault's log tells."""
    records = (json.loads(line) for line in (server.bao.home / "audit.log").read_text().splitlines())
    asked = (one["request"] for one in records if one["type"] == "request" and tenant in one["request"]["path"])
    return {one["id"]: len(one["data"]["batch_input"]) for one in asked if "batch_input" in (one.get("data") or {})}


async def lines_of(parts: Any, told: Any) -> list[dict[str, Any]]:
    """Return the trail's lines once everything that was to be written is."""
    await parts.audit.append({"action": "mark"})
    lines: list[dict[str, Any]] = told(parts.audit_file.parent)
    return lines


@pytest.mark.bar(56)
async def test_each_signature_is_in_vaults_log_once_and_each_use_of_a_key_there_is_in_ours(
    server: Any, parts: Any, tenant: str, wanted: Callable[..., Asked], told: Any, pem: Any, rsa_key: Any
) -> None:
    worker = Actor(tenant, "worker")
    hmac, _ = await parts.bindings.bind(worker, wanted())
    rsa = await parts.bindings.bind(worker, wanted(key_type=2, secret_key=pem(rsa_key(2048))))
    names = [hmac.id, rsa[0].id]
    calls = [SignRequest(binding_id=name, requests=[INFO] * count) for name in names for count in (1, 3, 8)] * 3
    await asyncio.gather(*(parts.signer.sign(worker, call) for call in calls))
    with pytest.raises(PolicyRefused):
        await parts.signer.sign(worker, SignRequest(binding_id=names[0], requests=[TRADE]))
    await parts.bindings.revoke(worker, names[0])
    with pytest.raises(BindingRevoked):
        await parts.signer.sign(worker, SignRequest(binding_id=names[0], requests=[INFO]))

    lines, uses = await lines_of(parts, told), key_uses(server, tenant)
    signed = [line for line in lines if line["action"] == "sign" and line.get("outcome") == "done"]
    assert len(signed) == sum(len(call.requests) for call in calls)
    assert {uses[line["vault_request_id"]] for line in signed} == {1}
    per_call = Counter(line["vault_request_id"] for line in signed)
    assert per_call == {name: count for name, count in messages_of(server, tenant).items() if name in per_call}
    ours = set(per_call)
    for line in lines:
        if line["action"] == "bind" and line["phase"] == "outcome":
            [tested] = [one for one in line["vault_request_ids"] if one in uses]  # the known-answer test
            ours.add(tested)
    assert set(uses) == ours, "Vault's log has no use of a key that ours lacks"


async def test_every_outcome_of_a_change_names_vaults_requests(
    server: Any, parts: Any, tenant: str, wanted: Callable[..., Asked], told: Any
) -> None:
    actor = Actor(tenant, "gateway", "somebody", "a-client", "https://issuer")
    made, _ = await parts.bindings.bind(actor, wanted())
    await parts.bindings.revoke(actor, made.id)
    lines = await lines_of(parts, told)
    known = (server.bao.home / "audit.log").read_text()
    for line in lines:
        assert (line["issuer"], line["subject"]) == ("https://issuer", "somebody")
        assert ("vault_request_ids" in line) == (line["phase"] == "outcome")
        assert all(one in known for one in line.get("vault_request_ids", []))
