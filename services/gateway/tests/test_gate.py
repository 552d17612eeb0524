"""A tenant is let in as far as it may ask: enabled, within its rate, within its calls at once."""

import asyncio
import threading
import time

import httpx
import pytest
from common.clock import SystemClock
from common.redis import connect
from gateway.limiter import ALONE_SHARE, BURST_SHARE, Limiter
from strongroom.vault.v1.tenants_pb2 import TenantQuotas

from services.gateway.tests.conftest import until

TENANTS = "/v1/admin/tenants"


@pytest.mark.bar(52)
def test_beyond_its_rate_a_tenant_is_told_when_to_come_back_and_others_are_not_held_up(
    client, served, issuer, world, tenant
):
    world.quotas[tenant] = TenantQuotas(requests_per_minute=60)
    answers = [client.get("/v1/bindings") for _ in range(60 // BURST_SHARE + 5)]
    told = [answer.status_code for answer in answers]
    assert told[0] == 200
    assert set(told[-3:]) == {429}
    refused = answers[-1]
    assert (refused.json()["code"], int(refused.headers["retry-after"]) >= 1) == ("quota_exceeded", True)
    assert refused.headers["ratelimit-policy"] == f'"tenant";q={60 // BURST_SHARE};w={60 // BURST_SHARE}'
    assert refused.headers["ratelimit"].startswith('"tenant";r=0;t=')
    left = [int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0]) for answer in answers[:5]]
    assert left == sorted(left, reverse=True)
    other = {"Authorization": f"Bearer {issuer.issue('o' * 26, ['bindings:read'])}"}
    assert httpx.get(f"{served.url}/v1/bindings", headers=other).status_code == 200


@pytest.mark.bar(52)
def test_a_tenant_that_goes_on_asking_is_refused_before_any_route_and_its_operator_is_not(
    client, served, issuer, world, tenant
):
    world.quotas[tenant] = TenantQuotas(requests_per_minute=60)
    whole = until(lambda: (one := client.get("/v1/bindings")).status_code == 429 and one)

    def early(path: str) -> httpx.Response:
        """Return a refusal of what no route knows: nobody looked for one."""

        def asked() -> httpx.Response | None:
            client.get("/v1/bindings")  # beyond the rate, again
            refused = client.get(path)
            return refused if refused.status_code == 429 else None

        return until(asked)

    for refused in (early("/v1/nowhere"), early("/v1/nowhere/proxy/x")):
        told = refused.json()
        assert {name: told[name] for name in ("type", "title", "status", "code", "detail")} == {
            name: whole.json()[name] for name in ("type", "title", "status", "code", "detail")
        }
        assert told["request_id"] == refused.headers["x-request-id"]
        assert refused.headers["ratelimit-policy"] == whole.headers["ratelimit-policy"]
        assert all(name in refused.headers for name in ("ratelimit", "retry-after", "cache-control"))
    assert 'route="turned_away"' in httpx.get(f"{served.ops_url}/metrics").text

    def get(path: str, token: str) -> int:
        return httpx.get(f"{served.url}{path}", headers={"Authorization": f"Bearer {token}"}).status_code

    both = issuer.issue(tenant, ["admin", "bindings:read"])
    until(lambda: get("/v1/bindings", both) == 429)
    early("/v1/nowhere")
    assert get(TENANTS, both) == 200, "nothing holds an operator up"
    assert get("/v1/bindings", issuer.issue("p" * 26, ["bindings:read"])) == 200
    early("/v1/nowhere")
    assert get("/v1/bindings", both[:-4] + "AAAA") == 401


def test_two_gateways_share_one_rate(client, serve, world, tenant):
    world.quotas[tenant] = TenantQuotas(requests_per_minute=60)
    other = httpx.Client(base_url=serve().url, headers=client.headers, timeout=10)
    with other:
        told = [one.get("/v1/bindings").status_code for _ in range(60 // BURST_SHARE) for one in (client, other)]
    assert told.count(200) <= 60 // BURST_SHARE + 3


@pytest.mark.bar(52)
def test_beyond_its_calls_at_once_a_tenant_is_refused_and_gets_its_places_back(client, world, tenant):
    world.quotas[tenant] = TenantQuotas(concurrency=2)
    record = world.put(tenant)
    waiting = world.stalled[tenant] = threading.Event()
    path = f"/v1/bindings/{record.id}"
    held = [threading.Thread(target=client.get, args=(path,)) for _ in range(2)]
    try:
        for thread in held:
            thread.start()
        deadline = time.monotonic() + 4
        while world.held < 2:
            assert time.monotonic() < deadline, "the two calls did not arrive"
        refused = client.get("/v1/exchanges/bitget")
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    finally:
        waiting.set()
        for thread in held:
            thread.join()
    world.stalled.clear()
    assert client.get("/v1/exchanges/bitget").status_code == 200


async def test_without_redis_each_process_keeps_a_smaller_rate_and_asks_again_later(valkey):
    gone = connect("redis://127.0.0.1:1")
    limiter = Limiter(gone, SystemClock())
    taken = [await limiter.take("a" * 26, 240) for _ in range(240)]
    let_in = sum(one.allowed for one in taken)
    assert 240 // ALONE_SHARE // BURST_SHARE <= let_in <= 240 // ALONE_SHARE // BURST_SHARE + 5
    assert (await limiter.take("b" * 26, 240)).allowed
    await gone.aclose()


async def test_a_value_that_nobody_of_ours_wrote_holds_nobody_up_and_a_burst_is_all_that_is_saved(valkey):
    redis = connect(valkey.address, valkey.password_file)
    limiter, tenant = Limiter(redis, SystemClock()), "c" * 26
    try:
        await redis.hset(f"sr:{{{tenant}}}:rate", "x", "y")
        assert (await limiter.take(tenant, 60)).allowed
        await redis.set(f"sr:{{{tenant}}}:rate", "99999999999999999")
        assert (await limiter.take(tenant, 60)).wait_s <= 1.01
        await redis.delete(f"sr:{{{tenant}}}:rate")
        other = Limiter(redis, SystemClock())  # this one remembers for a second that Redis refused
        taken = await asyncio.gather(*(other.take(tenant, 600) for _ in range(300)))
        assert 600 // BURST_SHARE <= sum(one.allowed for one in taken) <= 600 // BURST_SHARE + 30
        assert await redis.pttl(f"sr:{{{tenant}}}:rate") > 0
    finally:
        await redis.delete(f"sr:{{{tenant}}}:rate")
        await redis.aclose()


@pytest.mark.bar(52)
async def test_a_tenant_that_is_refused_costs_no_turn_at_redis_until_it_may_be_let_in_again(valkey):
    redis = connect(valkey.address, valkey.password_file)
    limiter = Limiter(redis, SystemClock())

    async def asked() -> int:
        told = await redis.info("commandstats")
        return sum(one["calls"] for name, one in told.items() if name.startswith("cmdstat_eval"))

    try:
        while (taken := await limiter.take("greedy", 60)).allowed:
            pass
        before = await asked()
        refused = [await limiter.take("greedy", 60) for _ in range(50)]
        assert not any(one.allowed for one in refused)
        assert all(0 < one.wait_s <= taken.wait_s for one in refused)
        assert await asked() - before <= 2
        async with asyncio.timeout(5):
            while not (await limiter.take("greedy", 60)).allowed:
                await asyncio.sleep(0.05)
    finally:
        await redis.aclose()
