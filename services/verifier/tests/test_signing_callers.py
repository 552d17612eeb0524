"""Who may use a key through the verifier: proven workloads with proper tokens, and nobody else, on every method."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from common.errors import PermissionDenied, StrongroomError, Unauthenticated
from common.rpc import client
from common.rpc.errors import from_rpc
from common.rpc.tls import Identity
from grpc.aio import AioRpcError
from joserfc import jws
from joserfc.jwk import ECKey
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub

from services.verifier.tests.callers import Api, api, asked
from services.verifier.tests.small_vault import TENANT

READ = asked("GET", "/api/v3/account/assets")
NOW = int(time.time())
CLAIMS: dict[str, dict[str, Any]] = {
    "no exp": {"exp": None},
    "no sub": {"sub": None},
    "no iat": {"iat": None},
    "no tenant": {"tenant": None},
    "no aud": {"aud": None},
    "audience list that contains us": {"aud": ["strongroom"]},
    "another audience": {"aud": "strongroom-vault"},
    "another issuer": {"iss": "https://elsewhere.example"},
    "expired": {"exp": NOW - 31},
    "issued in the future": {"iat": NOW + 3600, "exp": NOW + 7200},
    "exp is text": {"exp": str(NOW + 3600)},
    "tenant is a list": {"tenant": [TENANT]},
    "bound to a certificate": {"cnf": {"x5t#S256": "x"}},
}


@pytest.fixture
async def front(site: Any, bench: Any) -> AsyncIterator[Api]:
    async with api(site, bench.url) as running:
        yield running


async def execute(stub: Any, binding: str, token: str | None) -> None:
    request = messages.ExecuteRequest(binding_id=binding, request=READ)
    async for _ in client.stream(stub.Execute, request, timeout_s=5, authorization=token):
        pass


async def sign(stub: Any, binding: str, token: str | None) -> None:
    request = messages.SignRequest(binding_id=binding, request=READ)
    await client.call(stub.Sign, request, timeout_s=5, authorization=token)


async def sign_stream(stub: Any, binding: str, token: str | None) -> None:
    """Open a stream that is to be refused; grpc.aio loses the status of a call that ends while it is still writing."""

    async def requests() -> AsyncIterator[messages.SignStreamRequest]:
        await asyncio.Event().wait()
        yield messages.SignStreamRequest(binding_id=binding, request=READ)

    metadata = (("authorization", token),) if token else ()
    call = stub.SignStream(requests(), timeout=5, metadata=metadata)
    try:
        async for _ in call:
            pass
    except AioRpcError as failure:
        raise from_rpc(failure) from None


async def log_in(stub: Any, binding: str, token: str | None) -> None:
    request = messages.SignWebSocketLoginRequest(binding_id=binding)
    await client.call(stub.SignWebSocketLogin, request, timeout_s=5, authorization=token)


CALLS: tuple[Callable[..., Awaitable[None]], ...] = (execute, sign, sign_stream, log_in)


async def refused(call: Callable[..., Awaitable[None]], *what: Any) -> StrongroomError:
    with pytest.raises(StrongroomError) as caught:
        await call(*what)
    return caught.value


@pytest.mark.bar(46, 49)
async def test_no_variant_of_a_token_opens_anything(bench: Any, front: Api) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader")).id
    scopes = ("requests:execute", "requests:sign", "requests:websocket")
    issuer = front.issuer
    # The issuer leaves out what is None, and sets the rest as it is told.
    tokens: list[str | None] = [issuer.issue(TENANT, scopes, claims=changed) for changed in CLAIMS.values()]
    proper = issuer.issue(TENANT, scopes)
    payload = jws.extract_compact(proper.encode()).payload
    stranger = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"})
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "unknown"}
    tokens += [
        jws.serialize_compact(header, payload, stranger),
        f"{proper.rsplit('.', 1)[0]}.",
        proper[:-2],
        "",
    ]
    for call in CALLS:
        for token in [*(f"Bearer {one}" for one in tokens), None, proper, f"Basic {proper}"]:
            assert isinstance(await refused(call, front.signing, binding, token), Unauthenticated)
    assert not bench.vault.signed


@pytest.mark.bar(48)
@pytest.mark.parametrize("name", ["worker", "vault", "verifier"])
async def test_no_other_workload_uses_a_key(bench: Any, site: Any, front: Api, name: str) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader")).id
    leaf = site.leaf(name)
    token = front.bearer(("requests:execute", "requests:sign", "requests:websocket"))
    identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
    async with client.channel(front.target, "verifier", identity) as channel:
        for call in CALLS:
            error = await refused(call, SigningServiceStub(channel), binding, token)
            assert (type(error), error.reason) == (PermissionDenied, "caller_not_allowed")
    assert not bench.vault.signed


@pytest.mark.bar(2, 47)
async def test_the_callers_own_token_reaches_the_vault_service_which_judges_it(bench: Any, front: Api) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader")).id
    other = front.bearer(tenant="u" * 26)
    told = [await refused(call, front.signing, binding, other) for call in (execute, sign)]
    assert {error.kind for error in told} == {"not_found"}
    assert not bench.vault.signed
