"""Spans at the edges: one tree over real sockets, a closed list of attributes, and a collector that may be away."""

import ast
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli.pki import Authority
from cli.processes import free_port
from common import context, tracing
from common.config import ServiceSettings
from common.errors import NotFound, StrongroomError, Unavailable
from common.rpc import client, server
from common.rpc.tls import Identity
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2_grpc as rpc

from tests.collector import Collector, whole

ROOT = Path(__file__).resolve().parents[3]
CANARY = "canary-5f4dcc3b5aa765d61d8327deb882cf99"
SERVICE = pb.DESCRIPTOR.services_by_name["BindingStore"]
CALLERS = {f"/{SERVICE.full_name}/{method.name}": frozenset(["gateway"]) for method in SERVICE.methods}
OUTSIDE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def settings(endpoint: str, ratio: float = 1.0) -> ServiceSettings:
    return ServiceSettings.model_construct(otlp_endpoint=endpoint, otlp_ca_file=None, trace_ratio=ratio)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    yield
    context.current.set(None)


class Store(rpc.BindingStoreServicer):
    """Fails as it is asked to; names are given from inside a span."""

    async def Describe(self, request, context):
        if request.binding_id == "bug":
            raise RuntimeError(CANARY)
        if request.binding_id == "missing":
            raise NotFound()
        raise Unavailable("sealed", CANARY)

    async def Names(self, request, context) -> AsyncIterator[pb.NamesResponse]:
        with tracing.span("inside", operation="other"):
            yield pb.NamesResponse()


async def calls(authority: Authority, tmp_path: Path, *wanted: str) -> None:
    """Serve and call over mTLS, as two processes would."""
    vault, gateway = (authority.issue(name, tmp_path) for name in ("vault", "gateway"))
    who = Identity(vault.cert_file, vault.key_file, vault.ca_file)
    register = lambda it: rpc.add_BindingStoreServicer_to_server(Store(), it)  # noqa: E731
    made = server.build("127.0.0.1:0", who, CALLERS, "strongroom.internal", [(SERVICE, register)])
    port = made.add_secure_port("127.0.0.1:0", who.server())
    await made.start()
    caller = Identity(gateway.cert_file, gateway.key_file, gateway.ca_file)
    async with client.channel(f"127.0.0.1:{port}", "vault", caller) as channel:
        stub = rpc.BindingStoreStub(channel)
        for name in wanted:
            with pytest.raises(StrongroomError):
                await client.call(stub.Describe, pb.DescribeRequest(binding_id=name), timeout_s=5)
        async for _ in client.stream(stub.Names, pb.NamesRequest(), timeout_s=5):
            pass
    await made.stop(1)


async def test_calls_of_one_request_are_one_tree(collector: Collector, authority: Authority, tmp_path: Path) -> None:
    with tracing.running("here", settings(collector.endpoint)):
        with tracing.serving(context.accept("request-0001", None), "GET /v1/bindings") as root:
            await calls(authority, tmp_path, "missing")
        assert root.traceparent
    trace = collector.trace("request-0001")
    assert whole(trace)
    names = sorted((one.kind, one.name.rpartition("/")[2]) for one in trace)
    called = [("client", "Describe"), ("client", "Names")]
    assert names == [*called, ("internal", "inside"), *(("server", name) for name in ("Describe", "Names", "bindings"))]
    served = [one for one in trace if one.kind == "server" and one.parent]
    assert [one.attributes["strongroom.peer"] for one in served] == ["gateway"] * 2
    assert {one.attributes.get("strongroom.request_id") for one in trace if one.kind == "server"} == {"request-0001"}


@pytest.mark.bar(11)
async def test_an_error_is_told_by_its_type_and_our_reason_and_never_by_its_text(
    collector: Collector, authority: Authority, tmp_path: Path
) -> None:
    with (
        tracing.running("here", settings(collector.endpoint)),
        tracing.serving(context.accept("request-0002", None), "GET /v1/bindings"),
    ):
        await calls(authority, tmp_path, "bug", "missing", "sealed")
    served = [one for one in collector.trace("request-0002") if one.kind == "server" and one.name.endswith("Describe")]
    told = [(one.attributes["error.type"], one.attributes.get("strongroom.reason"), one.failed) for one in served]
    assert told == [
        ("RuntimeError", None, True),
        ("NotFound", "not_found", False),
        ("Unavailable", "sealed", True),
    ]
    assert not any(CANARY.encode() in raw for raw in collector.raw)
    assert not any(one.words for one in collector.spans())


def test_what_is_not_in_the_list_does_not_pass_and_texts_are_short(collector: Collector) -> None:
    with (
        tracing.running("here", settings(collector.endpoint)),
        tracing.serving(context.accept("request-0003", None), "GET /x", tenant="t" * 1000) as span,
    ):
        span.set(**{"secret_key": CANARY, "status": 200, "reason": None, "binding": ["a"]})  # type: ignore[dict-item]
    (seen,) = collector.spans()
    assert seen.attributes == {
        "strongroom.request_id": "request-0003",
        "strongroom.tenant": "t" * tracing.LIMIT,
        "http.response.status_code": 200,
    }


def test_every_attribute_that_our_code_sets_is_in_the_list_and_in_the_document() -> None:
    used = set()
    for path in [*ROOT.glob("libs/common/src/common/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in SPANNED:
                used |= {word.arg for word in node.keywords if word.arg}
    assert used - {"apart"} == tracing.ATTRIBUTES.keys() - {"error", "request_id"}  # which `tracing` sets itself
    document = (ROOT / "docs/tracing.md").read_text()
    assert [name for name in tracing.ATTRIBUTES.values() if f"`{name}`" not in document] == []


SPANNED = ("tracing.span", "tracing.serving", "span.set")


def test_a_trace_from_outside_goes_on_where_it_is_well_formed(collector: Collector) -> None:
    odd = [
        OUTSIDE.upper(),
        OUTSIDE + "-x",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        CANARY,
    ]
    with tracing.running("here", settings(collector.endpoint)):
        for number, sent in enumerate([OUTSIDE, None, *odd]):
            tracing.serving(context.accept(f"request-{number:04}", sent), "GET /x").end()
    found = {one.attributes["strongroom.request_id"]: one for one in collector.spans()}
    assert (found["request-0000"].trace, found["request-0000"].parent) == tuple(OUTSIDE.split("-")[1:3])
    others = [one for name, one in found.items() if name != "request-0000"]
    assert {one.parent for one in others} == {""}
    assert len({one.trace for one in others}) == len(odd) + 1


def test_the_ratio_decides_on_new_traces_and_the_caller_on_its_own(collector: Collector) -> None:
    def ask(request_id: str, sent: str | None) -> None:
        with tracing.serving(context.accept(request_id, sent), "GET /x"), tracing.span("inside"):
            assert (tracing.handed_on() is None) == (request_id != "sampled-0001")

    with tracing.running("here", settings(collector.endpoint, 0.0)):
        ask("new-00000001", None)
        ask("sampled-0001", OUTSIDE)
        ask("unsampled-01", OUTSIDE[:-1] + "0")
    assert [(one.name, one.trace) for one in collector.spans()] == [
        ("inside", OUTSIDE.split("-")[1]),
        ("GET /x", OUTSIDE.split("-")[1]),
    ]


def test_what_nobody_asked_for_has_no_span(collector: Collector) -> None:
    with tracing.running("here", settings(collector.endpoint)), tracing.span("duty") as span:
        assert (span, tracing.handed_on()) == (tracing.OFF, None)
    assert collector.spans() == []


def test_what_a_span_encloses_finds_it_in_the_context_and_afterwards_what_was_there(collector: Collector) -> None:
    with tracing.running("here", settings(collector.endpoint)):
        tracing.serving(context.accept("request-0005", None), "GET /x")
        before = context.current.get()
        assert before is not None
        with tracing.span("inside") as span:
            assert context.current.get() == replace(before, traceparent=span.traceparent)
        with tracing.span("apart", apart=True):
            assert context.current.get() == before
        assert context.current.get() == before


def test_a_collector_that_is_away_costs_spans_and_one_line(logged: list[Any]) -> None:
    port = free_port()

    def end(count: int) -> None:
        for _ in range(count):
            tracing.serving(context.accept(None, None), "GET /x").end()

    def until(event: str) -> None:
        while event not in [entry["event"] for entry in logged]:  # the limit of every test ends this
            end(1)
            time.sleep(0.01)

    with ExitStack() as stack:
        with tracing.running("here", settings(f"http://127.0.0.1:{port}")):
            end(2000)
            until("spans_not_taken")
            back = stack.enter_context(Collector(port))
            until("spans_taken_again")
        assert [entry["event"] for entry in logged] == ["spans_not_taken", "spans_taken_again"]
        assert back.spans()


def test_a_process_that_ends_while_the_collector_is_away_says_how_many_spans_were_lost(logged: list[Any]) -> None:
    with tracing.running("here", settings(f"http://127.0.0.1:{free_port()}")):
        for _ in range(3000):
            tracing.serving(context.accept(None, None), "GET /x").end()
    assert [entry["event"] for entry in logged] == ["spans_not_taken", "spans_lost"]
    assert logged[1]["count"] == 3000


def test_the_end_of_a_process_does_not_wait_for_a_collector_that_says_nothing(logged: list[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with tracing.running("here", settings(f"http://127.0.0.1:{silent.getsockname()[1]}")):
            for _ in range(3000):
                tracing.serving(context.accept(None, None), "GET /x").end()
            begun, _ = silent.accept()  # a batch is under way, which nobody will answer
        begun.close()
        assert logged[-1]["event"] == "spans_lost"


def test_what_a_process_has_not_sent_yet_goes_out_at_its_end(collector: Collector) -> None:
    with tracing.running("here", settings(collector.endpoint)):
        for _ in range(3000):
            tracing.serving(context.accept(None, None), "GET /x").end()
    assert len(collector.spans()) == 3000


def test_a_process_without_a_collector_loads_nothing_of_it_and_has_no_thread_for_it() -> None:
    code = (
        "import sys, threading; from common import context, tracing; from common.config import ServiceSettings;"
        "from common.rpc import client, server;"
        "made = ServiceSettings.model_construct(otlp_endpoint=None)\n"
        "with tracing.running('x', made), tracing.serving(context.accept(None, None), 'x'), tracing.span('y') as it:\n"
        "  assert it is tracing.OFF and tracing.handed_on() is None\n"
        "  print([name for name in sys.modules if name.startswith('opentelemetry')], threading.active_count())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[] 1\n"
