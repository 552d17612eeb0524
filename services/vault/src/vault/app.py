"""Own the putting together of the vault service, its start, its duties and its end."""

import asyncio
import contextlib
import random
from typing import Final

import grpc
from common import lifecycle, logs
from common.clock import Clock, SystemClock
from common.errors import StrongroomError, Unavailable
from common.lifecycle import DRAIN_S
from common.rpc import server as rpc_server
from common.rpc.health import Health
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from strongroom.vault.v1 import (
    binding_store_pb2,
    freezes_pb2,
    revocations_pb2,
    signer_pb2,
    tenants_pb2,
    trail_pb2,
    webhooks_pb2,
)
from strongroom.vault.v1.binding_store_pb2_grpc import add_BindingStoreServicer_to_server
from strongroom.vault.v1.freezes_pb2_grpc import add_FreezesServicer_to_server
from strongroom.vault.v1.revocations_pb2_grpc import add_RevocationsServicer_to_server
from strongroom.vault.v1.signer_pb2_grpc import add_SignerServicer_to_server
from strongroom.vault.v1.tenants_pb2_grpc import add_TenantsServicer_to_server
from strongroom.vault.v1.trail_pb2_grpc import add_TrailServicer_to_server
from strongroom.vault.v1.webhooks_pb2_grpc import add_WebhooksServicer_to_server

from vault import (
    freezes_servicer,
    measures,
    purposes,
    revocations_servicer,
    tenants_servicer,
    trail_servicer,
    webhooks_servicer,
)
from vault.actor import Admission
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.days import Days
from vault.enrolment import Enrolments
from vault.freezer import Freezer
from vault.freezes_servicer import KillSwitches
from vault.hashicorp import preflight, server
from vault.hashicorp.directory import VaultDirectory
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue, OwnKeyValue
from vault.hashicorp.login import Logins, signer_role
from vault.hashicorp.transit import Transit
from vault.heads import Heads
from vault.history import History
from vault.listing import Listing
from vault.reconcile import Reconciler
from vault.records import Records
from vault.registry import Registry
from vault.revocations import Revocations
from vault.revocations_servicer import BulkRevocation
from vault.room import Room
from vault.rotation import Rotations
from vault.servicer import CALLERS, Oracle, Store
from vault.settings import VaultSettings
from vault.settlement import Settlements
from vault.signer import Signer
from vault.steps import Steps
from vault.tenants import Tenants
from vault.tenants_servicer import Administration
from vault.trail_servicer import Trails
from vault.update import Updates
from vault.webhooks import Webhooks
from vault.webhooks_servicer import Endpoints

CANARY_S: Final = 2.0
RECONCILE_S: Final = 300.0
PREFLIGHT_S: Final = 0.5
HEADS_S: Final = 1.0


class App:
    """The service on its collaborators; `serve` runs it until told to stop."""

    def __init__(self, settings: VaultSettings, clock: Clock | None = None, steps: Steps | None = None) -> None:
        self._clock = clock = clock or SystemClock()
        self._http = VaultHttp(settings.connection, Logins(settings.connection, settings.login_key_file, clock))
        self._transit = Transit(self._http)
        self._directory = VaultDirectory(self._http)
        self._audit = AuditLog(settings.audit_folder, clock, settings.audit_file_mb << 20)
        self._health = Health(settings.health_address)
        documents, own = KeyValue(self._http), OwnKeyValue(self._http)
        self._heads = Heads(self._audit, self._transit, own, clock)
        tokens = TokenVerifier(settings.jwt_issuer, settings.jwks_file, clock)
        admission = Admission(tokens, Registry(own, clock))
        room = Room(own, Records(documents), self._directory, clock)
        bindings = Bindings(documents, own, self._transit, self._audit, clock, room=room, steps=steps)
        freezer = Freezer(own, bindings.records, self._audit, clock)
        settlements = Settlements(
            bindings=bindings, documents=documents, keys=self._transit, audit=self._audit, clock=clock, steps=steps
        )
        rotations = Rotations(
            bindings=bindings,
            settlements=settlements,
            documents=documents,
            keys=self._transit,
            audit=self._audit,
            clock=clock,
            steps=steps,
        )
        self._reconciler = Reconciler(
            bindings=bindings,
            settlements=settlements,
            documents=documents,
            directory=self._directory,
            room=room,
            audit=self._audit,
            clock=clock,
        )
        enrolments = Enrolments(documents, own, self._audit)
        self._store = Store(
            bindings=bindings,
            rotations=rotations,
            settlements=settlements,
            updates=Updates(bindings.records, self._audit, clock),
            enrolments=enrolments,
            listing=Listing(documents, self._directory),
            freezer=freezer,
            admission=admission,
        )
        reading, days = KeyValue(self._http, signer_role), Days(own, clock)
        signer = Signer(reading, self._transit, self._audit, purposes.load(), freezer=freezer, days=days, clock=clock)
        self._oracle = Oracle(signer, admission)
        self._trails = Trails(History(self._audit), admission)
        self._switches = KillSwitches(freezer, tokens)
        self._revocations = Revocations(bindings, enrolments, documents, own, self._audit, clock=clock, steps=steps)
        self._bulk = BulkRevocation(self._revocations, tokens)
        tenants = Tenants(own, self._directory, self._audit, clock)
        self._administration = Administration(tenants, admission)
        self._endpoints = Endpoints(Webhooks(documents, self._audit, clock), self._directory, admission)
        self._settings = settings

    async def serve(self, stopping: asyncio.Event) -> None:
        """Run until `stopping`; raises WrongRights, PermissionDenied or ChainBroken when Vault or the audit trail
        is not as it must be."""
        self._audit.start()
        async with self._http:
            await self._health.start()
            try:
                await self._preflight(stopping)
                if not stopping.is_set():
                    await self._until_stopped(stopping)
            finally:
                await self._health.stop()
                await self._audit.stop()

    async def _until_stopped(self, stopping: asyncio.Event) -> None:
        rpc = self._server()
        await rpc.start()
        logs.get().info("serving", address=self._settings.listen)
        canary = asyncio.create_task(lifecycle.until(stopping, CANARY_S, self._canary))
        duties = [
            asyncio.create_task(lifecycle.until(stopping, HEADS_S, self._heads.round)),
            asyncio.create_task(self._reconcile(stopping)),
            asyncio.create_task(self._revocations.run(stopping)),
        ]
        await stopping.wait()
        canary.cancel()  # it must not say that we are ready once more
        await asyncio.gather(canary, return_exceptions=True)
        await self._health.ready(False)
        await rpc.stop(DRAIN_S)
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await self._revocations.stop()
        await self._heads.close()
        logs.get().info("stopped")

    def _server(self) -> grpc.aio.Server:
        return rpc_server.build(
            self._settings.listen,
            Identity.of(self._settings),
            {
                **CALLERS,
                **freezes_servicer.CALLERS,
                **revocations_servicer.CALLERS,
                **tenants_servicer.CALLERS,
                **trail_servicer.CALLERS,
                **webhooks_servicer.CALLERS,
            },
            self._settings.trust_domain,
            [
                (
                    binding_store_pb2.DESCRIPTOR.services_by_name["BindingStore"],
                    lambda server: add_BindingStoreServicer_to_server(self._store, server),
                ),
                (
                    signer_pb2.DESCRIPTOR.services_by_name["Signer"],
                    lambda server: add_SignerServicer_to_server(self._oracle, server),
                ),
                (
                    freezes_pb2.DESCRIPTOR.services_by_name["Freezes"],
                    lambda server: add_FreezesServicer_to_server(self._switches, server),
                ),
                (
                    revocations_pb2.DESCRIPTOR.services_by_name["Revocations"],
                    lambda server: add_RevocationsServicer_to_server(self._bulk, server),
                ),
                (
                    trail_pb2.DESCRIPTOR.services_by_name["Trail"],
                    lambda server: add_TrailServicer_to_server(self._trails, server),
                ),
                (
                    tenants_pb2.DESCRIPTOR.services_by_name["Tenants"],
                    lambda server: add_TenantsServicer_to_server(self._administration, server),
                ),
                (
                    webhooks_pb2.DESCRIPTOR.services_by_name["Webhooks"],
                    lambda server: add_WebhooksServicer_to_server(self._endpoints, server),
                ),
            ],
        )

    async def _preflight(self, stopping: asyncio.Event) -> None:
        """Wait for Vault, then make sure of our own rights there."""
        while not stopping.is_set():
            try:
                await self._safe()
                await preflight.check(self._http)
                await self._heads.begin()
                return
            except Unavailable as error:
                if self._http.unfit:
                    raise preflight.WrongRights(self._http.unfit) from None
                logs.get().warning("waiting_for_vault", reason=error.reason)
            await lifecycle.pause(stopping, PREFLIGHT_S)

    async def _safe(self) -> None:
        """Raise WrongRights, in the production profile, for a server that is unfit for it."""
        if self._settings.profile == "production":
            found = await asyncio.to_thread(server.unsafe, self._settings.connection)
            if found:
                raise preflight.WrongRights(f"refused in production: {'; '.join(found)}")

    async def _canary(self) -> None:
        try:
            await self._transit.canary()
        except StrongroomError as error:
            measures.CANARY.of("failed").inc()
            logs.get().warning("not_ready", reason=error.reason)
            await self._health.ready(False)
        else:
            measures.CANARY.of("done").inc()
            measures.CANARY_AT.set(self._clock.unix())
            await self._health.ready(True)

    async def _reconcile(self, stopping: asyncio.Event) -> None:
        """Tidy at the start and then every few minutes, not in step with other processes."""
        while not stopping.is_set():
            with contextlib.suppress(StrongroomError):
                await self._reconciler.round()
                measures.TIDY_AT.set(self._clock.unix())
            await lifecycle.pause(stopping, RECONCILE_S * random.uniform(0.8, 1.2))  # noqa: S311  not a secret
