"""Two vault services on one Vault, over mTLS: what an operator orders at one is in force at the other."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from cli import pki
from cli.tokens import TokenIssuer
from common.errors import BindingRevoked, NotFound, PermissionDenied, PolicyRefused, Unavailable
from common.rpc.client import call, channel
from common.rpc.tls import Identity
from strongroom.types.v1.binding_pb2 import ENVIRONMENT_LIVE, SCOPE_SPOT, STATUS_CONNECTED, Verdict
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import binding_store_pb2 as store
from strongroom.vault.v1 import freezes_pb2 as freezes
from strongroom.vault.v1 import revocations_pb2 as bulk
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.freezes_pb2_grpc import FreezesStub
from strongroom.vault.v1.revocations_pb2_grpc import RevocationsStub
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub
from vault.denials import Denials
from vault.rules import Rules

from services.vault.tests.service import VaultProcess, settings_of

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
DEADLINE_S = 60


@dataclass
class Pair:
    """Two running services with one authority and one token issuer."""

    processes: list[VaultProcess]
    authority: pki.Authority
    issuer: TokenIssuer

    def bearer(self, tenant: str, *scopes: str) -> str:
        return f"Bearer {self.issuer.issue(tenant, scopes or ('bindings:read', 'bindings:write'))}"


@pytest.fixture(scope="module")
def pair(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    authority, issuer = pki.Authority.create(folder / "pki"), TokenIssuer.create(folder / "issuer")
    processes = []
    with ExitStack() as stack:
        for number in range(2):
            home = folder / str(number)
            home.mkdir()
            processes.append(stack.enter_context(VaultProcess(settings_of(server, home, authority, issuer), home)))
        yield Pair(processes, authority, issuer)


@dataclass
class Reach:
    """Stubs of one process, as the gateway, as a worker, and as the verifier's front for callers."""

    store: BindingStoreStub
    records: BindingStoreStub
    freezes: FreezesStub
    bulk: RevocationsStub
    signer: SignerStub
    callers: SignerStub


@pytest.fixture
async def reach(pair: Pair) -> AsyncIterator[list[Reach]]:
    opened, made = [], []
    for process in pair.processes:
        ways = []
        for name in ("gateway", "worker", "verifier"):
            leaf = pair.authority.issue(name)
            ways.append(channel(process.target, "vault", Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)))
        opened += ways
        made.append(
            Reach(
                BindingStoreStub(ways[0]),
                BindingStoreStub(ways[1]),
                FreezesStub(ways[0]),
                RevocationsStub(ways[0]),
                SignerStub(ways[1]),
                SignerStub(ways[2]),
            )
        )
    yield made
    for way in opened:
        await way.close()


def of_tenant(tenant: str) -> freezes.CreateFreezeRequest:
    target = freezes.FreezeTarget(kind=freezes.FREEZE_KIND_TENANT, tenant_id=tenant)
    return freezes.CreateFreezeRequest(idempotency_key=secrets.token_hex(8), target=target, reason="an incident")


async def bound_at(reach: Reach, request: Any, token: str) -> Any:
    """Bind, and ask again under the same key where that cannot be done yet: a process may only just have started."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return (await call(reach.store.Bind, request, timeout_s=DEADLINE_S, authorization=token)).binding
            except Unavailable:
                await asyncio.sleep(0.2)


async def test_a_freeze_made_at_one_process_stops_the_other_and_ends_with_its_lifting(
    pair: Pair, reach: list[Reach], tenant: str, request_of: Any
) -> None:
    here, there = reach
    token, admin = pair.bearer(tenant), pair.bearer("o" * 26, "admin")
    request = request_of()
    bound = await bound_at(here, request, token)
    wanted = SignRequest(binding_id=bound.id, tenant_id=tenant, requests=[INFO])
    signed = 0

    async def keep_signing() -> tuple[float, dict[str, str]]:
        """Sign until that is refused; return when it was, and what was told."""
        nonlocal signed
        while True:
            try:
                await call(there.signer.Sign, wanted, timeout_s=DEADLINE_S)
            except PolicyRefused as stopped:
                return time.monotonic(), stopped.extra
            signed += 1

    load = asyncio.create_task(keep_signing())
    async with asyncio.timeout(DEADLINE_S):
        while not signed:
            await asyncio.sleep(0.01)
    made = (await call(here.freezes.CreateFreeze, of_tenant(tenant), timeout_s=DEADLINE_S, authorization=admin)).freeze
    acknowledged = time.monotonic()
    first, told = await asyncio.wait_for(load, DEADLINE_S)
    assert told == {"rule": "frozen", "freeze_id": made.id}
    print(
        f"refused on the other process {(first - acknowledged) * 1000:.0f} ms after the answer; signed before: {signed}"
    )
    with pytest.raises(PolicyRefused):
        await call(here.signer.Sign, wanted, timeout_s=DEADLINE_S)

    described = store.DescribeRequest(binding_id=bound.id)
    for one in reach:
        shown = await call(one.store.Describe, described, timeout_s=DEADLINE_S, authorization=token)
        assert (shown.binding.frozen, shown.binding.verdict) == (True, bound.verdict)
    listed = freezes.ListFreezesRequest()
    active = (await call(there.freezes.ListFreezes, listed, timeout_s=DEADLINE_S, authorization=admin)).freezes
    assert [one for one in active if one.id == made.id] == [made]
    again = await call(there.store.Bind, request, timeout_s=DEADLINE_S, authorization=token)
    assert (again.created, again.binding.id) == (False, bound.id), "a repeat is answered as before"
    with pytest.raises(PolicyRefused) as refused:
        await call(there.store.Bind, request_of(), timeout_s=DEADLINE_S, authorization=token)
    assert refused.value.extra["freeze_id"] == made.id
    for change in ({"subject": "somebody-else"}, {"scopes": [SCOPE_SPOT]}):
        update = store.UpdateRequest(binding_id=bound.id, **change)
        with pytest.raises(PolicyRefused):
            await call(there.store.Update, update, timeout_s=DEADLINE_S, authorization=token)
    stage = store.StageRequest(idempotency_key="k", binding_id=bound.id, credential=request_of().credential)
    with pytest.raises(PolicyRefused):
        await call(there.store.Stage, stage, timeout_s=DEADLINE_S, authorization=token)
    labelled = store.UpdateRequest(binding_id=bound.id, label="Other")
    await call(there.store.Update, labelled, timeout_s=DEADLINE_S, authorization=token)
    page = await call(there.store.List, store.ListRequest(limit=10), timeout_s=DEADLINE_S, authorization=token)
    assert [(one.id, one.frozen) for one in page.bindings] == [(bound.id, True)]

    lift = freezes.LiftFreezeRequest(freeze_id=made.id, reason="it is over")
    await call(there.freezes.LiftFreeze, lift, timeout_s=DEADLINE_S, authorization=admin)
    assert (await call(there.signer.Sign, wanted, timeout_s=DEADLINE_S)).signed
    async with asyncio.timeout(DEADLINE_S):
        while (await call(here.store.Describe, described, timeout_s=DEADLINE_S, authorization=token)).binding.frozen:
            await asyncio.sleep(0.01)
    revoked = store.RevokeRequest(binding_id=bound.id)
    await call(here.store.Revoke, revoked, timeout_s=DEADLINE_S, authorization=token)


async def test_an_order_to_one_process_ends_many_bindings_by_itself(
    pair: Pair, reach: list[Reach], tenant: str, request_of: Any
) -> None:
    here, there = reach
    token, admin = pair.bearer(tenant), pair.bearer("o" * 26, "admin")
    names = [
        (await call(here.store.Bind, request_of(), timeout_s=DEADLINE_S, authorization=token)).binding.id
        for _ in range(3)
    ]
    selector = bulk.RevocationSelector(tenant_id=tenant)
    order = bulk.RevokeManyRequest(idempotency_key=secrets.token_hex(8), selector=selector, reason="an incident")
    taken = (await call(here.bulk.RevokeMany, order, timeout_s=DEADLINE_S, authorization=admin)).revocation
    look = bulk.DescribeRevocationRequest(revocation_id=taken.id)
    async with asyncio.timeout(60):
        while True:
            told = await call(there.bulk.DescribeRevocation, look, timeout_s=DEADLINE_S, authorization=admin)
            if told.revocation.state == bulk.REVOCATION_STATE_DONE:
                break
            await asyncio.sleep(0.05)
    assert (told.revocation.matched, told.revocation.revoked) == (3, 3)
    for name in names:
        wanted = SignRequest(binding_id=name, tenant_id=tenant, requests=[INFO])
        with pytest.raises(BindingRevoked):
            await call(there.signer.Sign, wanted, timeout_s=DEADLINE_S)
    for method, request in ((here.bulk.RevokeMany, order), (here.bulk.DescribeRevocation, look)):
        with pytest.raises(PermissionDenied) as refused:
            await call(method, request, timeout_s=DEADLINE_S, authorization=token)
        assert refused.value.extra == {"scope": "admin"}


async def test_only_an_operators_own_token_freezes_lists_or_lifts(pair: Pair, reach: list[Reach], tenant: str) -> None:
    switches = reach[0].freezes
    calls = [
        (switches.CreateFreeze, of_tenant(tenant)),
        (switches.ListFreezes, freezes.ListFreezesRequest()),
        (switches.LiftFreeze, freezes.LiftFreezeRequest(freeze_id="0" * 32, reason="x")),
    ]
    token = pair.bearer(tenant, "bindings:read", "bindings:write", "audit:read", "requests:sign", "requests:execute")
    for method, request in calls:
        with pytest.raises(PermissionDenied) as refused:
            await call(method, request, timeout_s=DEADLINE_S, authorization=token)
        assert refused.value.extra == {"scope": "admin"}
    with pytest.raises(NotFound):
        await call(*calls[2], timeout_s=DEADLINE_S, authorization=pair.bearer(tenant, "admin"))
    for name in ("worker", "verifier", "client", "vault"):
        leaf = pair.authority.issue(name)
        identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
        async with channel(pair.processes[0].target, "vault", identity) as way:
            method, request = FreezesStub(way).ListFreezes, freezes.ListFreezesRequest()
            with pytest.raises(PermissionDenied) as refused:
                await call(method, request, timeout_s=DEADLINE_S, authorization=pair.bearer(tenant, "admin"))
            assert refused.value.reason == "caller_not_allowed"


async def test_orders_signed_by_both_together_stay_within_the_tenants_day(
    pair: Pair, reach: list[Reach], server: Any, request_of: Any
) -> None:
    tenant = server.tenant(Rules((), 0, Denials(max_daily_notional="1000")))
    token = pair.bearer(tenant)
    bound = (await call(reach[0].store.Bind, request_of(), timeout_s=DEADLINE_S, authorization=token)).binding
    verdict = Verdict(status=STATUS_CONNECTED, environment=ENVIRONMENT_LIVE)
    connected = store.TransitionRequest(binding_id=bound.id, tenant_id=tenant, expected_revision=1, verdict=verdict)
    assert (await call(reach[0].records.Transition, connected, timeout_s=DEADLINE_S)).changed
    body = b'{"symbol":"BTCUSDT","side":"buy","orderType":"limit","price":"90","size":"1"}'
    order = ExchangeRequest(method="POST", path="/api/v2/spot/trade/place-order", body=body)
    wanted = SignRequest(binding_id=bound.id, requests=[order], purpose=PURPOSE_EXECUTE)
    executing = pair.bearer(tenant, "requests:execute")

    async def sign(number: int) -> str:
        try:
            await call(reach[number % 2].callers.Sign, wanted, timeout_s=DEADLINE_S, authorization=executing)
        except PolicyRefused as refused:
            return str(refused.extra["rule"])
        return "signed"

    signed = await asyncio.gather(*(sign(number) for number in range(40)))
    assert set(signed) == {"signed", "tenant_daily_notional"}
    assert signed.count("signed") == 11
    kept = server.admin.read(f"strongroom/data/days/{tenant}")["data"]["data"]
    assert kept["counted"] == str(990 * 10**8)
