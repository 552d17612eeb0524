"""Own the second port: liveness, readiness, measures and the API's description, for operators only."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from common.metrics import CONTENT_TYPE
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.metrics import Metrics

Probe = Callable[[], Awaitable[str]]
JSON: Final = "application/json"


class Ops:
    """A small ASGI app. A dependency that is down is shown, and does not take the gateway out of service."""

    def __init__(self, metrics: Metrics, document: str, probes: Mapping[str, Probe]) -> None:
        self._metrics = metrics
        self._document = document
        self._probes = probes
        self.ready = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = Response(status_code=405)
        if scope["method"] == "GET":
            response = await self._answer(scope["path"])
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def _answer(self, path: str) -> Response:
        if path == "/livez":
            return Response('{"status":"live"}', media_type=JSON)
        if path == "/readyz":
            found = {name: await probe() for name, probe in self._probes.items()}
            body = {"status": "ready" if self.ready else "not_ready", "dependencies": found}
            return Response(json.dumps(body), 200 if self.ready else 503, media_type=JSON)
        if path == "/metrics":
            return Response(self._metrics.text(), media_type=CONTENT_TYPE)
        if path == "/openapi.json":
            return Response(self._document, media_type=JSON)
        return Response(status_code=404)
