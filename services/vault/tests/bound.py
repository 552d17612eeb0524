"""A binding of a tenant, as those who use it see it: what is bound, signed and told of it, each by its own workload."""

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

from common.rpc.client import call
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.freezes_pb2_grpc import FreezesStub
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, PURPOSE_SIGN, SignRequest, SignWebSocketLoginRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from services.vault.tests.service import World, bearer

RIGHTS = {PURPOSE_EXECUTE: "requests:execute", PURPOSE_SIGN: "requests:sign"}
SPOT_ORDER = ExchangeRequest(
    method="POST",
    path="/api/v2/spot/trade/place-order",
    body=json.dumps({"symbol": "BTCUSDT", "side": "buy", "clientOid": "ö-1"}, ensure_ascii=False).encode(),
)
FUTURES_ORDER = ExchangeRequest(method="POST", path="/api/v2/mix/order/place-order", body=b'{"symbol":"BTCUSDT"}')
CANCEL = ExchangeRequest(method="POST", path="/api/v2/spot/trade/cancel-order", body=b'{"orderId":"1"}')
FILLS = ExchangeRequest(
    method="GET", path="/api/v2/spot/trade/fills", query=[QueryParameter(name="symbol", value="BTCUSDT")]
)
WITHDRAWAL = ExchangeRequest(method="POST", path="/api/v2/spot/wallet/withdrawal", body=b'{"coin":"USDT"}')


class Bound:
    """A binding of a tenant, and the workloads that may want something of it."""

    def __init__(self, world: World, connect: Any, tenant: str, asked: pb.BindRequest) -> None:
        self.world, self.tenant, self.asked, self.id = world, tenant, asked, ""
        self.store, self.freezes = BindingStoreStub(connect("gateway")), FreezesStub(connect("gateway"))
        self.records = BindingStoreStub(connect("worker"))
        self.signer = {name: SignerStub(connect(name)) for name in ("verifier", "worker", "gateway", "client")}

    async def bind(self) -> None:
        made = await call(self.store.Bind, self.asked, timeout_s=5, authorization=bearer(self.world, self.tenant))
        self.id = made.binding.id

    async def become(self, status: int, environment: int = types.ENVIRONMENT_LIVE, revision: int = 1) -> None:
        """Record a verdict, as a worker does."""
        verdict = types.Verdict(status=status, environment=environment)  # type: ignore[arg-type]
        wanted = pb.TransitionRequest(
            binding_id=self.id, tenant_id=self.tenant, expected_revision=revision, verdict=verdict
        )
        assert (await call(self.records.Transition, wanted, timeout_s=5)).changed

    async def sign(
        self, *requests: ExchangeRequest, purpose: int = PURPOSE_EXECUTE, by: str = "verifier", **changed: Any
    ) -> Any:
        """Have requests signed as a caller with the right for it; `changed` changes what is asked or the token."""
        token = changed.pop("token", bearer(self.world, self.tenant, RIGHTS.get(purpose, "requests:sign")))
        wanted = SignRequest(**{"binding_id": self.id, "requests": requests, "purpose": purpose, **changed})
        return await call(self.signer[by].Sign, wanted, timeout_s=5, authorization=token)

    async def login(self, token: str | None = None, by: str = "verifier") -> Any:
        token = token or bearer(self.world, self.tenant, "requests:websocket")
        wanted = SignWebSocketLoginRequest(binding_id=self.id)
        return await call(self.signer[by].SignWebSocketLogin, wanted, timeout_s=5, authorization=token)

    def expected(self, message: str) -> str:
        """Return Bitget's signature of a text by this binding's secret key."""
        secret = self.asked.credential.secret_key.encode()
        return base64.b64encode(hmac.new(secret, message.encode(), hashlib.sha256).digest()).decode()

    async def signed_lines(self, told: Any) -> list[str]:
        """Return the rules of what the trail says was signed for this binding, once each intent has its outcome."""
        async with asyncio.timeout(10):
            while True:
                lines = [one for one in told(self.world.folder / "audit") if one["binding"] == self.id]
                ended = [one for one in lines if one["phase"] == "outcome"]
                if len(ended) == sum(one["phase"] == "intent" for one in lines):
                    break
                await asyncio.sleep(0.02)
        mine = [one for one in ended if one["action"] in ("sign", "websocket_login")]
        return [one["rule"] for one in mine if one["outcome"] == "done"]
