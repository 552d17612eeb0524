"""What stands between the service and Vault in a test and spoils one answer: cut, silent, sealed, half, redirected."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from cli.processes import free_port
from yarl import URL

SEALED, HALF = b'{"errors": ["Vault is sealed"]}', b'{"data": {'


@dataclass
class Proxy:
    """Stand between the service and Vault. The next request that fits `method` and `part` meets `fault`, once."""

    upstream: str
    url: str = ""
    fault: str = ""
    method: str = ""
    part: str = ""
    lasting: bool = False
    seen: list[str] = field(default_factory=list)
    session: aiohttp.ClientSession | None = None

    def arm(self, fault: str, part: str = "", method: str = "POST", *, lasting: bool = False) -> None:
        self.fault, self.part, self.method, self.lasting = fault, part, method, lasting

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path}")
        fault = ""
        if self.fault and self.method in ("", request.method) and self.part in request.path:
            fault = self.fault
            self.fault = fault if self.lasting else ""
        if fault.startswith("http"):
            raise web.HTTPTemporaryRedirect(fault + request.path)
        dropped = fault.endswith("before") or fault == "sealed"
        status, raw, index = (0, b"", {}) if dropped else await self._forward(request)
        if fault.startswith("cut"):
            request.transport.abort()  # type: ignore[union-attr]  # the connection is open while it is served
        if fault == "silence after":
            await asyncio.sleep(30)
        answers = {
            "sealed": (503, SEALED),
            "500 before": (500, b"{}"),
            "500 after": (500, b"{}"),
            "half a reply": (200, HALF),
        }
        status, raw = answers.get(fault, (status or 500, raw))
        return web.Response(body=raw, status=status, content_type="application/json", headers=index)

    async def _forward(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        assert self.session is not None
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-Vault")}
        url = URL(self.upstream + request.raw_path, encoded=True)
        body = await request.read()
        async with self.session.request(request.method, url, data=body, headers=headers) as reply:
            index = {name: value for name, value in reply.headers.items() if name == "X-Vault-Index"}
            return reply.status, await reply.read(), index


@contextlib.asynccontextmanager
async def listening(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """Serve `handler` for every request on a free port and yield the address."""
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()
