"""Tokens of one identity: one login at a time, renewed early, replaced once when refused, and never a storm."""

import asyncio
from typing import Any

import pytest
from common.errors import PermissionDenied, Unavailable
from vault.hashicorp import login
from vault.hashicorp.http import Answer
from vault.hashicorp.login import SERVICE, Connection, Logins, Role, tenant_role


@pytest.fixture
def logins(server: Any, login_clock: Any) -> Logins:
    return Logins(server.connection, server.login_key, login_clock)


async def test_a_hundred_callers_share_one_login(logins: Logins) -> None:
    tokens = await asyncio.gather(*(logins.token(SERVICE) for _ in range(100)))
    assert len({id(token) for token in tokens}) == 1
    assert tokens[0].reveal().startswith(("b.", "hvb."))  # a batch token


async def test_a_token_is_renewed_at_two_thirds_of_its_life(logins: Logins, login_clock: Any) -> None:
    first = await logins.token(SERVICE)
    login_clock.ahead = 199
    assert await logins.token(SERVICE) is first
    login_clock.ahead = 201
    assert await logins.token(SERVICE) is not first


async def test_a_token_is_used_to_its_end_while_logins_fail(server: Any, login_clock: Any) -> None:
    logins = Logins(server.connection, server.login_key, login_clock)
    first = await logins.token(SERVICE)
    logins._connection = Connection("http://127.0.0.1:1")
    login_clock.ahead = 250
    assert await logins.token(SERVICE) is first
    login_clock.ahead = 301
    with pytest.raises(Unavailable):
        await logins.token(SERVICE)


async def test_failing_logins_are_tried_once_a_second(server: Any, login_clock: Any) -> None:
    attempts: list[str] = []

    class Counting(Logins):
        def _login(self, role: Role) -> Any:
            attempts.append(role.name)
            return super()._login(role)

    logins = Counting(Connection("http://127.0.0.1:1"), server.login_key, login_clock)
    outcomes = await asyncio.gather(*(logins.token(SERVICE) for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert len(attempts) == 1
    login_clock.ahead = 1.1
    with pytest.raises(Unavailable):
        await logins.token(SERVICE)
    assert len(attempts) == 2


async def test_a_wrong_date_is_unavailable_because_nobody_is_to_blame(server: Any, clock: Any) -> None:
    clock.ahead = 3600
    with pytest.raises(Unavailable) as refused:
        await Logins(server.connection, server.login_key, clock).token(SERVICE)
    assert refused.value.reason == "vault_login_refused"


async def test_an_identity_without_a_role_is_denied_not_unavailable(logins: Logins) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await logins.token(Role("strongroom-nobody", "nobody"))
    assert refused.value.reason == "not_provisioned"


async def test_a_refused_token_is_replaced_once_and_the_call_repeated(make: Any, tenant: str, login_clock: Any) -> None:
    parts = await make()
    await parts.documents.read(tenant, "bindings", "0" * 32)
    entry = parts.http._logins._entries[tenant_role(tenant)]
    good, entry.token = entry.token, type(entry.token)("b.forged")
    login_clock.ahead = 2
    assert await parts.documents.read(tenant, "bindings", "0" * 32) is None
    assert entry.token is not good


async def test_a_call_that_stays_forbidden_is_not_repeated_for_ever(parts: Any, tenant: str, login_clock: Any) -> None:
    await parts.documents.read(tenant, "bindings", "0" * 32)
    entry = parts.http._logins._entries[tenant_role(tenant)]
    login_clock.ahead = 2
    before = entry.token
    for _ in range(5):
        answer = await parts.http.call(tenant_role(tenant), "GET", "sys", "policies", "acl", "x")
        assert isinstance(answer, Answer)
        assert answer.status == 403
    assert entry.token is not before
    with pytest.raises(Unavailable) as refused:
        await parts.documents.names(tenant, "fp")
    assert refused.value.reason == "vault_denied"


async def test_unknown_identities_are_not_remembered_without_end(logins: Logins, monkeypatch: Any) -> None:
    monkeypatch.setattr(login, "IDENTITIES", 3)
    kept = await logins.token(SERVICE)
    for letter in "defghijk":
        with pytest.raises(PermissionDenied):
            await logins.token(Role(f"strongroom-{letter}", letter))
        assert len(logins._entries) <= 3
    assert await logins.token(SERVICE) is kept
