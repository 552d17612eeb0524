"""Signatures that are wanted at the same time share requests and reads, and nothing of that outlives a key."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from common.errors import BindingRevoked, PolicyRefused, Unavailable
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import UpdateRequest
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, SignRequest
from vault import purposes
from vault.actor import Actor
from vault.asked import Asked
from vault.days import Days
from vault.gathering import FRESH_S, KEPT, Gathering, Recent
from vault.hashicorp.kv import KeyValue
from vault.hashicorp.login import signer_role
from vault.signer import CREDENTIAL_S, Signer
from vault.store import Signature

FILLS = ExchangeRequest(method="GET", path="/api/v2/spot/trade/fills")
FUTURES_ORDER = ExchangeRequest(method="POST", path="/api/v2/mix/order/place-order", body=b'{"symbol":"BTCUSDT"}')
MESSAGES = [f"message {number}".encode() for number in range(40)]


class Watched:
    """Transit, with what it was asked; each request waits for `go`, and fails while `failing`."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys
        self.asked: list[list[bytes]] = []
        self.go = asyncio.Event()
        self.failing = False

    async def sign(
        self, tenant: str, binding: str, key_type: int, messages: Sequence[bytes], version: int
    ) -> list[Signature] | None:
        self.asked.append(list(messages))
        await self.go.wait()
        if self.failing:
            raise Unavailable()
        made: list[Signature] | None = await self._keys.sign(tenant, binding, key_type, messages, version)
        return made


@pytest.fixture
async def bound(parts: Any, actor: Actor, wanted: Callable[..., Asked]) -> Any:
    """A connected binding."""
    made, _ = await parts.bindings.bind(actor, wanted())
    verdict = types.Verdict(status=types.STATUS_CONNECTED)
    made, _ = await parts.bindings.transition(actor, made.id, 1, verdict)
    return made


def request(binding: str, *requests: ExchangeRequest) -> SignRequest:
    return SignRequest(binding_id=binding, requests=requests or [FILLS], purpose=PURPOSE_EXECUTE)


async def test_what_comes_while_transit_is_asked_goes_with_the_next_request_and_each_gets_its_own(
    parts: Any, actor: Actor, bound: Any
) -> None:
    transit = Watched(parts.keys)
    gathering, key = Gathering(transit), (actor.tenant, bound.id, types.KEY_TYPE_HMAC)  # type: ignore[arg-type]
    all_of_them = [asyncio.create_task(gathering.sign(*key, [message], 1)) for message in MESSAGES]
    await asyncio.sleep(0)
    while not transit.asked:
        await asyncio.sleep(0)
    late = asyncio.create_task(gathering.sign(*key, [b"late", b"later"], 1))
    await asyncio.sleep(0)
    transit.go.set()
    made = [signature.value for one in await asyncio.gather(*all_of_them) for signature in one or []]
    assert made == [one.value for one in await parts.keys.sign(*key, MESSAGES, 1)]
    assert [one.value for one in await late or []] == [
        one.value for one in await parts.keys.sign(*key, [b"late", b"later"], 1)
    ]
    assert len(transit.asked) == 2


async def test_a_request_that_fails_fails_for_all_of_it_and_for_nobody_after_it(
    parts: Any, actor: Actor, bound: Any
) -> None:
    transit = Watched(parts.keys)
    gathering, key = Gathering(transit), (actor.tenant, bound.id, types.KEY_TYPE_HMAC)  # type: ignore[arg-type]
    transit.failing = True
    both = [asyncio.create_task(gathering.sign(*key, [message], 1)) for message in MESSAGES[:2]]
    gone = asyncio.create_task(gathering.sign(*key, [b"gone"], 1))
    while not transit.asked:
        await asyncio.sleep(0)
    gone.cancel()
    transit.go.set()
    assert [type(one) for one in await asyncio.gather(*both, return_exceptions=True)] == [Unavailable] * 2
    transit.failing = False
    assert await gathering.sign(*key, [b"after"], 1)


async def test_a_version_that_may_not_be_used_is_refused_to_everybody_who_waits(
    parts: Any, actor: Actor, bound: Any
) -> None:
    gathering = Gathering(parts.keys)
    wanted = (gathering.sign(actor.tenant, bound.id, types.KEY_TYPE_HMAC, [message], 7) for message in MESSAGES[:3])
    assert await asyncio.gather(*wanted) == [None, None, None]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_key_that_signed_a_moment_ago_signs_nothing_once_it_is_revoked(
    make: Any, actor: Actor, bound: Any, parts: Any, elsewhere: bool
) -> None:
    signer = (await make()).signer if elsewhere else parts.signer
    assert (await signer.sign(actor, request(bound.id))).signed
    await parts.bindings.revoke(actor, bound.id)
    for _ in range(2):
        with pytest.raises(BindingRevoked):
            await signer.sign(actor, request(bound.id))


async def test_scopes_that_were_taken_away_are_missed_as_soon_as_what_was_read_is_old(
    parts: Any, actor: Actor, bound: Any, clock: Any
) -> None:
    assert (await parts.signer.sign(actor, request(bound.id, FUTURES_ORDER))).signed
    fewer = UpdateRequest(binding_id=bound.id, expected_revision=2, scopes=[types.SCOPE_SPOT])
    await parts.updates.update(actor, fewer)
    clock.ahead += FRESH_S + 0.001
    with pytest.raises(PolicyRefused):
        await parts.signer.sign(actor, request(bound.id, FUTURES_ORDER))


class Counted:
    """The tenant's documents, and which of them were read."""

    def __init__(self, documents: Any) -> None:
        self._documents = documents
        self.read_of: list[str] = []

    async def read(self, tenant: str, collection: Any, name: str) -> Any:
        self.read_of.append(collection)
        return await self._documents.read(tenant, collection, name)


async def test_a_credential_is_read_once_a_minute_and_its_record_for_each_signature(
    parts: Any, actor: Actor, bound: Any, clock: Any
) -> None:
    counted = Counted(KeyValue(parts.http, signer_role))
    signer = Signer(
        counted,  # type: ignore[arg-type]
        parts.keys,
        parts.audit,
        purposes.load(),
        freezer=parts.freezer,
        days=Days(parts.own, clock),
        clock=clock,
    )
    for _ in range(3):
        await signer.sign(actor, request(bound.id))
        clock.ahead += FRESH_S + 0.001
    assert sorted(counted.read_of) == ["bindings"] * 3 + ["credentials"]
    clock.ahead += CREDENTIAL_S
    await signer.sign(actor, request(bound.id))
    assert counted.read_of.count("credentials") == 2


async def test_what_was_kept_longest_goes_when_there_is_too_much_or_when_it_is_old(clock: Any) -> None:
    recent: Recent[int] = Recent(clock, 60)
    numbers = itertools.count()

    async def read() -> int:
        return next(numbers)

    async def get(name: str) -> int:
        return await recent.get(("tenant", name), read)

    for name in range(KEPT):
        await get(str(name))
    assert (await get("0"), await get("new"), await get("1")) == (0, KEPT, 1)
    assert await get("0") == KEPT + 1
    clock.ahead += 61
    await get("later")
    assert recent.kept == 1


async def test_what_is_read_at_once_is_read_once_and_what_failed_is_read_again(clock: Any) -> None:
    recent: Recent[int] = Recent(clock)
    numbers: list[int] = []

    async def read() -> int:
        await asyncio.sleep(0)
        numbers.append(len(numbers))
        if len(numbers) == 1:
            raise Unavailable()
        return numbers[-1]

    name = ("tenant", "binding")
    first = await asyncio.gather(*(recent.get(name, read) for _ in range(3)), return_exceptions=True)
    assert ([type(one) for one in first], len(numbers)) == ([Unavailable] * 3, 1)
    assert await asyncio.gather(*(recent.get(name, read) for _ in range(3))) == [1, 1, 1]
    clock.ahead += FRESH_S + 0.001
    assert await recent.get(name, read) == 2
    recent.forget(name)
    assert await recent.get(name, read) == 3


async def test_the_first_to_ask_may_go_without_taking_the_answer_with_him(clock: Any) -> None:
    recent: Recent[str] = Recent(clock)
    may_go_on = asyncio.Event()

    async def read() -> str:
        await may_go_on.wait()
        return "read"

    first = asyncio.create_task(recent.get(("a", "b"), read))
    second = asyncio.create_task(recent.get(("a", "b"), read))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    assert await second == "read"
