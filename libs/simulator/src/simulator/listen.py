"""Runs the exchange and its control port on two TCP listeners in the current event loop. Binds loopback unless told
otherwise, and trusts no forwarding header: a caller's address is its socket's."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.app import RESET_EXTENSION, build_app
from simulator.control import build_control
from simulator.exchange import Exchange, NoDoor


@dataclass(frozen=True, slots=True)
class Addresses:
    """Base URLs of a running simulator, without a trailing slash."""

    url: str
    control_url: str


@contextlib.asynccontextmanager
async def running(
    exchange: Exchange,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    control_host: str = "127.0.0.1",
    control_port: int = 0,
) -> AsyncIterator[Addresses]:
    """Serve `exchange` inside the block; port 0 takes a free one. Raises OSError when a port is taken."""
    with contextlib.ExitStack() as sockets:
        public = sockets.enter_context(_bound(host, port))
        private = sockets.enter_context(_bound(control_host, control_port))
        addresses = Addresses(_url(public), _url(private))
        async with _served(build_app(exchange), public) as server, _served(build_control(exchange), private):
            exchange.door = server
            await server.set_open(not exchange.faults.refusing)
            yield addresses
            exchange.door = NoDoor()


class _Protocol(HttpToolsProtocol):
    """Hands the transport to the application, which needs it to reset a connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {RESET_EXTENSION: {"transport": self.transport}}


class _Server(Server):
    """A uvicorn server that leaves signals to whoever runs it, tells when it listens, and can refuse connections."""

    def __init__(self, config: Config, address: tuple[str, int]) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._address = address
        self._open = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def set_open(self, opened: bool) -> None:
        """Listen on the same port; or close it, so that callers are refused, and cut every connection."""
        if opened == self._open:
            return
        self._open = opened
        if opened:
            await super().startup([_bound(*self._address)])
            return
        for listener in self.servers:
            listener.close()
        self._cut()

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection, so that a slow answer does not hold the stop up."""
        self._cut()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _served(app: ASGIApp, bound: socket.socket) -> AsyncIterator[_Server]:
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, bound.getsockname())
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await server.listening.wait()
        yield server
    finally:
        server.should_exit = True
        await task


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)
    except OSError:
        bound.close()
        raise
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
