"""Redis is emptied, or fails over and loses what it acknowledged, under load: what Vault holds knows nothing of it."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cli.files import private_folder
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack
from cli.valkey import Valkey

from tests.cluster.wire import Network, Wire
from tests.integration.conftest import TENANTS, Driver, eventually
from tests.integration.load import Load

PLAN = "sr:{jobs}:plan"
PROCESSES = ("gateway", "verifier", "worker")


def work(load: Load, binds: int, revocations: int) -> None:
    """Wait until the customers have done so much more."""
    wanted = (load.done("bind") + binds, load.done("revoke") + revocations, load.done("sign") + 1)
    eventually(
        lambda: all(load.done(kind) >= n for kind, n in zip(("bind", "revoke", "sign"), wanted, strict=True)), 60
    )


def listed(driver: Driver, tenant: int) -> dict[str, str]:
    """Return the status of each binding as pages tell it."""
    found: dict[str, str] = {}
    query: dict[str, str] = {"limit": "100"}
    with driver.client(tenant) as http:
        while True:
            answer = http.get("/v1/bindings", params=query)
            if answer.status_code != 200:
                return {}
            page = answer.json()
            found |= {each["id"]: each["status"] for each in page["items"]}
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]


def unharmed(driver: Driver, load: Load) -> None:
    """See that the history is sound, and records, pages and the uniqueness of keys are as the customers left them."""
    assert load.history.check() == []
    load.settle()
    expected = {name: "revoked" if name in load.revoked else "connected" for name in load.bound}
    for tenant in (0, 1):
        mine = {name: status for name, status in expected.items() if load.bound[name] == tenant}
        with driver.client(tenant) as http:
            for name, status in mine.items():
                eventually(lambda n=name, s=status: http.get(f"/v1/bindings/{n}").json().get("status") == s, 90)
        eventually(lambda t=tenant, m=mine: m.items() <= listed(driver, t).items(), 90)
        for name in [name for name in mine if name not in load.revoked][:5]:
            again = driver.bind(load.keys[name], tenant=tenant, wait=1)
            assert (again.status_code, again.json()["binding_id"]) == (409, name)


def consistent(driver: Driver, load: Load, *, twice: bool) -> None:
    """See that no event contradicts a record: revisions go up, each has one status, the last one is the record's.

    `twice` says that an event may have been told again after it was lost, as the contract has it.
    """
    for follower, tenant in zip(load.followers, (0, 1), strict=True):
        with driver.client(tenant) as http:
            for binding, events in follower.told().items():
                revisions = [each["revision"] for each in events]
                assert revisions == sorted(revisions), events
                statuses = {(each["revision"], each["status"]) for each in events}
                assert len(statuses) == len(set(revisions)), events
                told = [(each["revision"], each["status"], json.dumps(each["changes"])) for each in events]
                assert twice or len(told) == len(set(told)), events
                record = http.get(f"/v1/bindings/{binding}")
                newest = max(statuses)
                assert newest == (int(record.headers["etag"].strip('"')), record.json()["status"]), events


@pytest.mark.bar(36)
@pytest.mark.timeout(400)
def test_redis_emptied_and_restarted_under_load_leaves_every_binding_state_and_claim_and_all_is_planned_again(
    driver: Driver,
) -> None:
    with Load(driver) as load:
        work(load, 8, 2)
        with redis.Redis.from_url(driver.facts["redis_url"]) as server:
            server.flushall()
        driver.child("valkey").kill()
        work(load, 4, 1)
        driver.child("valkey").start()
        work(load, 8, 2)
    load.close()
    unharmed(driver, load)
    alive = {f"{driver.facts['tenants'][owner]['id']}:{name}" for name, owner in load.bound.items()}
    alive -= {f"{driver.facts['tenants'][load.bound[name]]['id']}:{name}" for name in load.revoked}
    with redis.Redis.from_url(driver.facts["redis_url"]) as server:
        eventually(lambda: alive <= {member.decode() for member in server.zrange(PLAN, 0, -1)}, 90)


class Pair:
    """A primary, its replica over a wire that can be cut, and a wire before them for each process of ours."""

    def __init__(self, driver: Driver, home: Path, network: Network) -> None:
        self.primary = driver.child("valkey")
        self.link = Wire(network, self.primary.port)
        self.fronts = {name: Wire(network, self.primary.port) for name in PROCESSES}
        shutil.copy2(self.primary.password_file, private_folder(home))
        shutil.copytree(self.primary.home / "users", home / "users")
        self.replica = Valkey(home)
        self.old = redis.Redis.from_url(self.primary.url)
        self.new = redis.Redis.from_url(self.replica.url)

    def follow(self) -> None:
        """Make the second a replica of the first and wait until it has everything."""
        self.new.config_set("primaryauth", self.primary.password_file.read_text())
        self.new.replicaof("127.0.0.1", self.link.port)
        eventually(lambda: self.new.info("replication")["master_link_status"] == "up")

    def part(self) -> None:
        """Cut the replica off: what the primary acknowledges from now on is lost."""
        self.link.hole = lambda _: True

    def promote(self) -> None:
        """Make the replica a primary, whatever the old one thinks."""
        self.new.replicaof("NO", "ONE")

    def move(self, *names: str) -> None:
        """Lead processes to the new primary."""
        for name in names:
            self.fronts[name].lead(self.replica.port)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[tuple[Driver, Pair]]:
    """A stack of its own whose processes reach Redis over wires."""
    home = private_folder(tmp_path / "stack")
    (home / "tenants.json").write_text(json.dumps(TENANTS))
    with contextlib.ExitStack() as made:
        stack = made.enter_context(Stack(LaunchSettings(home, free_port(), None, "127.0.0.1"), lambda _: None))
        stack.start()
        driver, network = Driver(stack), made.enter_context(Network())
        pair = Pair(driver, tmp_path / "replica", network)
        made.enter_context(pair.link)
        made.enter_context(pair.replica)
        made.callback(pair.old.close)
        made.callback(pair.new.close)
        pair.follow()
        for name, wire in pair.fronts.items():
            made.enter_context(wire)
            child = driver.child(name)
            child.stop()
            child.environment["STRONGROOM_REDIS_URL"] = f"redis://{name}@127.0.0.1:{wire.port}/0"
            child.environment |= {"STRONGROOM_RECONCILE_SECONDS": "5"} if name == "worker" else {}
            child.start()
        yield driver, pair


@pytest.mark.bar(38)
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "lingering",
    [pytest.param("nobody", marks=pytest.mark.drill), "verifier", pytest.param("worker", marks=pytest.mark.drill)],
)
def test_a_failover_that_loses_writes_contradicts_no_record_and_what_was_lost_is_told(
    failing: tuple[Driver, Pair], lingering: str
) -> None:
    driver, pair = failing
    with Load(driver) as load:
        work(load, 12, 2)
        pair.part()
        work(load, 6, 2)
        lost = set(pair.old.keys()) - set(pair.new.keys())
        assert lost, "something was acknowledged that the replica never had"
        pair.promote()
        pair.move(*(name for name in PROCESSES if name != lingering))
        if lingering != "nobody":
            work(load, 6, 2)
            pair.move(lingering)
        pair.primary.kill()
        work(load, 6, 2)
    unharmed(driver, load)
    eventually(lambda: told_all(driver, load), 60)
    load.close()
    consistent(driver, load, twice=True)


def told_all(driver: Driver, load: Load) -> bool:
    """Tell whether of every binding the newest event is of its last state, or its stream was reset meanwhile."""
    for follower, tenant in zip(load.followers, (0, 1), strict=True):
        newest = {binding: events[-1]["status"] for binding, events in follower.told().items()}
        for name, owner in load.bound.items():
            wanted = "revoked" if name in load.revoked else "connected"
            if owner == tenant and newest.get(name) != wanted and not (follower.resets and name not in newest):
                return False
    return True
