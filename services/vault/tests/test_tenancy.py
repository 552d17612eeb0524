"""That one role and one policy for all tenants keep them apart, tried on the real server and not only in our code."""

import asyncio
import secrets
from typing import Any

import hvac
import pytest
from common.clock import SystemClock
from common.errors import Internal, StrongroomError
from common.secret import Secret
from hvac.exceptions import Forbidden, InvalidRequest
from vault.hashicorp.http import Answer
from vault.hashicorp.login import (
    RECONCILER,
    SERVICE,
    SIGNER,
    TENANT,
    Logins,
    Role,
    admin_client,
    signer_role,
    tenant_role,
)
from vault.material import HmacSecret

BINDING = "0" * 32
ODD = ["*", "+", "..", "a/b", "", "x" * 300, "\u00fc" * 26, "A" * 26, "a" * 25, "a" * 27, "a" * 26 + "\n", "{{x}}"]


async def login(server: Any, role: Role) -> hvac.Client:
    """Log in as `role`, whatever its subject is, and return a client with the token."""
    token = await Logins(server.connection, server.login_key, SystemClock()).token(role)
    return admin_client(server.connection, token)


def answer(client: hvac.Client, method: str, path: str, **body: Any) -> str:
    """Return the text that a document holds, or how the server refuses it."""
    try:
        told = client.adapter.request(method, f"/v1/{path}", json=body or None)
    except (Forbidden, InvalidRequest) as error:
        return type(error).__name__
    return str(told["data"].get("data", {}).get("of", "done"))


def document(server: Any, tenant: str) -> str:
    """Write a document that says whose it is, and return its path."""
    path = f"strongroom/data/credentials/{tenant}/{BINDING}"
    server.admin.write_data(path, data={"data": {"of": tenant}, "options": {"cas": 0}})
    return path


@pytest.mark.bar(5)
async def test_two_tenants_logins_interleaved_a_thousand_times_never_open_each_others_path(server: Any) -> None:
    tenants = [server.tenant(), server.tenant()]
    paths = [document(server, tenant) for tenant in tenants]
    clients = [await login(server, tenant_role(tenant)) for tenant in tenants]

    async def one(number: int) -> None:
        mine, theirs = number % 2, 1 - number % 2
        client = await login(server, tenant_role(tenants[mine]))
        for holder, own, other in ((client, mine, theirs), (clients[theirs], theirs, mine)):
            told = [await asyncio.to_thread(answer, holder, "GET", paths[path]) for path in (own, other)]
            assert told == [tenants[own], "Forbidden"]
        client.adapter.close()

    for start in range(0, 1000, 8):
        await asyncio.gather(*(one(number) for number in range(start, start + 8)))
    for client in clients:
        client.adapter.close()


@pytest.mark.bar(5)
async def test_a_later_login_changes_what_metadata_opens_and_never_what_a_name_opens(server: Any) -> None:
    tenants = [secrets.token_hex(13), secrets.token_hex(13)]
    paths = [document(server, tenant) for tenant in tenants]
    accessor = server.admin.sys.list_auth_methods()["data"]["jwt/"]["accessor"]
    place = f"{{{{identity.entity.aliases.{accessor}.metadata.tenant}}}}"
    policy = f'path "strongroom/data/credentials/{place}/*" {{ capabilities = ["read"] }}'
    server.admin.sys.create_or_update_policy("test-metadata", policy)
    role = {"role_type": "jwt", "bound_audiences": ["strongroom-vault"], "token_policies": ["test-metadata"]}
    role |= {"token_type": "batch", "user_claim": "iss", "claim_mappings": {"sub": "tenant"}}
    server.admin.write_data("auth/jwt/role/test-metadata", data=role)

    first = await login(server, Role("test-metadata", tenants[0]))
    assert [answer(first, "GET", path) for path in paths] == [tenants[0], "Forbidden"]
    await login(server, Role("test-metadata", tenants[1]))
    assert [answer(first, "GET", path) for path in paths] == ["Forbidden", tenants[1]], "the trap is there"

    first = await login(server, tenant_role(tenants[0]))
    second = await login(server, tenant_role(tenants[1]))
    assert [answer(first, "GET", path) for path in paths] == [tenants[0], "Forbidden"]
    assert [answer(second, "GET", path) for path in paths] == ["Forbidden", tenants[1]]


@pytest.mark.bar(6)
async def test_a_name_that_begins_with_another_opens_nothing_of_it(server: Any) -> None:
    short, long = secrets.token_hex(4), ""
    long = short + "2"
    for name in (short, long):
        server.admin.write_data(f"transit/keys/{name}.{BINDING}", data={"type": "hmac", "key_size": 32})
    paths = {name: document(server, name) for name in (short, long)}
    for mine, theirs in ((short, long), (long, short)):
        client = await login(server, Role(SIGNER, mine))
        sign = [
            answer(client, "POST", f"transit/hmac/{name}.{BINDING}/sha2-256", input="eA==") for name in (mine, theirs)
        ]
        assert sign == ["done", "Forbidden"]
        assert [answer(client, "GET", paths[name]) for name in (mine, theirs)] == [mine, "Forbidden"]
        client.adapter.close()


@pytest.mark.bar(3)
async def test_a_subject_that_is_a_pattern_is_no_tenant_for_us_and_opens_nothing_at_the_server(
    server: Any, parts: Any, tenant: str
) -> None:
    path, sign = document(server, tenant), f"transit/hmac/{tenant}.{BINDING}/sha2-256"
    await parts.keys.import_key(tenant, BINDING, HmacSecret(Secret("s" * 64)))
    for name in ODD:
        for role_of in (tenant_role, signer_role):
            with pytest.raises(Internal):
                role_of(name)
        with pytest.raises(Internal):
            await parts.documents.read(name, "bindings", BINDING)
        with pytest.raises(Internal):
            await parts.keys.sign(name, BINDING, 1, [b"x"], 1)
        for role in (TENANT, SIGNER):
            try:
                client = await login(server, Role(role, name))
            except StrongroomError:
                continue  # the server gives such a subject no token at all
            told = answer(client, "GET", path), answer(client, "POST", sign, input="eA==")
            assert set(told) <= {"Forbidden", "InvalidRequest"}, name
            client.adapter.close()


@pytest.mark.bar(4)
async def test_a_name_that_climbs_out_of_a_path_is_refused_before_any_socket_is_opened(
    make: Any, proxy: Any, tenant: str
) -> None:
    parts = await make()
    parts.http._base = f"{proxy.url}/v1/"
    for name in (f"../{tenant}/{BINDING}", "..", "a/../b", "%2e%2e", "a//b", ""):
        with pytest.raises(Internal):
            await parts.documents.read(tenant, "bindings", name)
        with pytest.raises(Internal):
            await parts.documents.write(tenant, "bindings", name, {}, 0)
        with pytest.raises(Internal):
            await parts.own.read("tenants", name)
    assert proxy.seen == []


@pytest.mark.bar(7)
async def test_only_the_reconciler_lists_keys_and_bindings_of_all(parts: Any, server: Any, tenant: str) -> None:
    lists = [("transit", "keys"), ("strongroom", "metadata", "bindings", tenant), ("strongroom", "metadata", "tenants")]
    for segments in lists:
        told = {}
        for role in (SERVICE, RECONCILER):
            listed = await parts.http.call(role, "LIST", *segments)
            assert isinstance(listed, Answer)
            told[role] = listed.status
        assert told[SERVICE] == 403
        assert told[RECONCILER] in (200, 404), "404: nothing is there"
