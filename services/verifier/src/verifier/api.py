"""Own the assembly of `verifier api`: three services on one port, one drain, everything closed."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientSession
from common import logs
from common.clock import SystemClock
from common.events import EventHub
from common.lifecycle import DRAIN_S, until
from common.rpc import server
from common.tokens import TokenVerifier
from strongroom.signing.v1 import signing_service_pb2
from strongroom.signing.v1.signing_service_pb2_grpc import add_SigningServiceServicer_to_server
from strongroom.verifier.v1 import market_service_pb2, verification_service_pb2
from strongroom.verifier.v1.market_service_pb2_grpc import add_MarketServiceServicer_to_server
from strongroom.verifier.v1.verification_service_pb2_grpc import add_VerificationServiceServicer_to_server

from verifier import market, servicer, signing_servicer
from verifier.accounts import Accounts
from verifier.app import Links, consumer_name, links_of
from verifier.background import Background
from verifier.bitget.budget import LocalBudget
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.reach import Reach
from verifier.bitget.shared_budget import SharedBudget
from verifier.bitget.wire import Wire
from verifier.callers_signer import CallersSigner
from verifier.execution import Execution
from verifier.index import Index
from verifier.jobs import Queue
from verifier.looks import Looks
from verifier.market import MarketServicer
from verifier.missed import LOOK_S, Missed
from verifier.servicer import VerificationServicer
from verifier.settings import ApiSettings
from verifier.signing_servicer import SigningServicer
from verifier.status import Status
from verifier.turns import LATEST_S
from verifier.vault_client import VaultClient

CALLERS: Final = {**servicer.CALLERS, **signing_servicer.CALLERS, **market.CALLERS}
# Needs Redis; the other two services go on without it.
VERIFICATION: Final = verification_service_pb2.DESCRIPTOR.services_by_name["VerificationService"].full_name
# Connections to the exchange, of trading and of market data: neither can take the other's.
TRADING: Final = 256
BROKER_HEADER: Final = "X-CHANNEL-API-CODE"


async def run_api(settings: ApiSettings, stopping: asyncio.Event) -> None:
    """Serve the three services until `stopping`."""
    logs.configure("verifier", settings.log_level)
    async with (
        links_of(settings, stopping, of_redis=[VERIFICATION]) as links,
        open_session(TRADING) as trading,
        open_session(market.AT_ONCE) as public,
    ):
        clock, events, background = SystemClock(), EventHub(links.redis), Background()
        tokens = TokenVerifier(settings.jwt_issuer, settings.jwks_file, clock)
        queue, status = Queue(links.redis, consumer_name()), Status(links.redis, clock)
        missed = Missed(links.redis)
        verification = VerificationServicer(
            tokens=tokens,
            vault=VaultClient(links.vault),
            status=status,
            index=Index(links.redis),
            queue=queue,
            events=events,
            missed=missed,
            clock=clock,
        )
        signing = _signing(settings, links, trading, tokens, background)
        services = [
            _service(
                verification_service_pb2, "VerificationService", add_VerificationServiceServicer_to_server, verification
            ),
            _service(signing_service_pb2, "SigningService", add_SigningServiceServicer_to_server, signing),
            _service(
                market_service_pb2,
                "MarketService",
                add_MarketServiceServicer_to_server,
                _market(settings, links, public),
            ),
        ]
        rpc = server.build(settings.listen, links.identity, CALLERS, settings.trust_domain, services)
        await rpc.start()
        logs.get().info("serving", address=settings.listen)
        duty = asyncio.create_task(until(stopping, LOOK_S, missed.look))
        await stopping.wait()
        ending = asyncio.create_task(rpc.stop(DRAIN_S))  # lets no call in any more
        events.release()
        signing.release()
        await ending
        duty.cancel()
        await asyncio.gather(duty, background.close(), events.close(), return_exceptions=True)


def _signing(
    settings: ApiSettings, links: Links, session: ClientSession, tokens: TokenVerifier, background: Background
) -> SigningServicer:
    """Return what callers use keys through. Its turns are those of trading, before verification's."""
    clock, reach = SystemClock(), Reach(session, settings.bitget_url)
    budget = SharedBudget(links.redis, clock, reach, settings.calls_per_minute, priority=True, latest_s=LATEST_S)
    exchange = BitgetClient(session, settings.bitget_url, budget, clock)
    broker = ((BROKER_HEADER, settings.broker_code),) if settings.broker_code else ()
    signer = CallersSigner(links.vault)
    execution = Execution(
        signer=signer,
        wire=Wire(session, settings.bitget_url, broker),
        budget=budget,
        exchange=exchange,
        accounts=Accounts(Status(links.redis, clock), clock),
        looks=Looks(Queue(links.redis, consumer_name()), background, clock),
        background=background,
        clock=clock,
    )
    return SigningServicer(tokens, signer, execution, exchange.time)


def _market(settings: ApiSettings, links: Links, session: ClientSession) -> MarketServicer:
    """Return what answers public calls, in this process's share and then in its turn among all others."""
    clock, reach, seconds = SystemClock(), Reach(session, settings.bitget_url), market.LATEST_S
    own = LocalBudget(clock, reach, settings.calls_per_minute * market.SHARE, seconds)
    shared = SharedBudget(links.redis, clock, reach, settings.calls_per_minute, latest_s=seconds)
    return MarketServicer(Wire(session, settings.bitget_url), own, shared)


def _service(file: Any, name: str, register: Callable[..., None], made: Any) -> tuple[Any, server.Register]:
    return file.DESCRIPTOR.services_by_name[name], lambda rpc: register(made, rpc)
