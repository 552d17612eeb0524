"""Deliveries on a real Redis to a real receiver, with a clock that a test moves: each event, in order, signed."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from cli.valkey import Valkey
from common import redis as common_redis
from common.clock import SystemClock, timestamp
from common.errors import NotFound, Unavailable
from gateway.delivery import GIVEN_UP_S, PAUSES_S, Deliveries
from gateway.delivery_client import Target
from gateway.delivery_state import DeliveryState
from gateway.posting import Poster
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1.verification_service_pb2 import Event

from services.gateway.tests.receiver import Receiver

HOUR = 3600


class MovedClock(SystemClock):
    def __init__(self) -> None:
        self.ahead = 0.0

    def unix(self) -> float:
        return super().unix() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Vault:
    """What the deliverer asks the vault service, in memory; the reference implementation signs."""

    def __init__(self) -> None:
        self.endpoints: dict[str, list[Target]] = {}
        self.secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        self.trouble: Exception | None = None

    async def subscribers(self) -> list[str]:
        if self.trouble:
            raise self.trouble
        return list(self.endpoints)

    async def targets(self, tenant: str) -> list[Target]:
        return self.endpoints[tenant]

    async def sign(self, target: Target, message_id: str, moment: int, body: bytes) -> str:
        from datetime import UTC, datetime

        if self.trouble:
            raise self.trouble
        if target not in self.endpoints[target.tenant]:
            raise NotFound()
        return Webhook(self.secret).sign(message_id, datetime.fromtimestamp(moment, UTC), body.decode())


class Site:
    """One tenant's stream, one receiver, and the processes that deliver."""

    def __init__(self, redis: Redis, receiver: Receiver) -> None:
        self.redis, self.receiver = redis, receiver
        self.tenant, self.epoch = secrets.token_hex(13), secrets.token_hex(4)
        self.clock, self.vault = MovedClock(), Vault()
        self.vault.endpoints[self.tenant] = []
        self.target = self.add()
        self.deliveries = self.process()

    def add(self, *statuses: int) -> Target:
        url = f"http://127.0.0.1:{self.receiver.port}/hook"
        made = Target(self.tenant, secrets.token_hex(16), url, frozenset(statuses), round(self.clock.unix() * 1000) - 1)
        self.vault.endpoints[self.tenant].append(made)
        return made

    def process(self) -> Deliveries:
        return Deliveries(
            self.redis,
            self.vault,  # type: ignore[arg-type]
            Poster(loopback=True),
            clock=self.clock,
            jitter=lambda _, most: most,
            owner=secrets.token_hex(8),
            refresh_s=0,
        )

    async def publish(self, binding: str, status: int = pb.STATUS_CONNECTED, revision: int = 1) -> str:
        """Write an event as the verifier does, and return its id."""
        await self.redis.set(f"sr:{{{self.tenant}}}:epoch", self.epoch)
        event = Event(binding_id=binding, status=status, revision=revision, occurred_at=timestamp(self.clock.unix()))
        fields = {"epoch": self.epoch, "event": event.SerializeToString()}
        return f"{self.epoch}-{(await self.redis.xadd(f'sr:{{{self.tenant}}}:events', fields)).decode()}"

    async def turn(self, seconds: float = 0) -> None:
        """Let time pass, then deliver whatever is due."""
        self.clock.ahead += seconds
        await self.deliveries.round()
        await self.deliveries.settled()

    def state(self, target: Target | None = None) -> DeliveryState:
        return DeliveryState(self.redis, self.tenant, (target or self.target).id)

    def taken(self) -> list[tuple[str, int]]:
        """Return (binding, revision) of what came, after checking each signature with the reference implementation."""
        found = []
        for _, headers, body in self.receiver.got:
            moment = headers["webhook-timestamp"]
            expected = self.vault_signature(headers["webhook-id"], moment, body)
            assert headers["webhook-signature"] == expected
            data = json.loads(body)["data"]
            assert data.get("id", headers["webhook-id"]) == headers["webhook-id"]
            found.append((data.get("binding_id", ""), data.get("revision", 0)))
        return found

    def vault_signature(self, message: str, moment: str, body: bytes) -> str:
        from datetime import UTC, datetime

        return Webhook(self.vault.secret).sign(message, datetime.fromtimestamp(int(moment), UTC), body.decode())


@pytest.fixture
async def site(valkey: Valkey) -> AsyncIterator[Site]:
    redis = common_redis.connect(valkey.address, valkey.password_file)
    async with Receiver() as receiver:
        made = Site(redis, receiver)
        yield made
        await made.deliveries.close()
        for keys in (f"sr:{{{made.tenant}}}:*",):
            if found := [key async for key in redis.scan_iter(keys)]:
                await redis.delete(*found)
    await redis.aclose()


async def test_each_event_comes_once_in_order_and_verifies_with_the_reference_implementation(site: Site) -> None:
    ids = [await site.publish(binding, revision=number) for number in range(3) for binding in ("a" * 32, "b" * 32)]
    await site.turn()
    await site.turn()
    assert [one for one in site.taken() if one[0] == "a" * 32] == [("a" * 32, number) for number in range(3)]
    assert sorted(headers["webhook-id"] for _, headers, _ in site.receiver.got) == sorted(ids)
    line, headers, body = site.receiver.got[0]
    assert line == "POST /hook HTTP/1.1"
    message = Webhook(site.vault.secret).verify(body, headers)  # its own clock: the time stamp is now
    assert (message["type"], message["data"]["status"]) == ("binding.status", "connected")
    assert message["timestamp"] == message["data"]["occurred_at"]


async def test_a_receiver_that_fails_for_an_hour_gets_every_event_in_order_once_it_is_back(site: Site) -> None:
    bindings = [letter * 32 for letter in "abcde"]
    site.receiver.status = 503
    for minute in range(60):
        await site.publish(bindings[minute % 5], revision=minute)
        await site.turn(60)
    failed = len(site.receiver.got)
    assert failed >= 5
    attempts = await site.state().attempts()
    assert {(one.status, one.reason) for one in attempts} == {(503, "status")}
    site.receiver.status = 204
    site.receiver.got.clear()
    await site.turn(HOUR * 1.2)
    for number, binding in enumerate(bindings):
        wanted = [(binding, minute) for minute in range(number, 60, 5)]
        assert [one for one in site.taken() if one[0] == binding] == wanted
    assert len(site.receiver.got) == 60
    await site.turn(HOUR)
    assert len(site.receiver.got) == 60


async def test_a_message_that_is_not_taken_holds_up_its_own_binding_alone(site: Site) -> None:
    site.receiver.judge = lambda body: 400 if json.loads(body)["data"]["binding_id"] == "a" * 32 else 200
    for number in range(2):
        await site.publish("a" * 32, revision=number)
        await site.publish("b" * 32, revision=number)
    await site.turn()
    assert [one for one in site.taken() if one[0] == "b" * 32] == [("b" * 32, 0), ("b" * 32, 1)]
    assert {one for one in site.taken() if one[0] == "a" * 32} == {("a" * 32, 0)}


async def test_a_repeat_has_the_same_id_and_a_time_stamp_of_its_own_and_pauses_grow(site: Site) -> None:
    site.receiver.status = 500
    await site.publish("a" * 32)
    await site.turn()
    for pause in PAUSES_S[:3]:
        before = len(site.receiver.got)
        await site.turn(pause * 1.1)
        assert len(site.receiver.got) == before
        await site.turn(pause * 0.2)
        assert len(site.receiver.got) == before + 1
    assert len({headers["webhook-id"] for _, headers, _ in site.receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in site.receiver.got}) == 4
    site.taken()


async def test_once_something_is_taken_again_all_that_waits_is_due(site: Site) -> None:
    site.receiver.status = 500
    await site.publish("a" * 32)
    for pause in (0, 6, 40, 150, 400):
        await site.turn(pause)
    site.receiver.status, failed = 200, len(site.receiver.got)
    await site.publish("b" * 32)
    await site.turn(1)
    assert sorted(site.taken()[failed:]) == [("a" * 32, 1), ("b" * 32, 1)]


async def test_after_three_days_a_message_is_a_dead_letter_and_a_replay_brings_it_back_in_order(site: Site) -> None:
    site.receiver.status = 410
    for number in range(3):
        await site.publish("a" * 32, revision=number)
    await site.turn()
    for _ in range(80):
        await site.turn(HOUR * 1.2)
    assert [one.reason for one in await site.state().letters()] == ["status_410"] * 3
    assert await site.state().due(round(site.clock.unix() * 1000) + GIVEN_UP_S * 1000) == []
    site.receiver.status = 200
    site.receiver.got.clear()
    await site.publish("a" * 32, revision=3)
    assert await site.state().replay(round(site.clock.unix() * 1000)) == 3
    await site.turn()
    assert [revision for _, revision in site.taken()] == [0, 1, 2, 3]
    assert await site.state().letters() == []
    assert await site.state().replay(round(site.clock.unix() * 1000)) == 0


async def test_a_replay_delivers_again_what_came_after_an_event_in_order_and_in_place_of_what_waits(site: Site) -> None:
    first, *_ = [await site.publish("a" * 32, revision=number) for number in range(3)]
    await site.publish("b" * 32)
    await site.turn()
    site.receiver.status = 500
    await site.publish("a" * 32, revision=3)
    await site.turn()
    site.receiver.got.clear()
    site.receiver.status = 200
    cursor, count = await site.deliveries._source.since(site.target, first, 0)
    assert count == 4
    await site.state().rewind(cursor)
    await site.turn()
    assert [revision for binding, revision in site.taken() if binding == "a" * 32] == [1, 2, 3]
    assert len(site.receiver.got) == 4
    await site.turn(HOUR)
    assert len(site.receiver.got) == 4


async def test_a_replay_leaves_what_waits_from_before_it_where_it_was(site: Site) -> None:
    site.receiver.status = 500
    ids = [await site.publish("a" * 32, revision=number) for number in range(4)]
    await site.turn()
    await site.state().rewind(ids[1])
    site.receiver.status = 200
    site.receiver.got.clear()
    await site.turn(10)
    assert [revision for _, revision in site.taken()] == [0, 1, 2, 3]


async def test_a_paused_endpoint_gets_nothing_until_it_goes_on_and_then_everything_in_order(site: Site) -> None:
    await site.publish("a" * 32, revision=0)
    await site.turn()
    going = site.vault.endpoints[site.tenant]
    site.vault.endpoints[site.tenant] = [replace(one, paused=True) for one in going]
    for number in range(1, 4):
        await site.publish("a" * 32, revision=number)
        await site.turn(HOUR)
    assert [revision for _, revision in site.taken()] == [0]
    site.vault.endpoints[site.tenant] = going
    await site.turn()
    assert [revision for _, revision in site.taken()] == [0, 1, 2, 3]


async def test_an_endpoint_gets_the_statuses_it_asked_for_and_nothing_from_before_it_was_made(site: Site) -> None:
    await site.publish("a" * 32, revision=1)
    site.vault.endpoints[site.tenant].clear()
    moment = round(site.clock.unix() * 1000) + 1
    while round(site.clock.unix() * 1000) <= moment + 50:  # Redis's clock stands still while it works
        await asyncio.sleep(0.01)
    old = site.add(pb.STATUS_DISCONNECTED)
    site.vault.endpoints[site.tenant] = [Target(old.tenant, old.id, old.url, old.statuses, moment)]
    await site.publish("a" * 32, pb.STATUS_DISCONNECTED, 2)
    await site.publish("a" * 32, pb.STATUS_CONNECTED, 3)
    await site.turn()
    assert site.taken() == [("a" * 32, 2)]


async def test_two_processes_deliver_each_message_once(site: Site) -> None:
    import asyncio

    other = site.process()
    for number in range(40):
        await site.publish("abcd"[number % 4] * 32, revision=number)
    await asyncio.gather(site.deliveries.round(), other.round())
    await asyncio.gather(site.deliveries.settled(), other.settled())
    await site.turn()
    assert len(site.receiver.got) == 40
    assert len({headers["webhook-id"] for _, headers, _ in site.receiver.got}) == 40


async def test_another_process_goes_on_where_one_was_cut_off(site: Site) -> None:
    site.receiver.status = 500
    await site.publish("a" * 32)
    await site.turn()
    site.receiver.status = 200
    site.deliveries = site.process()
    await site.turn(10)
    assert [revision for _, revision in site.taken()] == [1, 1]


async def test_what_is_kept_of_a_removed_endpoint_is_removed(site: Site) -> None:
    site.receiver.status = 500
    await site.publish("a" * 32)
    await site.turn()
    site.vault.endpoints[site.tenant] = []
    await site.turn(HOUR)
    left = {key.decode().rpartition(":")[2] async for key in site.redis.scan_iter(f"sr:{{{site.tenant}}}:*")}
    assert left == {"epoch", "events"}
    assert len(site.receiver.got) == 1


async def test_without_the_vault_service_nothing_is_sent_and_nothing_is_lost(site: Site) -> None:
    await site.turn()
    await site.publish("a" * 32)
    site.vault.trouble = Unavailable()
    with pytest.raises(Unavailable):
        await site.turn()
    assert site.receiver.got == []
    site.vault.trouble = None
    await site.turn()
    assert site.taken() == [("a" * 32, 1)]
    assert (await site.state().attempts())[0].attempt == 1


async def test_where_history_is_gone_the_receiver_is_told_and_gets_what_is_left(site: Site) -> None:
    await site.publish("a" * 32, revision=1)
    await site.turn()
    for number in range(2, 5):
        await site.publish("a" * 32, revision=number)
    await site.redis.xtrim(f"sr:{{{site.tenant}}}:events", maxlen=1, approximate=False)
    await site.turn()
    types = [json.loads(body)["type"] for _, _, body in site.receiver.got]
    assert sorted(types[1:]) == ["binding.status", "events.reset"]
    await site.redis.delete(f"sr:{{{site.tenant}}}:events")
    site.epoch = secrets.token_hex(4)
    await site.publish("a" * 32, revision=9)
    await site.turn()
    assert sorted(json.loads(body)["type"] for _, _, body in site.receiver.got[3:]) == [
        "binding.status",
        "events.reset",
    ]
    assert ("a" * 32, 9) in site.taken()


async def test_when_redis_was_emptied_a_receiver_is_told_to_read_the_state_again(site: Site) -> None:
    await site.publish("a" * 32)
    await site.turn()
    await site.redis.delete(*[key async for key in site.redis.scan_iter(f"sr:{{{site.tenant}}}:*")])
    await site.turn(HOUR)
    await site.turn()
    assert [json.loads(body)["type"] for _, _, body in site.receiver.got] == ["binding.status", "events.reset"]
    assert site.receiver.got[1][1]["webhook-id"].startswith("reset-")
