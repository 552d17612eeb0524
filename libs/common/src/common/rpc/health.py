"""Own what probes are told: grpc.health.v1 in plaintext, because they bring no certificate, on the operators' port."""

from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from common import metrics
from common.rpc.ops_port import OpsPort

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
READY: Final = metrics.gauge("strongroom_ready", "Whether readiness probes are told yes, of the whole process")


class Health:
    """Answer liveness (service `live`) as long as the process turns, and readiness (service ``) as it was told.

    A service of the process may have a readiness of its own, by its full name. `port` is the one in use, also when 0
    was asked for; `/metrics` is there too. Raises OSError when the port is taken.
    """

    def __init__(self, address: str) -> None:
        self._ops = OpsPort(address)
        self.port = self._ops.port
        self._servicer = aio.HealthServicer()
        self._server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self._inner = self._server.add_insecure_port("127.0.0.1:0")

    async def start(self) -> None:
        """Listen; live at once, ready when told."""
        await self._servicer.set("live", SERVING)
        await self.ready(False)
        await self._server.start()
        await self._ops.start(self._inner)

    async def ready(self, yes: bool, service: str = "") -> None:
        """Set what a readiness probe is told, of the whole process or of one service."""
        await self._servicer.set(service, SERVING if yes else NOT_SERVING)
        if not service:
            READY.set(int(yes))

    async def stop(self) -> None:
        """Stop answering."""
        await self._ops.stop()
        await self._server.stop(0)
