"""What the services behind the gateway hold in memory, what they were asked, and what goes wrong for whom.

Their manners are in vault_in_memory.py and verifier_in_memory.py.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from common.clock import timestamp
from common.rpc.server import authorization
from common.tokens import TokenVerifier
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2 as store
from strongroom.vault.v1 import freezes_pb2 as freezes
from strongroom.vault.v1 import revocations_pb2 as revocations
from strongroom.vault.v1 import tenants_pb2 as tenants
from strongroom.vault.v1 import trail_pb2 as trail
from strongroom.vault.v1 import webhooks_pb2 as webhooks

NOW = 1_795_000_000


class World:
    """What the services behind the gateway hold, what they were asked, and what goes wrong for whom."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self.tokens = tokens
        self.records: dict[tuple[str, str], pb.Binding] = {}
        self.binds: dict[tuple[str, str], store.BindRequest] = {}
        self.observations: dict[str, pb.Observation] = {}
        self.trouble: defaultdict[str, dict[str, Exception]] = defaultdict(dict)
        self.submitted: list[tuple[str, str, int]] = []
        self.metadata: list[dict[str, Any]] = []
        self.freezes: dict[tuple[str, str], freezes.Freeze] = {}
        self.trail_asked: list[trail.ReadTrailRequest] = []
        self.lifted: list[str] = []
        self.stalled: dict[str, threading.Event] = {}
        self.held = 0
        self.quotas: dict[str, tenants.TenantQuotas] = {}
        self.staged: dict[str, store.StageRequest] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.updates: dict[str, store.UpdateRequest] = {}
        self.published: list[str] = []
        self.refusal = ""  # why replacements are given up, if they are
        self.tenants: dict[str, tenants.Tenant] = {}
        self.standings: Counter[str] = Counter()
        self.revocations: dict[tuple[str, str], revocations.Revocation] = {}
        self.executed: list[tuple[str, Any]] = []
        self.asked: list[tuple[Any, dict[str, Any]]] = []
        self.pieces: defaultdict[str, list[Any]] = defaultdict(list)
        self.heads: dict[str, tuple[int, str]] = {}
        self.verdict = True
        self.endpoints: defaultdict[str, list[webhooks.Endpoint]] = defaultdict(list)

    def enter(self, rpc: Any, operation: str) -> str:
        """Return the caller's tenant; raise what is to go wrong for it in `operation`."""
        self.metadata.append(dict(rpc.invocation_metadata()))
        tenant = self.tokens.verify(authorization(rpc)).tenant
        if operation in self.trouble[tenant]:
            raise self.trouble[tenant][operation]
        return tenant

    def page(self, tenant: str, request: Any) -> tuple[list[pb.Binding], str]:
        """Return the tenant's records that `request` asks for, and the next `after`."""
        mine = sorted((r for (owner, _), r in self.records.items() if owner == tenant), key=lambda r: r.id)
        mine = [r for r in mine if r.id > request.after and request.subject in ("", r.subject)]
        mine = [r for r in mine if request.status in (pb.STATUS_UNSPECIFIED, r.verdict.status)]
        page = mine[: request.limit]
        return page, page[-1].id if len(mine) > len(page) else ""

    def put(self, tenant: str, **fields: Any) -> pb.Binding:
        """Keep and return a connected binding."""
        identifier = fields.pop("id", "".join(random.choices("0123456789abcdef", k=32)))
        record = pb.Binding(
            id=identifier,
            tenant_id=tenant,
            exchange=pb.EXCHANGE_BITGET,
            revision=fields.pop("revision", 2),
            created_at=timestamp(NOW),
            updated_at=timestamp(NOW),
            scopes=fields.pop("scopes", [pb.SCOPE_SPOT]),
            verdict=fields.pop("verdict", pb.Verdict(status=pb.STATUS_CONNECTED)),
            credential=pb.CredentialInfo(
                version=1,
                key_type=fields.pop("key_type", pb.KEY_TYPE_HMAC),
                api_key_hint="bg_1…9f0a",
                stored_at=timestamp(NOW),
            ),
            **fields,
        )
        self.records[tenant, identifier] = record
        return record

    def replaced(self, record: pb.Binding) -> None:
        """Do what a verification of a replacement does."""
        if self.refusal:
            record.rotation.state, record.rotation.reason = pb.ROTATION_STATE_FAILED, self.refusal
            record.rotation.findings.add(code=self.refusal, remedy="Do this.", severity=pb.SEVERITY_ERROR)
        else:
            record.credential.CopyFrom(record.rotation.credential)
            record.ClearField("rotation")
        record.revision += 1

    def connect(self, record: pb.Binding) -> None:
        """Do what a verification of a good key does."""
        record.verdict.CopyFrom(
            pb.Verdict(
                status=pb.STATUS_CONNECTED,
                environment=pb.ENVIRONMENT_LIVE,
                account=pb.Account(uid="77", mode=pb.ACCOUNT_MODE_UNIFIED, keys_limit=10),
                permissions=pb.Permissions(read=pb.ANSWER_YES, withdraw=pb.ANSWER_NO),
                ip_whitelist=pb.IpWhitelist(bound=True, addresses=["203.0.113.7"]),
                strategies=[pb.Strategy(id="spot_trading", available=True)],
            )
        )
        record.revision += 1
        self.observations[record.id] = self.observation()

    @staticmethod
    def observation(age: float = 0) -> pb.Observation:
        """Return an observation with balances that are `age` seconds old."""
        then = timestamp(time.time() - age)
        held = pb.Balances(
            total_usdt="1000.50", as_of=then, spot=[pb.CoinBalance(coin="BTC", available="1", locked="0", total="1")]
        )
        return pb.Observation(balances=held, last_verified_at=then)
