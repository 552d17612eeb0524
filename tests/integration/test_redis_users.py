"""Each process logs in to Redis as a user of its own: what it does passes, and whatever is another's is refused."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from cli import redis_users
from common import redis as common_redis
from gateway.delivery_state import Attempt, DeliveryState, Item, kept_endpoints
from redis.exceptions import NoPermissionError
from verifier import jobs, missed

from tests.integration.conftest import Driver, eventually

TENANT = "t" * 26
ANYBODYS = ("KEYS *", "SCAN 0", "CONFIG GET *", "FLUSHALL", "ACL LIST", "MONITOR", "SUBSCRIBE x", "DEBUG JMAP", "SAVE")
ANYBODYS += ("SCRIPT FLUSH", "CLIENT LIST", "SHUTDOWN", "REPLICAOF NO ONE", "FUNCTION LIST", "SELECT 1", "GET other")
JOB = "XADD sr:{jobs}:asked * tenant t binding b cause bind attempt 0"
PUBLISH = f"XADD sr:{{{TENANT}}}:events * epoch 1 event x"
READ_JOB = "XREADGROUP GROUP workers me STREAMS sr:{jobs}:asked >"
RECORD = f"HSET sr:{{{TENANT}}}:obs:b status 1"
LISTED = f"ZADD sr:{{{TENANT}}}:ids 0 b"
RATE = f"SET sr:{{{TENANT}}}:rate 0"
LEASE = f"SET sr:{{{TENANT}}}:hook:h:lease x"
CURSOR = f"SET sr:{{{TENANT}}}:hook:h:cursor x"
QUEUED = f"RPUSH sr:{{{TENANT}}}:hook:h:queue:b x"
BUDGET = "SET sr:{budget}:egress 0"
WANTED = "SET sr:{reconcile}:wanted 1"
REPLY = "RPUSH sr:{jobs}:reply:1-0 1"
FOREIGN = {
    "gateway": (JOB, PUBLISH, READ_JOB, RECORD, LISTED, LEASE, BUDGET, WANTED, REPLY, f"GET sr:{{{TENANT}}}:obs:b"),
    "deliverer": (JOB, PUBLISH, READ_JOB, RECORD, LISTED, RATE, BUDGET, WANTED, REPLY),
    "verifier": (READ_JOB, RATE, CURSOR, QUEUED, REPLY, "XRANGE sr:{jobs}:asked - +", "XDEL sr:{jobs}:asked 1-0"),
    "worker": (RATE, CURSOR, QUEUED, f"XRANGE sr:{{{TENANT}}}:events - +", f"XREAD STREAMS sr:{{{TENANT}}}:events 0"),
    "scaler": (JOB, PUBLISH, READ_JOB, RECORD, RATE, BUDGET, WANTED, "XRANGE sr:{jobs}:asked - +"),
    "operator": (JOB, PUBLISH, READ_JOB, RECORD, RATE, CURSOR, BUDGET, "DEL sr:{reconcile}:cursor"),
}


@pytest.fixture
def server(driver: Driver) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(driver.facts["redis_url"], decode_responses=True) as client:
        yield client


@pytest.mark.parametrize("user", redis_users.users())
def test_a_user_may_do_nothing_of_the_server_nor_of_another_process(server: redis.Redis, user: str) -> None:
    for command in (*ANYBODYS, *FOREIGN[user]):
        answer = server.execute_command("ACL", "DRYRUN", user, *command.split())
        assert answer != "OK", (user, command)


def test_every_process_is_there_as_its_own_user_and_nobody_as_another(driver: Driver, server: redis.Redis) -> None:
    with driver.client() as http:
        assert http.get("/v1/bindings").is_success

    def connected() -> bool:
        here = {client["user"] for client in server.client_list()}
        return {"gateway", "deliverer", "verifier", "worker"} <= here <= {*redis_users.users(), "default"}

    eventually(connected)
    mine = {client["user"] for client in server.client_list() if client["lib-name"] != "" or client["cmd"] != "client"}
    assert mine <= {*redis_users.users(), "default"}


def test_a_scaler_sees_how_many_jobs_nobody_has_read_and_not_what_they_are(driver: Driver) -> None:
    assert driver.bind(driver.account()).json()["status"] == "connected"
    address, password = driver.child("valkey").account("scaler")
    with redis.Redis.from_url(address, password=password.read_text(), decode_responses=True) as scaler:
        groups = scaler.xinfo_groups(jobs.ASKED)
        assert [(one["name"], one["lag"]) for one in groups] == [(jobs.GROUP, 0)]
        with pytest.raises(NoPermissionError):
            scaler.xrange(jobs.ASKED)


def test_an_operator_asks_for_a_comparison_with_rights_for_nothing_else(driver: Driver) -> None:
    address, password = driver.child("valkey").account("operator")
    with redis.Redis.from_url(address, password=password.read_text()) as operator:
        operator.set(missed.WANTED, "1", ex=60)
        eventually(lambda: not operator.exists(missed.WANTED), 90)
        assert len(operator.hmget("sr:{reconcile}:cursor", ["done", "total"])) == 2


def test_no_rule_names_a_family_of_commands_or_every_key() -> None:
    for user, rules in redis_users.users().items():
        words = rules.split()
        assert "-@all" in words, user
        assert words[0] == "resetkeys", user
        for word in (one.strip("()") for one in words[1:]):  # brackets: these commands on these keys alone
            assert re.fullmatch(r"-@all|\+[a-z]+(\|[a-z]+)?|(%[RW])?~sr:\{(\*|[a-z]+)\}:[a-z:*]+", word), word


@contextlib.asynccontextmanager
async def of(driver: Driver, user: str) -> AsyncIterator[common_redis.Redis]:
    """Connect as a process does."""
    client = common_redis.connect(*driver.child("valkey").account(user))
    try:
        yield client
    finally:
        await client.aclose()


async def test_what_a_deliverer_and_a_gateway_do_with_deliveries_passes_to_the_last_command(driver: Driver) -> None:
    async with of(driver, "deliverer") as hers, of(driver, "gateway") as its:
        state, seen = DeliveryState(hers, TENANT, "hook"), DeliveryState(its, TENANT, "hook")
        items = [Item("b1", 1, "e-1-0", "{}"), Item("b2", 1, "e-2-0", "{}")]
        assert await state.take_in("", "e-2-0", 1, items)
        assert await state.known()
        assert await state.cursor() == "e-2-0"
        assert await state.lease("me", 10_000)
        assert await state.hold("me", 20_000)
        first, second = await state.due(1)
        await state.failed(first, 5)
        await state.note(Attempt(1, first.id, first.binding, 1, 503, "status"))
        await state.delivered(second, 1)
        await state.died(first, 1, "status_503")
        assert [letter.binding_id for letter in await seen.letters()] == [first.binding]
        assert len(await seen.attempts()) == 1
        assert await seen.replay(2) == 1
        await seen.rewind("e-0-0")
        assert await state.hold("me", 0)
        assert await kept_endpoints(hers, TENANT) == {"hook"}
        await state.remove()
        assert await kept_endpoints(hers, TENANT) == set()


async def test_what_a_verifier_and_a_worker_do_with_jobs_passes_to_the_last_command(driver: Driver) -> None:
    workers = driver.child("worker")
    workers.stop()
    try:
        async with of(driver, "verifier") as front, of(driver, "worker") as back:
            asking, working = jobs.Queue(front, "front"), jobs.Queue(back, "back")
            job, other = (jobs.Job(TENANT, name * 26, "bind") for name in "ab")
            await working.prepare()
            await asking.put(job)
            entry = await asking.put(other)
            one, two = await working.read(jobs.ASKED, 2, 1000)
            await working.renew([one, two])
            assert len(await working.reclaim(jobs.ASKED, 0, 10)) == 2
            assert await working.lock(job, one, 10_000)
            await working.give_back(one, job, 0)
            await working.plan([(job, 1.0)])
            assert await working.due([job.member]) == [True]
            await working.sweep(10.0, 4)
            await asking.cancel(job)
            now = float((await back.time())[0])
            await working.finish(two, other, jobs.Outcome(verified=True, reply=True), round(now * 1000) + 1, now)
            assert await asking.wait(entry, 1)
            for left in await working.read(jobs.ASKED, 10, 1):
                await working.bury(left, "of a test")
            await working.cancel(other)
            await working.tidy(0)
    finally:
        workers.start()
