"""Measures: closed labels, and the port where probes and Prometheus both ask."""

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest
from cli.pki import Authority
from common import metrics
from common.rpc import certificate, ops_port
from common.rpc.health import Health
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import Counter


async def asked(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def health():
    made = Health("127.0.0.1:0")
    await made.start()
    yield made
    await asyncio.wait_for(made.stop(), 10)


def test_a_value_outside_its_set_is_counted_as_other_and_leaves_no_trace() -> None:
    kinds = ("read", "write")
    family = metrics.Family(Counter("closed", "", ("kind",), registry=None), [kinds], begun=True)
    for value in ("read", "tenant-of-somebody", "secret", "other"):
        family.of(value).inc()
    values = {kind: family.of(kind)._value.get() for kind in (*kinds, "other")}
    assert values == {"read": 1, "write": 0, "other": 3}
    assert len(family._children) == 3  # whatever values come, the series are no more


def test_one_child_is_made_once() -> None:
    family = metrics.Family(Counter("once", "", ("kind", "end"), registry=None), [("a",), ("b",)], begun=False)
    assert family.of("a", "b") is family.of("a", "b")
    assert family.of("x", "y") is family.of("y", "x")


async def test_the_health_port_tells_measures_by_http_and_readiness_by_grpc(health: Health) -> None:
    await health.ready(True)
    told = await asked(health.port, b"GET /metrics HTTP/1.1\r\nHost: any\r\n\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\nstrongroom_ready 1.0\n" in body
    assert b"process_resident_memory_bytes" in body
    async with grpc.aio.insecure_channel(f"127.0.0.1:{health.port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /", b"404"), (b"GET /debug", b"404"), (b"POST /metrics", b"405"), (b"GET /metrics?x=1", b"200")],
)
async def test_nothing_else_is_told_there(health: Health, request_line: bytes, status: bytes) -> None:
    told = await asked(health.port, request_line + b" HTTP/1.1\r\n\r\n")
    assert told.split(b" ")[1] == status


async def test_a_head_that_is_too_long_or_never_ends_holds_no_connection(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_port, "HEAD_S", 0.2)
    assert await asked(health.port, b"GET /metrics HTTP/1.1\r\nHost: slow") == b""
    with contextlib.suppress(ConnectionResetError):
        assert await asked(health.port, b"GET /" + b"a" * 20_000) == b""


async def test_a_port_that_is_taken_is_named(health: Health) -> None:
    with pytest.raises(OSError, match=f"127.0.0.1:{health.port}"):
        Health(f"127.0.0.1:{health.port}")


def test_the_end_of_a_certificate_is_read_from_its_bytes(authority: Authority, tmp_path: Path) -> None:
    pem = authority.issue("vault", tmp_path).cert_file.read_bytes()
    expected = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    assert certificate.ends(pem + b"\nwhatever follows in the chain") == expected
    for broken in (b"", b"no certificate", pem[:80] + b"\n-----END CERTIFICATE-----"):
        with pytest.raises((ValueError, IndexError)):
            certificate.ends(broken)
