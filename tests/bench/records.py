"""Own the invented records: bindings as the vault service stores them, with a verdict of the usual size."""

import hashlib
from collections.abc import Sequence

from common.clock import timestamp
from google.protobuf import json_format
from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import (
    ANSWER_NO,
    ANSWER_YES,
    EXCHANGE_BITGET,
    KEY_TYPE_HMAC,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    STATUS_CONNECTED,
    STATUS_DISCONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    STATUS_REJECTED,
    Account,
    Binding,
    CredentialInfo,
    Evidence,
    Finding,
    IpWhitelist,
    Permissions,
    Status,
    Strategy,
    Verdict,
)
from vault.records import Record

PER_SUBJECT = 10
# Of twenty bindings in a row; the rest is connected.
UNUSUAL: dict[int, Status.ValueType] = {
    3: STATUS_LIMITED,
    7: STATUS_LIMITED,
    11: STATUS_REJECTED,
    17: STATUS_DISCONNECTED,
}


def status_of(number: int) -> Status.ValueType:
    """Return the status of the binding with this number."""
    return UNUSUAL.get(number % 20, STATUS_CONNECTED)


def binding_id(tenant: str, number: int) -> str:
    """Return the id of a tenant's binding `number`; ids are spread as real ones are."""
    return _digest(tenant, number)[:32]


def record(tenant: str, number: int, now: float, status: Status.ValueType | None = None) -> Record:
    """Return the record of a tenant's binding `number`."""
    digest = _digest(tenant, number)
    status = status_of(number) if status is None else status
    binding = Binding(
        id=binding_id(tenant, number),
        tenant_id=tenant,
        exchange=EXCHANGE_BITGET,
        label=f"key {number}",
        subject=f"customer-{number // PER_SUBJECT}",
        scopes=[SCOPE_SPOT, SCOPE_FUTURES],
        created_at=timestamp(now - 40 * 86_400),
        updated_at=timestamp(now - 86_400),
        credential=CredentialInfo(
            version=1, key_type=KEY_TYPE_HMAC, api_key_hint="bg_12…9f0a", stored_at=timestamp(now - 40 * 86_400)
        ),
        proven=status not in (STATUS_PENDING, STATUS_REJECTED),
        revision=1,
    )
    binding.verdict.CopyFrom(_verdict(number, status))
    return Record(binding, digest, digest)


def stored(made: Record) -> dict[str, object]:
    """Return the record as the document that is written."""
    shown = json_format.MessageToDict(made.binding, preserving_proto_field_name=True)
    return {"binding": shown, "fingerprint": made.fingerprint, "request_digest": made.request_digest}


def _digest(tenant: str, number: int) -> str:
    return hashlib.sha256(f"{tenant} {number}".encode()).hexdigest()


def _verdict(number: int, status: Status.ValueType) -> Verdict:
    if status == STATUS_PENDING:
        return Verdict(status=status)
    unified = number % 2 == 0
    mode = binding_pb2.ACCOUNT_MODE_UNIFIED if unified else binding_pb2.ACCOUNT_MODE_CLASSIC
    verdict = Verdict(
        status=status,
        environment=binding_pb2.ENVIRONMENT_LIVE,
        account=Account(uid=str(8_000_000_000 + number), mode=mode, keys_bound=1, keys_limit=10),
        permissions=Permissions(
            read=ANSWER_YES, spot_trade=ANSWER_YES, futures_trade=ANSWER_YES, transfer=ANSWER_NO, withdraw=ANSWER_NO
        ),
        ip_whitelist=IpWhitelist(bound=True, addresses=["127.0.0.1"]),
        findings=_findings(status),
        strategies=[Strategy(id=name, available=True) for name in ("spot_trading", "usdt_futures", "usdc_futures")],
    )
    verdict.strategies.append(Strategy(id="coin_futures", available=False, reasons=["no_balance"]))
    return verdict


def _findings(status: Status.ValueType) -> Sequence[Finding]:
    if status == STATUS_CONNECTED:
        return ()
    told = Evidence(
        endpoint="GET /api/v3/account/info", exchange_code="40037", exchange_message="Apikey does not exist"
    )
    text = "A sentence or two of explanation, about as long as the ones that customers are shown in the console."
    return [
        Finding(
            code="invalid_api_key",
            severity=binding_pb2.SEVERITY_ERROR,
            title="Something is wrong",
            detail=text,
            remedy=text,
            actor=binding_pb2.ACTOR_CUSTOMER,
            evidence=told,
        )
    ]
