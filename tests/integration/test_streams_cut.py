"""Event streams of two tenants, cut two hundred times at any byte while customers are at work.

What was delivered is compared with what the verifier published: the whole of it, in its order, nothing else.
"""

import contextlib
import http.client
import json
import random
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from common.clock import timestamp
from common.events import epoch_key, stream_key
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED
from strongroom.verifier.v1.verification_service_pb2 import Event

from tests.integration.conftest import Driver, eventually
from tests.integration.load import Load

CUTS = 200
LONGEST_S = 0.25
TALK = 5000  # events at most, fewer than a stream keeps


class Cut(threading.Thread):
    """A reader of one tenant's stream whose connection breaks again and again; `ids` and `bindings` are what came."""

    def __init__(self, driver: Driver, tenant: int, after: str, cuts: int) -> None:
        super().__init__(daemon=True)
        place = urlsplit(driver.facts["gateway_url"])
        self._place = (place.hostname or "", place.port or 0)
        self._token = driver.facts["tenants"][tenant]["token"]
        self._cuts = cuts
        self.ids: list[str] = [after]
        self.bindings: set[str] = set()
        self.resets = self.done = 0

    def run(self) -> None:
        while self.done < self._cuts:
            self.read(random.uniform(0, LONGEST_S))

    def read(self, seconds: float) -> None:
        """Open the stream after the last whole event and read until the connection is cut `seconds` later."""
        connection = http.client.HTTPConnection(*self._place, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}", "Last-Event-ID": self.ids[-1]}
        text = b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v1/events", headers=headers)
            answer, opened = connection.getresponse(), connection.sock
            assert answer.status == 200, answer.read()
            knife = threading.Timer(seconds, opened.shutdown, (socket.SHUT_RDWR,))
            knife.start()
            self.done += 1
            while piece := answer.read1(random.randint(1, 4096)):
                text += piece
        connection.close()
        for block in text.decode().split("\n\n")[:-1]:
            self._take(block)

    def _take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "reset":
            self.resets += 1
        elif "event" in fields:
            self.ids.append(fields["id"])
            self.bindings.add(json.loads(fields["data"])["binding_id"])


class Published:
    """What the verifier published, read from Redis itself."""

    def __init__(self, driver: Driver) -> None:
        self.server = redis.Redis.from_url(driver.facts["redis_url"])
        self.tenants = [one["id"] for one in driver.facts["tenants"][:2]]

    def ids(self, tenant: int) -> list[str]:
        epoch = (self.server.get(epoch_key(self.tenants[tenant])) or b"").decode()
        entries: Any = self.server.xrange(stream_key(self.tenants[tenant]))
        return [f"{epoch}-{entry.decode()}" for entry, _ in entries]

    def add(self, tenant: int, binding: str, revision: int) -> None:
        """Publish one event more, in the form that the verifier writes."""
        event = Event(binding_id=binding, status=STATUS_CONNECTED, revision=revision, occurred_at=timestamp(revision))
        epoch = self.server.get(epoch_key(self.tenants[tenant]))
        self.server.xadd(stream_key(self.tenants[tenant]), {"epoch": epoch, "event": event.SerializeToString()})

    def trim(self, tenant: int, left: int) -> None:
        self.server.xtrim(stream_key(self.tenants[tenant]), maxlen=left, approximate=False)


@pytest.mark.bar(55)
def test_streams_cut_two_hundred_times_lose_nothing_and_carry_nothing_foreign(driver: Driver) -> None:
    published, ending = Published(driver), threading.Event()
    talked = [driver.bind(driver.account(), tenant=tenant).json()["id"] for tenant in (0, 1)]
    cut = [Cut(driver, tenant, published.ids(tenant)[-1], CUTS // 2) for tenant in (0, 1)]

    def talk() -> None:
        """Have more to tell than a few customers do."""
        for revision in range(1, TALK):
            for tenant in (0, 1):
                published.add(tenant, talked[tenant], revision)
            if ending.wait(0.02):
                return

    talking = threading.Thread(target=talk)
    with Load(driver) as load:
        for thread in (*cut, talking):
            thread.start()
        eventually(lambda: all(reader.done >= CUTS // 2 for reader in cut), 240)
    ending.set()
    talking.join()
    load.close()
    for tenant, reader in enumerate(cut):
        reader.join()

        def caught_up(reader: Cut = reader, tenant: int = tenant) -> bool:
            reader.read(LONGEST_S)
            return reader.ids[-1] == published.ids(tenant)[-1]

        eventually(caught_up, 60)
        wanted = published.ids(tenant)
        assert reader.ids == wanted[wanted.index(reader.ids[0]) :]
        assert len(reader.ids) > CUTS
        assert reader.resets == 0
        print(f"{len(reader.ids)} events over {reader.done} connections")
    mine = {tenant: {one for one, owner in load.bound.items() if owner == tenant} for tenant in (0, 1)}
    assert not cut[0].bindings & (mine[1] | cut[1].bindings)
    assert not cut[1].bindings & (mine[0] | cut[0].bindings)
    assert mine[0] <= cut[0].bindings
    assert mine[1] <= cut[1].bindings


@pytest.mark.bar(55)
def test_a_reader_whose_history_was_trimmed_gets_a_reset_and_then_what_comes(driver: Driver) -> None:
    published = Published(driver)
    for _ in range(2):
        assert driver.bind(driver.account()).status_code == 201
    before = published.ids(0)
    published.trim(0, 1)
    gone, foreign = Cut(driver, 0, before[-2], 1), Cut(driver, 1, before[-1], 1)
    assert driver.bind(driver.account()).status_code == 201
    for reader in (gone, foreign):
        reader.read(LONGEST_S)
        assert (reader.resets, reader.ids[1:]) == (1, [])
    kept = Cut(driver, 0, before[-1], 1)
    eventually(lambda: kept.read(LONGEST_S) or kept.ids[-1] == published.ids(0)[-1])
    assert (kept.resets, kept.ids) == (0, published.ids(0))
