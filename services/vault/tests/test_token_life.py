"""Vault's tokens end, shrink and lose their policy under load: one new login, then a clean failure, and no storm.

The logins are counted by Vault: in its own audit log.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from common.clock import SystemClock
from common.errors import PermissionDenied, Unavailable
from common.secret import Secret
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import asked
from vault.hashicorp import preflight
from vault.hashicorp.login import SERVICE, SIGNER, TENANT

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
TENANTS, ROUNDS = 5, 10


class StoppedClock(SystemClock):
    """The clock of the logins, which moves when the test says so; its date is right, for Vault looks at it."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def login_clock() -> StoppedClock:
    return StoppedClock()


@dataclass
class Load:
    """Some tenants with a binding each, and what is asked for them."""

    parts: Any
    bound: list[tuple[str, str]]

    async def read(self, tenant: str, binding: str) -> None:
        await self.parts.bindings.records.load(tenant, binding)

    async def sign(self, tenant: str, binding: str) -> None:
        await self.parts.signer.sign(Actor(tenant, "worker"), SignRequest(binding_id=binding, requests=[INFO]))

    async def revoke(self, tenant: str, binding: str) -> None:
        await self.parts.bindings.revoke(Actor(tenant, "gateway"), binding)

    async def round(self, *kinds: Callable[[str, str], Awaitable[None]]) -> list[Unavailable]:
        """Ask everything for every tenant at once; return the refusals, which must be clean ones."""
        calls = [kind(*one) for kind in kinds for one in self.bound]
        refusals = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error]
        for refusal in refusals:
            assert isinstance(refusal, Unavailable), refusal
            assert refusal.retry_after
        return [refusal for refusal in refusals if isinstance(refusal, Unavailable)]


@pytest.fixture
async def load(server: Any, make: Any, request_of: Any) -> Load:
    parts, bound = await make(), []
    for tenant in (server.tenant() for _ in range(TENANTS)):
        made, _ = await parts.bindings.bind(Actor(tenant, "gateway"), asked(tenant, request_of()))
        bound.append((tenant, made.id))
    made = Load(parts, bound)
    assert not await made.round(made.read, made.sign)
    return made


@pytest.fixture
def logins(server: Any) -> Iterator[Callable[[], int]]:
    """Return a counter of the logins that Vault has answered since; what is changed there is put right again."""
    file: Path = server.bao.home / "audit.log"
    begin = file.stat().st_size

    def count() -> int:
        with file.open() as lines:
            lines.seek(begin)
            told = [json.loads(line) for line in lines]
        return sum(one["type"] == "response" and one["request"]["path"] == "auth/jwt/login" for one in told)

    yield count
    server.provision()


@pytest.mark.bar(50)
async def test_a_policy_that_is_taken_away_costs_each_identity_one_login_and_then_one_a_second_in_all(
    server: Any, load: Load, login_clock: StoppedClock, logins: Callable[[], int]
) -> None:
    login_clock.at += 100
    before = logins()
    for policy in (TENANT, SIGNER):
        server.admin.sys.delete_policy(policy)
    for _ in range(ROUNDS):
        assert len(await load.round(load.read, load.sign, load.revoke)) == 3 * TENANTS
    identities = 2 * TENANTS
    login_clock.at += 1
    seen = [logins() - before]
    assert seen == [identities], "each has tried once with a new token"
    for _ in range(3):
        for _ in range(ROUNDS):
            await load.round(load.read, load.sign)
        login_clock.at += 1
        seen.append(logins() - before)
    assert seen == [identities, identities + 1, identities + 2, identities + 3]
    server.provision()
    assert not await load.round(load.read, load.sign), "nobody has to log in to go on"
    assert logins() - before == identities + 3


@pytest.mark.bar(50)
async def test_tokens_that_vault_knows_no_more_are_replaced_at_once_for_all(
    load: Load, login_clock: StoppedClock, logins: Callable[[], int]
) -> None:
    login_clock.at += 2
    before = logins()
    for role, entry in load.parts.http._logins._entries.items():
        if role != SERVICE:
            entry.token = Secret("b.unknown")
    assert not await load.round(load.read, load.sign)
    assert logins() - before == 2 * TENANTS


@pytest.mark.bar(50)
async def test_logins_that_are_refused_are_tried_once_a_second_in_all_and_hold_up_nobodys_first(
    server: Any, load: Load, login_clock: StoppedClock, logins: Callable[[], int]
) -> None:
    """The signing role's subjects are shut out; the keeping role's are not."""
    login_clock.at += 400  # every token has ended
    await load.parts.http._logins.token(SERVICE)
    role = f"auth/jwt/role/{SIGNER}"
    settings = server.admin.read(role)["data"]
    server.admin.write_data(role, data={**settings, "bound_subject": "somebody-else"})
    before = logins()
    assert len(await load.round(load.sign)) == TENANTS
    login_clock.at += 1
    for _ in range(3):
        for _ in range(ROUNDS):
            assert len(await load.round(load.sign)) == TENANTS
        assert not await load.round(load.read)
        login_clock.at += 1
    assert logins() - before == TENANTS + 3 + TENANTS, "each once, one a second, and the other role's as they come"
    server.provision()
    while len(await load.round(load.sign)) == TENANTS:
        login_clock.at += 1
    assert not await load.round(load.sign), "one that is let in again opens the door to all"


@pytest.mark.bar(50)
async def test_lives_that_shrink_cost_one_login_a_second_and_tokens_end_under_load_without_a_raw_refusal(
    server: Any, make: Any, load: Load, logins: Callable[[], int]
) -> None:
    for name in (TENANT, SIGNER):
        role = f"auth/jwt/role/{name}"
        settings = server.admin.read(role)["data"]
        server.admin.write_data(role, data={**settings, "token_ttl": "2s", "token_max_ttl": "2s"})
    parts = await make(login_clock=SystemClock())
    short, before, began = Load(parts, load.bound), logins(), time.monotonic()
    served = 0
    free = 2 * 2 * TENANTS + 1  # each identity's first, and one in the place of a refused token; the service's own
    async with asyncio.timeout(60):
        while logins() - before < free + 3:
            served += 2 * TENANTS - len(await short.round(short.read, short.sign))
            await asyncio.sleep(0.01)
    assert served > 2 * TENANTS
    assert logins() - before <= free + 1 + (time.monotonic() - began), "no more than a login a second"
    server.provision()
    async with asyncio.timeout(60):
        while await short.round(short.read, short.sign):
            await asyncio.sleep(0.05)


@pytest.mark.bar(50)
async def test_a_role_that_vanished_is_an_outage_and_no_fault_of_the_caller_and_ends_a_start(
    make: Any, server: Any, parts: Any, actor: Actor, request_of: Any, login_clock: StoppedClock
) -> None:
    made, _ = await parts.bindings.bind(actor, asked(actor.tenant, request_of()))
    load, role = Load(parts, [(actor.tenant, made.id)]), f"auth/jwt/role/{SIGNER}"
    settings = server.admin.read(role)["data"]
    server.admin.delete(role)
    try:
        login_clock.at += 400  # every token has ended
        for kind, refused in ((load.sign, "vault_identity_lost"), (load.read, None)):
            assert [one.reason for one in await load.round(kind)] == ([refused] if refused else [])
        with pytest.raises(PermissionDenied, match="not_provisioned"):
            await preflight.check((await make()).http)
    finally:
        server.admin.write_data(role, data=settings)
    login_clock.at += 60
    assert await load.round(load.sign) == []
    await preflight.check(parts.http)
