"""The verifier's manners, in memory: what it answers of the bindings that the world holds."""

from typing import Any

from strongroom.signing.v1 import signing_service_pb2 as signing
from strongroom.signing.v1 import signing_service_pb2_grpc as signing_grpc
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.types.v1 import request_pb2
from strongroom.verifier.v1 import market_service_pb2 as market
from strongroom.verifier.v1 import market_service_pb2_grpc as market_grpc
from strongroom.verifier.v1 import verification_service_pb2 as verification
from strongroom.verifier.v1 import verification_service_pb2_grpc as verification_grpc

from services.gateway.tests.world import World


class VerifierService(verification_grpc.VerificationServiceServicer):
    """The verifier's manners, in memory: every key is good while `world.verdict` holds."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def Submit(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "submit")
        self.world.submitted.append((tenant, request.binding_id, request.wait_seconds))
        record = self.world.records[tenant, request.binding_id]
        if request.only_publish:
            self.world.published.append(request.binding_id)
            return verification.SubmitResponse()
        if record.rotation.state == pb.ROTATION_STATE_VERIFYING and request.wait_seconds and self.world.verdict:
            self.world.replaced(record)
            return verification.SubmitResponse(verified=True)
        if not self.world.verdict or not request.wait_seconds or record.verdict.status == pb.STATUS_REVOKED:
            return verification.SubmitResponse(verified=False)
        self.world.connect(record)
        return verification.SubmitResponse(verified=True, observation=self.world.observations.get(record.id))

    async def Get(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get")
        return verification.GetResponse(observation=self.world.observations.get(request.binding_id))

    async def List(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get")
        seen = [self.world.observations.get(one, pb.Observation()) for one in request.binding_ids]
        return verification.ListResponse(observations=seen)

    async def Page(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "page")
        page, following = self.world.page(tenant, request)
        entries = [verification.PageEntry(binding=one, observation=self.world.observations.get(one.id)) for one in page]
        return verification.PageResponse(entries=entries, next_after=following)


class SigningService(signing_grpc.SigningServiceServicer):
    """Notes what was to be executed, and answers with the world's pieces of a body, failing after them if it is to."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def Execute(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "execute")
        self.world.executed.append((tenant, request))
        headers = [request_pb2.Header(name="content-type", value="application/json;charset=UTF-8")]
        pieces = self.world.pieces[tenant] or [b'{"code":"00000"}']
        status, reason = self.world.heads.get(tenant, (200, ""))
        head = signing.ExecuteHead(status=status, headers=headers, reason=reason)
        yield signing.ExecuteResponse(head=head, body=pieces[0])
        for piece in pieces[1:]:
            if isinstance(piece, Exception):
                raise piece
            yield signing.ExecuteResponse(body=piece)


class MarketService(market_grpc.MarketServiceServicer):
    """Notes what was asked of the market."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def Ask(self, request: Any, rpc: Any) -> Any:
        self.world.asked.append((request, dict(rpc.invocation_metadata())))
        headers = [request_pb2.Header(name="content-type", value="application/json")]
        yield market.AskResponse(status=200, headers=headers, body=b'{"code":"00000"}')
