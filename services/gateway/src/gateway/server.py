"""Own the running process: collaborators built once, two listeners, and an end that loses no request.

At the stop signal readiness goes first, then the streams end; for a moment each answer asks its client to connect
elsewhere, then nobody is let in any more, and requests in flight are finished.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Any, Final

import grpc
import uvicorn
from common import redis as common_redis
from common.clock import Clock, SystemClock
from common.events import EventHub
from common.rpc import client
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import app, documented, http
from gateway.console.served import Console
from gateway.edge import Edge
from gateway.gate import Gate
from gateway.incidents import Incidents
from gateway.limiter import Limiter
from gateway.metrics import Metrics
from gateway.ops import Ops
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.signing_client import SigningClient
from gateway.standing import Standings
from gateway.streams import Streams
from gateway.tenants import Tenants
from gateway.trail import Trail
from gateway.turnstile import Turnstile
from gateway.vault_client import VaultClient
from gateway.verifier_client import VerifierClient
from gateway.webhooks import Webhooks

LEAVE_S: Final = 1.5
LOOKS: Final = 30
GRACE_S: Final = 8  # after that, of the 10 s that a process has to end
FILES_LEFT: Final = 128  # of all that may be open, for what are no clients
PROBE_S: Final = 0.5
BACKLOG: Final = 2048
OPS_CONNECTIONS: Final = 64


class _Listener(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process has one place for them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def listen(address: str) -> socket.socket:
    """Return a listening socket on host:port; raise OSError when it is taken.

    Listening at once lets readiness be told truthfully: a connection made from now on will be served.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), int(port)))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


class Gateway:
    """One gateway process; its public and its ops listener."""

    def __init__(self, settings: GatewaySettings, clock: Clock | None = None) -> None:
        clock, identity = clock or SystemClock(), Identity.of(settings)
        self._redis = common_redis.connect(settings.redis_url, settings.redis_password_file)
        # A tenant with an open stream keeps one connection busy: other calls must not wait for those.
        feeds = settings.streams + common_redis.CONNECTIONS
        self._events = common_redis.connect(settings.redis_url, settings.redis_password_file, feeds)
        self._hub = EventHub(self._events)
        self._channels = {
            "vault": client.channel(settings.vault_target, "vault", identity),
            "verifier": client.channel(settings.verifier_target, "verifier", identity),
        }
        self._streams = Streams(self._hub, settings.streams_per_tenant, settings.streams, clock)
        limiter = Limiter(self._redis, clock)
        services = Services(
            vault=VaultClient(self._channels["vault"]),
            incidents=Incidents(self._channels["vault"]),
            trail=Trail(self._channels["vault"]),
            tenants=Tenants(self._channels["vault"]),
            standings=Standings(self._channels["vault"], clock),
            gate=Gate(limiter),
            verifier=VerifierClient(self._channels["verifier"]),
            streams=self._streams,
            tokens=TokenVerifier(settings.jwt_issuer, settings.jwks_file, clock),
            clock=clock,
            egress_addresses=settings.egress_ips,
            signing=SigningClient(self._channels["verifier"]),
            limiter=limiter,
            market_data=settings.market_data,
            console=Console.of(settings),
            webhooks=Webhooks(self._channels["vault"], self._redis, clock, loopback=settings.webhooks_loopback),
        )
        public, metrics = app.build(services), Metrics(lambda: self._streams.count)
        self._ops = Ops(metrics, documented.text(public), self._probes())
        self._edge = Edge(public, Turnstile(services.tokens, services.gate), clock, metrics)
        self._public = _listener(self._edge, settings.connections)
        self._private = _listener(self._ops, OPS_CONNECTIONS)

    def _probes(self) -> dict[str, Any]:
        probes = {name: _channel_probe(channel) for name, channel in self._channels.items()}
        return {**probes, "redis": _redis_probe(self._redis)}

    async def run(self, stopping: asyncio.Event, public: socket.socket, private: socket.socket) -> None:
        """Serve on both sockets until `stopping`, then drain."""
        serving = [
            asyncio.create_task(self._private.serve([private])),
            asyncio.create_task(self._public.serve([public])),
        ]
        stop = asyncio.create_task(stopping.wait())
        self._ops.ready = True
        await asyncio.wait([stop, *serving], return_when=asyncio.FIRST_COMPLETED)
        self._ops.ready = False
        self._streams.close()
        await self._leave()
        self._public.should_exit = True
        await serving[1]
        self._private.should_exit = True
        await serving[0]
        stop.cancel()
        await self._close()

    async def _leave(self) -> None:
        """Serve on until every client has been told to connect elsewhere, or for a moment at most.

        Closing at once would cut a request that is just arriving on a connection that was idle.
        """
        self._edge.leaving = True
        for _ in range(LOOKS):
            if not self._public.server_state.connections:
                return
            await asyncio.sleep(LEAVE_S / LOOKS)

    async def _close(self) -> None:
        await self._hub.close()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))
        await self._events.aclose()
        await self._redis.aclose()


def _listener(asgi: Any, connections: int) -> _Listener:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _Listener(
        uvicorn.Config(
            asgi,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
            **http.options(min(connections, files - FILES_LEFT)),
        )
    )


def _channel_probe(channel: grpc.aio.Channel) -> Any:
    async def probe() -> str:
        return channel.get_state(try_to_connect=True).name.lower()

    return probe


def _redis_probe(redis: Redis) -> Any:
    async def probe() -> str:
        try:
            async with asyncio.timeout(PROBE_S):
                await redis.ping()
        except (RedisError, TimeoutError, OSError):
            return "unreachable"
        return "ready"

    return probe
