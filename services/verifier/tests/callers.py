"""What a service that uses keys needs in a test: the api process, its three stubs, and an exchange of raw bytes."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cli.processes import free_port
from common.rpc import client
from common.rpc.tls import Identity
from strongroom.signing.v1.signing_service_pb2 import ExecuteHead, ExecuteRequest
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from strongroom.verifier.v1.market_service_pb2_grpc import MarketServiceStub
from verifier.api import run_api
from verifier.settings import ApiSettings

from services.verifier.tests.small_vault import TENANT

RIGHTS = ("requests:execute", "requests:sign")
OK = b'{"code":"00000","msg":"success","requestTime":1700000000000,"data":{"orderId":"1"}}'


def asked(method: str, path: str, body: str | bytes = b"", **query: str) -> ExchangeRequest:
    parameters = [QueryParameter(name=name, value=value) for name, value in query.items()]
    return ExchangeRequest(
        method=method, path=path, query=parameters, body=body.encode() if isinstance(body, str) else body
    )


@dataclass
class Answered:
    """A whole answer, and in how many messages it came."""

    head: ExecuteHead
    body: bytes
    pieces: int

    def header(self, name: str) -> str:
        return next((one.value for one in self.head.headers if one.name == name), "")


@dataclass
class Api:
    """A client of one api process."""

    signing: Any
    market: Any
    issuer: Any
    target: str

    def bearer(self, scopes: Any = RIGHTS, tenant: str = TENANT, **more: Any) -> str:
        return f"Bearer {self.issuer.issue(tenant, scopes, **more)}"

    async def execute(
        self,
        binding: str,
        request: ExchangeRequest,
        key: str = "",
        authorization: str | None = None,
        wait_s: float = 20,
    ) -> Answered:
        message = ExecuteRequest(binding_id=binding, request=request, idempotency_key=key)
        token = authorization or self.bearer()
        pieces = [
            one async for one in client.stream(self.signing.Execute, message, timeout_s=wait_s, authorization=token)
        ]
        assert not any(one.HasField("head") for one in pieces[1:])
        return Answered(pieces[0].head, b"".join(one.body for one in pieces), len(pieces))


@asynccontextmanager
async def api(site: Any, bitget_url: str, peer: str = "client", **own: Any) -> AsyncIterator[Api]:
    """Run an api process's services in this loop."""
    listen, stopping = f"127.0.0.1:{free_port()}", asyncio.Event()
    settings = site.settings("verifier", listen=listen, bitget_url=bitget_url, log_level="error", **own)
    running = asyncio.create_task(run_api(ApiSettings.model_validate(settings), stopping))
    leaf = site.leaf(peer)
    channel = client.channel(listen, "verifier", Identity(leaf.cert_file, leaf.key_file, leaf.ca_file))
    await asyncio.wait_for(channel.channel_ready(), 20)
    try:
        yield Api(SigningServiceStub(channel), MarketServiceStub(channel), site.issuer, listen)
    finally:
        await channel.close()
        stopping.set()
        await running


def response(body: bytes = OK, status: int = 200, **headers: str) -> bytes:
    told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


async def well(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(response())


@dataclass
class RawExchange:
    """A TCP server that keeps every request as the bytes that came, and answers as it is told."""

    answer: Answer = well
    received: list[bytes] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head.lower())
                request = head + (await reader.readexactly(int(length[1])) if length else b"")
                self.received.append(request)
                await self.answer(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_exchange(answer: Answer = well) -> AsyncIterator[RawExchange]:
    exchange = RawExchange(answer)
    server = await asyncio.start_server(exchange.serve, "127.0.0.1", 0)
    exchange.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield exchange
    server.close()
