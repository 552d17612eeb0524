"""The whole process over loopback mTLS: who may call, for which tenant, and what bind, sign and revoke answer."""

import base64
import hashlib
import json
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cli import pki
from cli.processes import clean_environment
from cli.tokens import TokenIssuer
from common.errors import (
    BindingRevoked,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PolicyRefused,
    Unauthenticated,
    Unavailable,
)
from common.rpc.client import call, stream
from cryptography.hazmat.primitives import serialization
from strongroom.types.v1.binding_pb2 import (
    ENVIRONMENT_LIVE,
    STATUS_CONNECTED,
    STATUS_REVOKED,
    Account,
    TenantRules,
    Verdict,
)
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub
from strongroom.vault.v1.trail_pb2 import ReadTrailRequest
from strongroom.vault.v1.trail_pb2_grpc import TrailStub
from vault.rules import Rules

from services.vault.tests.service import World, bearer, settings_of


async def test_a_key_is_bound_described_listed_signed_for_and_revoked(
    world: World, connect: Any, tenant: str, request_of: Any, server: Any
) -> None:
    store, worker = BindingStoreStub(connect("gateway")), connect("worker")
    token, asked = bearer(world, tenant), request_of(passphrase=secrets.token_urlsafe(12))
    bound = await call(store.Bind, asked, timeout_s=5, authorization=token)
    assert bound.created
    name = bound.binding.id
    described = await call(store.Describe, pb.DescribeRequest(binding_id=name), timeout_s=5, authorization=token)
    assert described.binding == bound.binding
    listed = await call(store.List, pb.ListRequest(limit=10), timeout_s=5, authorization=token)
    assert ([one.id for one in listed.bindings], listed.next_after) == ([name], "")

    query = ExchangeRequest(method="GET", path="/api/v3/account/info")
    wanted = SignRequest(binding_id=name, tenant_id=tenant, requests=[query])
    [signed] = (await call(SignerStub(worker).Sign, wanted, timeout_s=5)).signed
    headers = {header.name: header.value for header in signed.headers}
    assert (signed.target, headers["ACCESS-KEY"]) == ("/api/v3/account/info", asked.credential.api_key)
    assert headers["ACCESS-PASSPHRASE"] == asked.credential.passphrase

    verdict = pb.TransitionRequest(
        binding_id=name, tenant_id=tenant, expected_revision=1, verdict=Verdict(status=STATUS_CONNECTED)
    )
    moved = await call(BindingStoreStub(worker).Transition, verdict, timeout_s=5)
    assert (moved.changed, moved.binding.revision) == (True, 2)
    names = {
        one.tenant_id: list(one.binding_ids)
        async for one in stream(BindingStoreStub(worker).Names, pb.NamesRequest(), timeout_s=20)
    }
    assert names[tenant] == [name]
    many = pb.DescribeManyRequest(tenant_id=tenant, binding_ids=[name, "f" * 32])
    read = await call(BindingStoreStub(worker).DescribeMany, many, timeout_s=5)
    assert list(read.bindings) == [moved.binding]
    many = pb.DescribeManyRequest(tenant_id=tenant, binding_ids=["f" * 32] * 201)
    with pytest.raises(InvalidArgument):
        await call(BindingStoreStub(worker).DescribeMany, many, timeout_s=5)

    revoked = await call(store.Revoke, pb.RevokeRequest(binding_id=name), timeout_s=5, authorization=token)
    assert revoked.binding.verdict.status == STATUS_REVOKED
    with pytest.raises(BindingRevoked):
        await call(SignerStub(worker).Sign, wanted, timeout_s=5)
    said = world.process.log_file.read_text() + "".join(path.read_text() for path in (world.folder / "audit").iterdir())
    said += (server.bao.home / "audit.log").read_text()
    parts = asked.credential
    for secret in (parts.api_key, parts.secret_key, parts.passphrase, headers["ACCESS-SIGN"], token.split(".")[2]):
        for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode(), quote(secret, safe="")):
            assert form not in said


async def test_a_tenant_reads_its_own_trail_and_no_other_scope_caller_or_tenant_does(
    world: World, connect: Any, tenant: str, request_of: Any, server: Any
) -> None:
    gateway, mine = connect("gateway"), bearer(world, tenant, "bindings:write", "audit:read")
    store, trail = BindingStoreStub(gateway), TrailStub(gateway)
    name = (await call(store.Bind, request_of(), timeout_s=5, authorization=mine)).binding.id
    sign = SignRequest(binding_id=name, tenant_id=tenant, requests=[ExchangeRequest(method="POST", path="/x")])
    with pytest.raises(PolicyRefused):
        await call(SignerStub(connect("worker")).Sign, sign, timeout_s=5)
    read = await call(trail.ReadTrail, ReadTrailRequest(limit=10), timeout_s=5, authorization=mine)
    told = [(one.action, one.phase, one.outcome, one.service, one.rule, one.binding_id) for one in read.entries]
    assert told == [
        ("sign", "refused", "", "worker", "path_grammar", name),
        ("bind", "outcome", "done", "gateway", "", name),
        ("bind", "intent", "", "gateway", "", name),
    ]
    assert read.entries[1].intent == read.entries[2].sequence
    assert read.entries[2].subject == "local"
    assert read.next_cursor == ""
    other = bearer(world, server.tenant(), "audit:read")
    for binding in ("", name, "f" * 32):
        asked = ReadTrailRequest(limit=10, binding_id=binding)
        assert not (await call(trail.ReadTrail, asked, timeout_s=5, authorization=other)).entries
    for caller, token in ((gateway, bearer(world, tenant, "bindings:read", "admin")), (connect("worker"), mine)):
        with pytest.raises(PermissionDenied):
            await call(TrailStub(caller).ReadTrail, ReadTrailRequest(limit=10), timeout_s=5, authorization=token)


async def test_a_worker_enrols_and_learns_the_tenants_rules_which_date_every_answer(
    world: World, connect: Any, server: Any, request_of: Any
) -> None:
    tenant = server.tenant(Rules(("transfer_enabled",), 90))
    token, gateway = bearer(world, tenant), BindingStoreStub(connect("gateway"))
    worker = BindingStoreStub(connect("worker"))
    bound = [(await call(gateway.Bind, request_of(), timeout_s=5, authorization=token)).binding for _ in range(2)]
    enrolled = [
        await call(
            worker.Enroll,
            pb.EnrollRequest(binding_id=one.id, tenant_id=tenant, uid="1", environment=ENVIRONMENT_LIVE),
            timeout_s=5,
        )
        for one in bound
    ]
    assert [(list(one.siblings), one.keys_bound, one.joined) for one in enrolled] == [
        ([], 1, True),
        ([bound[0].id], 2, True),
    ]
    assert enrolled[0].rules == TenantRules(errors=["transfer_enabled"], rotation_days=90)
    name = bound[0].id
    verdict = Verdict(status=STATUS_CONNECTED, account=Account(uid="1"))
    asked = pb.TransitionRequest(binding_id=name, tenant_id=tenant, expected_revision=1, verdict=verdict)
    many = pb.DescribeManyRequest(tenant_id=tenant, binding_ids=[name])
    answers = [
        bound[0],
        (await call(worker.Transition, asked, timeout_s=5)).binding,
        (await call(gateway.Describe, pb.DescribeRequest(binding_id=name), timeout_s=5, authorization=token)).binding,
        (await call(gateway.List, pb.ListRequest(limit=10), timeout_s=5, authorization=token)).bindings[0],
        (await call(worker.DescribeMany, many, timeout_s=5)).bindings[0],
    ]
    assert {one.credential.rotate_by.seconds - one.credential.stored_at.seconds for one in answers} <= {90 * 86400}
    stored = server.admin.read(f"strongroom/data/bindings/{tenant}/{name}")["data"]["data"]
    assert "rotate_by" not in stored["binding"]["credential"]
    await call(gateway.Revoke, pb.RevokeRequest(binding_id=name), timeout_s=5, authorization=token)
    left = server.admin.read(f"strongroom/data/accounts/{tenant}/1")["data"]["data"]
    assert left == {"members": {bound[1].id: "live"}}, "a revocation takes the binding out"


async def test_only_the_named_workloads_may_call(world: World, connect: Any, tenant: str, request_of: Any) -> None:
    token = bearer(world, tenant)
    for name in ("worker", "verifier", "client", "vault"):
        with pytest.raises(PermissionDenied) as refused:
            await call(BindingStoreStub(connect(name)).Bind, request_of(), timeout_s=5, authorization=token)
        assert refused.value.reason == "caller_not_allowed"
    for name in ("gateway", "verifier", "client"):
        with pytest.raises(PermissionDenied):
            await call(SignerStub(connect(name)).Sign, SignRequest(), timeout_s=5, authorization=token)
        with pytest.raises(PermissionDenied):
            await call(BindingStoreStub(connect(name)).Transition, pb.TransitionRequest(), timeout_s=5)
        with pytest.raises(PermissionDenied):
            await call(BindingStoreStub(connect(name)).Enroll, pb.EnrollRequest(tenant_id=tenant), timeout_s=5)
        with pytest.raises(PermissionDenied):
            await call(BindingStoreStub(connect(name)).DescribeMany, pb.DescribeManyRequest(), timeout_s=5)
        with pytest.raises(PermissionDenied):
            assert not [
                one async for one in stream(BindingStoreStub(connect(name)).Names, pb.NamesRequest(), timeout_s=5)
            ]
    foreign = world.authority.issue(
        "gateway", world.folder / "odd", uris=["spiffe://elsewhere/ns/strongroom/sa/gateway"]
    )
    with pytest.raises(PermissionDenied):
        await call(BindingStoreStub(connect("", foreign)).Bind, request_of(), timeout_s=5, authorization=token)


async def test_a_certificate_of_another_authority_reaches_nothing(
    world: World, connect: Any, tenant: str, tmp_path: Path, request_of: Any
) -> None:
    stranger = pki.Authority.create(tmp_path / "stranger").issue("gateway")
    leaf = pki.Leaf(stranger.cert_file, stranger.key_file, world.authority.ca_file)
    with pytest.raises(Unavailable):
        await call(
            BindingStoreStub(connect("", leaf)).Bind, request_of(), timeout_s=2, authorization=bearer(world, tenant)
        )


@pytest.mark.bar(2)
async def test_a_forged_tenant_is_refused_and_a_foreign_id_is_not_found(
    world: World, connect: Any, tenant: str, server: Any, request_of: Any
) -> None:
    store, other = BindingStoreStub(connect("gateway")), server.tenant()
    bound = await call(store.Bind, request_of(), timeout_s=5, authorization=bearer(world, tenant))
    forged = pb.DescribeRequest(binding_id=bound.binding.id, tenant_id=tenant)
    with pytest.raises(PermissionDenied) as refused:
        await call(store.Describe, forged, timeout_s=5, authorization=bearer(world, other))
    assert refused.value.reason == "foreign_tenant"
    details = []
    for name in (bound.binding.id, "e" * 32, "../" + bound.binding.id):
        query = pb.DescribeRequest(binding_id=name)
        with pytest.raises(NotFound) as missing:
            await call(store.Describe, query, timeout_s=5, authorization=bearer(world, other))
        details.append((missing.value.reason, missing.value.detail, missing.value.extra))
    assert len({str(detail) for detail in details}) == 1
    revoke = pb.RevokeRequest(binding_id=bound.binding.id)
    with pytest.raises(NotFound):
        await call(store.Revoke, revoke, timeout_s=5, authorization=bearer(world, other))


async def test_a_token_must_be_there_good_and_carry_the_scope(
    world: World, connect: Any, tenant: str, request_of: Any
) -> None:
    store = BindingStoreStub(connect("gateway"))
    for token in (None, "Bearer x", f"Bearer {TokenIssuer.create(world.folder / 'other').issue(tenant)}"):
        with pytest.raises(Unauthenticated):
            await call(store.Bind, request_of(), timeout_s=5, authorization=token)
    with pytest.raises(PermissionDenied) as refused:
        await call(store.Bind, request_of(), timeout_s=5, authorization=bearer(world, tenant, "bindings:read"))
    assert refused.value.extra == {"scope": "bindings:write"}


async def test_a_worker_must_name_a_tenant_and_gets_verification_reads_only(
    world: World, connect: Any, tenant: str, request_of: Any
) -> None:
    bound = await call(
        BindingStoreStub(connect("gateway")).Bind, request_of(), timeout_s=5, authorization=bearer(world, tenant)
    )
    signer, trade = SignerStub(connect("worker")), ExchangeRequest(method="POST", path="/api/v3/trade/place-order")
    wanted = SignRequest(binding_id=bound.binding.id, tenant_id=tenant, requests=[trade])
    with pytest.raises(PolicyRefused) as refused:
        await call(signer.Sign, wanted, timeout_s=5)
    assert refused.value.extra == {"rule": "not_a_verification_read"}
    with pytest.raises(InvalidArgument):
        await call(signer.Sign, SignRequest(binding_id=bound.binding.id, requests=[trade]), timeout_s=5)


async def test_wrong_values_are_named_and_never_repeated(
    world: World, connect: Any, tenant: str, request_of: Any
) -> None:
    store = BindingStoreStub(connect("gateway"))
    wrong = {"api_key": "bg with space", "secret_key": "canary-too-short", "passphrase": "canary phrase"}
    for field, value in wrong.items():
        with pytest.raises(InvalidArgument) as refused:
            await call(store.Bind, request_of(**{field: value}), timeout_s=5, authorization=bearer(world, tenant))
        assert refused.value.extra == {"field": f"credential.{field}"}
        assert value not in refused.value.detail


def test_it_ends_with_zero_on_sigterm_and_its_audit_chain_holds(world: World, told: Any) -> None:
    folder = world.folder / "audit"
    phases = [line["phase"] for line in told(folder)]
    assert len(phases) > 5
    assert set(phases) == {"intent", "outcome", "refused"}
    assert world.process.process is not None
    world.process.process.send_signal(signal.SIGTERM)
    assert world.process.process.wait(12) == 0
    assert len(told(folder)) == len(phases)
    [newest] = folder.iterdir()
    assert json.loads(newest.read_text().splitlines()[-1])["action"] == "head"
    world.process.start()


def test_check_prints_the_settings_and_an_unknown_variable_stops_the_start(world: World) -> None:
    command = [sys.executable, "-m", "vault", "--check"]
    good = subprocess.run(command, env=world.process.environment, capture_output=True, text=True, check=False)
    assert good.returncode == 0
    assert f"STRONGROOM_VAULT_URL={world.process.settings['STRONGROOM_VAULT_URL']}" in good.stdout
    unknown = {**world.process.environment, "STRONGROOM_DEBUG": "yes"}
    bad = subprocess.run(command, env=unknown, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (2, "settings: STRONGROOM_DEBUG: unknown setting\n")


@pytest.mark.bar(60)
def test_it_does_not_start_with_a_right_too_many_or_too_few(server: Any, tmp_path: Path) -> None:
    authority, issuer = pki.Authority.create(tmp_path / "pki"), TokenIssuer.create(tmp_path / "issuer")
    settings = settings_of(server, tmp_path, authority, issuer)
    wide = '\npath "{}" {{ capabilities = ["read"] }}'
    changes = (
        ("strongroom-service", "+", wide.format("transit/export/+/+"), "has forbidden read on transit/export/"),
        ("strongroom-service", "transit/wrapping_key", "transit/something_else", "lacks read on transit/wrapping_key"),
        ("strongroom-tenant", "+", wide.format("strongroom/data/credentials/*"), "has forbidden read on strongroom/"),
        ("strongroom-tenant", "alias", "another", "lacks create, read, update on strongroom/data/"),
    )
    for name, old, new, line in changes:
        policy = server.admin.sys.read_policy(name)["data"]["rules"]
        try:
            server.admin.sys.create_or_update_policy(name, policy + new if old == "+" else policy.replace(old, new))
            command = [sys.executable, "-m", "vault"]
            environment = clean_environment(**settings)
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
            assert ended.returncode == 1
            assert f"{name} {line}" in ended.stderr
        finally:
            server.admin.sys.create_or_update_policy(name, policy)


async def test_the_wrapping_key_is_told_to_a_caller_with_a_token_and_its_fingerprint_is_that_of_its_der(
    world: World, connect: Any, tenant: str
) -> None:
    store = BindingStoreStub(connect("gateway"))
    told = await call(store.WrappingKey, pb.WrappingKeyRequest(), timeout_s=5, authorization=bearer(world, tenant))
    key = serialization.load_pem_public_key(told.public_key.encode())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert (key.key_size, told.fingerprint) == (4096, hashlib.sha256(der).hexdigest())  # type: ignore[union-attr]
    with pytest.raises(Unauthenticated):
        await call(store.WrappingKey, pb.WrappingKeyRequest(), timeout_s=5)
