"""The vault service's manners, in memory: each of its services, on what the world holds."""

import asyncio
import hashlib
from typing import Any

from common import errors
from common.clock import timestamp
from common.rpc.server import authorization
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2 as store
from strongroom.vault.v1 import binding_store_pb2_grpc as store_grpc
from strongroom.vault.v1 import freezes_pb2 as freezes
from strongroom.vault.v1 import freezes_pb2_grpc as freezes_grpc
from strongroom.vault.v1 import revocations_pb2 as revocations
from strongroom.vault.v1 import revocations_pb2_grpc as revocations_grpc
from strongroom.vault.v1 import tenants_pb2 as tenants
from strongroom.vault.v1 import tenants_pb2_grpc as tenants_grpc
from strongroom.vault.v1 import trail_pb2 as trail
from strongroom.vault.v1 import trail_pb2_grpc as trail_grpc
from strongroom.vault.v1 import webhooks_pb2 as webhooks
from strongroom.vault.v1 import webhooks_pb2_grpc as webhooks_grpc

from services.gateway.tests.world import NOW, World


class VaultService(store_grpc.BindingStoreServicer):
    """The bindings."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _record(self, tenant: str, identifier: str) -> pb.Binding:
        record = self.world.records.get((tenant, identifier))
        if record is None:
            raise errors.NotFound(detail="A text that the gateway must not depend on.")
        return record

    async def Bind(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "bind")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        earlier = self.world.binds.get((tenant, identifier))
        if earlier is not None:
            if earlier != request:
                raise errors.IdempotencyMismatch()
            return store.BindResponse(binding=self._record(tenant, identifier), created=False)
        for (owner, bound), other in self.world.binds.items():
            if owner == tenant and other.credential.api_key == request.credential.api_key:
                raise errors.AlreadyExists(binding_id=bound)
        self.world.binds[tenant, identifier] = request
        record = self.world.put(
            tenant,
            id=identifier,
            label=request.label,
            subject=request.subject,
            scopes=request.scopes,
            revision=1,
            verdict=pb.Verdict(status=pb.STATUS_PENDING),
            whitespace_removed=request.whitespace_removed,
            key_type=request.credential.key_type,
        )
        return store.BindResponse(binding=record, created=True)

    async def WrappingKey(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "wrapping_key")
        return store.WrappingKeyResponse(public_key="a public key", fingerprint="f" * 64)

    async def Describe(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "describe")
        if tenant in self.world.stalled:
            self.world.held += 1
            await asyncio.to_thread(self.world.stalled[tenant].wait, 10)
        return store.DescribeResponse(binding=self._record(tenant, request.binding_id))

    async def List(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "list")
        page, following = self.world.page(tenant, request)
        return store.ListResponse(bindings=page, next_after=following)

    async def Stage(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "stage")
        record = self._record(tenant, request.binding_id)
        if record.verdict.status == pb.STATUS_REVOKED:
            raise errors.BindingRevoked()
        self.world.staged[tenant] = request
        key = (request.binding_id, request.idempotency_key)
        version = self.world.versions.setdefault(key, record.credential.version + 1)
        failed = record.rotation.state == pb.ROTATION_STATE_FAILED and record.rotation.credential.version == version
        if record.credential.version < version and not failed:
            info = pb.CredentialInfo(version=version, api_key_hint="bg_2…9f0a", key_type=request.credential.key_type)
            rotation = pb.Rotation(state=pb.ROTATION_STATE_VERIFYING, credential=info, started_at=timestamp(NOW))
            record.rotation.CopyFrom(rotation)
            record.revision += 1
        return store.StageResponse(binding=record, version=version, reason=record.rotation.reason if failed else "")

    async def Update(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "update")
        record = self._record(tenant, request.binding_id)
        if request.expected_revision not in (0, record.revision):
            raise errors.Aborted()
        self.world.updates[tenant] = request
        changed = bool(request.scopes) and list(request.scopes) != list(record.scopes)
        if request.scopes:
            record.ClearField("scopes")
            record.scopes.extend(request.scopes)
        for name in ("label", "subject"):
            if request.HasField(name):
                setattr(record, name, getattr(request, name))
        record.revision += 1
        return store.UpdateResponse(binding=record, scopes_changed=changed)

    async def Revoke(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "revoke")
        record = self._record(tenant, request.binding_id)
        record.verdict.CopyFrom(pb.Verdict(status=pb.STATUS_REVOKED))
        return store.RevokeResponse(binding=record)


class FreezesService(freezes_grpc.FreezesServicer):
    """The vault service's freezes, in memory: what was asked, by whom, and errors that it is told to raise."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def CreateFreeze(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "freeze")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        made = freezes.Freeze(
            id=identifier,
            target=request.target,
            reason=request.reason,
            allow_cancels=request.allow_cancels,
            made_at=timestamp(NOW),
            made_by="local",
        )
        return freezes.CreateFreezeResponse(freeze=self.world.freezes.setdefault((tenant, identifier), made))

    async def ListFreezes(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "freezes")
        mine = [one for (owner, _), one in self.world.freezes.items() if owner == tenant]
        return freezes.ListFreezesResponse(freezes=mine)

    async def LiftFreeze(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "lift")
        if self.world.freezes.pop((tenant, request.freeze_id), None) is None:
            raise errors.NotFound()
        self.world.lifted.append(request.reason)
        return freezes.LiftFreezeResponse()


class TenantsService(tenants_grpc.TenantsServicer):
    """The vault service's registry of tenants, in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def CreateTenant(self, request: Any, rpc: Any) -> Any:
        operator = self.world.enter(rpc, "create_tenant")
        name = hashlib.sha256(f"{operator}{request.idempotency_key}".encode()).hexdigest()[:26]
        made = tenants.Tenant(id=name, name=request.name, revision=1, created_at=timestamp(NOW))
        made.rules.CopyFrom(request.rules)
        made.quotas.CopyFrom(request.quotas)
        return tenants.CreateTenantResponse(tenant=self.world.tenants.setdefault(name, made), created=True)

    async def GetTenant(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get_tenant")
        return tenants.GetTenantResponse(tenant=self._found(request.tenant_id))

    async def PageTenants(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "page_tenants")
        names = sorted(name for name in self.world.tenants if name > request.after)
        page = [self.world.tenants[name] for name in names[: request.limit]]
        return tenants.PageTenantsResponse(tenants=page, next_after=page[-1].id if len(names) > len(page) else "")

    async def ChangeTenant(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "change_tenant")
        found = self._found(request.tenant_id)
        if request.expected_revision not in (0, found.revision):
            raise errors.Aborted()
        found.revision += 1
        for part in ("name", "disabled"):
            if request.HasField(part):
                setattr(found, part, getattr(request, part))
        for part in ("rules", "quotas"):
            if request.HasField(part):
                getattr(found, part).CopyFrom(getattr(request, part))
        return tenants.ChangeTenantResponse(tenant=found)

    async def Standing(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.tokens.verify(authorization(rpc)).tenant
        self.world.standings[tenant] += 1
        if "standing" in self.world.trouble[tenant]:
            raise self.world.trouble[tenant]["standing"]
        return tenants.StandingResponse(quotas=self.world.quotas.get(tenant))

    def _found(self, name: str) -> Any:
        if name not in self.world.tenants:
            raise errors.NotFound()
        return self.world.tenants[name]


class TrailService(trail_grpc.TrailServicer):
    """The vault service's trail, in memory: three lines of the tenant, and what was asked."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ReadTrail(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "trail")
        self.world.trail_asked.append(request)
        start = int(request.cursor or 3)
        entries = [
            trail.TrailEntry(
                sequence=10 + number,
                hash=f"{number:064x}",
                time=timestamp(NOW + number),
                action="sign",
                phase="outcome" if number % 2 else "intent",
                outcome="done" if number % 2 else "",
                intent=9 + number if number % 2 else 0,
                binding_id="b" * 32,
                service="worker",
                request_id=tenant,
                details={"status": "STATUS_CONNECTED"},
            )
            for number in range(start, max(0, start - request.limit), -1)
        ]
        following = str(start - request.limit) if start > request.limit else ""
        return trail.ReadTrailResponse(entries=entries, next_cursor=following, looked_back_to=timestamp(NOW))


class RevocationsService(revocations_grpc.RevocationsServicer):
    """The vault service's bulk revocation, in memory: an order is done when it is looked at."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def RevokeMany(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "revoke_many")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        taken = revocations.Revocation(
            id=identifier,
            selector=request.selector,
            reason=request.reason,
            dry_run=request.dry_run,
            state=revocations.REVOCATION_STATE_MATCHING,
            requested_at=timestamp(NOW),
            requested_by="local",
        )
        self.world.revocations[tenant, identifier] = taken
        return revocations.RevokeManyResponse(revocation=taken)

    async def DescribeRevocation(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "describe_revocation")
        found = self.world.revocations.get((tenant, request.revocation_id))
        if found is None:
            raise errors.NotFound()
        found.state, found.matched, found.revoked = revocations.REVOCATION_STATE_DONE, 3, 2
        found.finished_at.CopyFrom(timestamp(NOW + 1))
        del found.binding_ids[:], found.failed[:]
        found.binding_ids.extend(["0" * 32, "1" * 32, "2" * 32])
        found.failed.append(revocations.RevocationFailure(binding_id="1" * 32, reason="vault_unavailable"))
        return revocations.DescribeRevocationResponse(revocation=found)


class WebhooksService(webhooks_grpc.WebhooksServicer):
    """The endpoints of webhooks; a secret is its number."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _one(self, tenant: str, name: str) -> webhooks.Endpoint:
        found = [one for one in self.world.endpoints[tenant] if one.id == name]
        if not found:
            raise errors.NotFound()
        return found[0]

    async def CreateEndpoint(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "webhook")
        name = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        mine = self.world.endpoints[tenant]
        if name in {one.id for one in mine}:
            return webhooks.CreateEndpointResponse(endpoint=self._one(tenant, name))
        now = timestamp(NOW)
        made = webhooks.Endpoint(id=name, url=request.url, description=request.description, statuses=request.statuses)
        made.created_at.CopyFrom(now)
        made.secret_made_at.CopyFrom(now)
        mine.append(made)
        return webhooks.CreateEndpointResponse(endpoint=made, secret="whsec_1")

    async def ListEndpoints(self, request: Any, rpc: Any) -> Any:
        return webhooks.ListEndpointsResponse(endpoints=self.world.endpoints[self.world.enter(rpc, "webhook")])

    async def UpdateEndpoint(self, request: Any, rpc: Any) -> Any:
        found = self._one(self.world.enter(rpc, "webhook"), request.endpoint_id)
        for name in ("url", "description", "paused"):
            if request.HasField(name):
                setattr(found, name, getattr(request, name))
        if request.HasField("statuses"):
            del found.statuses[:]
            found.statuses.extend(request.statuses.statuses)
        return webhooks.UpdateEndpointResponse(endpoint=found)

    async def RemoveEndpoint(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "webhook")
        self.world.endpoints[tenant].remove(self._one(tenant, request.endpoint_id))
        return webhooks.RemoveEndpointResponse()

    async def RotateSecret(self, request: Any, rpc: Any) -> Any:
        found = self._one(self.world.enter(rpc, "webhook"), request.endpoint_id)
        return webhooks.RotateSecretResponse(endpoint=found, secret="whsec_2")
