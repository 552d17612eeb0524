"""What REST answers, as frozen dataclasses. Made from openapi.json by scripts/client_resources.py.

Amounts are decimal texts, times are RFC 3339 texts in UTC; what is not known is None. Never edit this file.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line: an action that was about to be done, what became of one, or one that policy refused."""

    sequence: int
    hash: str
    time: str
    action: str
    phase: Literal["intent", "outcome", "refused"]
    outcome: str | None
    intent: int | None
    binding_id: str | None
    service: str
    subject: str | None
    client: str | None
    method: str | None
    path: str | None
    rule: str | None
    request_digest: str | None
    request_id: str | None
    vault_request_id: str | None
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class Account:
    """The exchange account behind the key."""

    uid: str | None
    parent_uid: str | None
    mode: Literal["classic", "unified"] | None
    keys_bound: int | None
    keys_limit: int | None


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the key may do; `unknown` is never `no`."""

    read: Literal["yes", "no", "unknown"]
    spot_trade: Literal["yes", "no", "unknown"]
    futures_trade: Literal["yes", "no", "unknown"]
    margin_trade: Literal["yes", "no", "unknown"]
    copy_trade: Literal["yes", "no", "unknown"]
    transfer: Literal["yes", "no", "unknown"]
    withdraw: Literal["yes", "no", "unknown"]
    sub_accounts: Literal["yes", "no", "unknown"]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IpWhitelist:
    """The key's IP list, and which of our addresses it lacks."""

    bound: bool | None
    addresses: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked and what the exchange said."""

    endpoint: str | None
    exchange_code: str | None
    exchange_message: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell a person, who can do something about it, and how."""

    code: str
    severity: Literal["error", "warning", "info"]
    title: str
    detail: str
    remedy: str
    actor: Literal["customer", "operator", "exchange"]
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Strategy:
    """Whether one kind of strategy can run with this key."""

    id: str
    available: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoinBalance:
    """One coin of the spot wallet; decimal strings, null where the exchange did not tell."""

    coin: str
    available: str | None
    locked: str | None
    total: str | None


@dataclass(frozen=True, slots=True)
class FuturesBalance:
    """One margin coin of a futures account; decimal strings, null where the exchange did not tell."""

    product: str
    coin: str
    available: str | None
    equity: str | None
    unrealized_pnl: str | None


@dataclass(frozen=True, slots=True)
class Balances:
    """What the account held at `as_of`."""

    total_usdt: str | None
    spot: tuple[CoinBalance, ...]
    futures: tuple[FuturesBalance, ...]
    as_of: str


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """What is known of the stored credential; never the credential."""

    version: int
    key_type: Literal["hmac", "rsa"]
    api_key_hint: str
    stored_at: str | None
    age_days: int | None
    rotate_by: str | None
    sealed: bool


@dataclass(frozen=True, slots=True)
class Rotation:
    """A replacement of the credential that is under way, or that failed last."""

    state: Literal["verifying", "fencing", "failed"]
    version: int
    key_type: Literal["hmac", "rsa"]
    api_key_hint: str
    started_at: str | None
    reason: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """One bound exchange key."""

    id: str
    exchange: Literal["bitget"]
    label: str
    subject: str
    scopes: tuple[Literal["spot", "futures"], ...]
    created_at: str
    updated_at: str
    status: Literal["pending", "connected", "limited", "rejected", "disconnected", "revoked"]
    reason: str | None
    stale: bool
    environment: Literal["live", "demo"] | None
    account: Account
    permissions: Permissions
    unknown_tokens: tuple[str, ...]
    ip_whitelist: IpWhitelist
    findings: tuple[Finding, ...]
    strategies: tuple[Strategy, ...]
    balances: Balances | None
    credential: CredentialInfo
    rotation: Rotation | None
    last_verified_at: str | None
    next_verification_at: str | None
    etag: str | None = None  # of the answer that showed it alone; None in a list


@dataclass(frozen=True, slots=True)
class Change:
    """One fact of the binding that is not as it was when the event before this one was written."""

    field: str
    before: str | int | bool | tuple[str, ...] | None
    after: str | int | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """The `data` of a `binding.status` event."""

    id: str
    type: Literal["binding.status"]
    binding_id: str
    status: Literal["pending", "connected", "limited", "rejected", "disconnected", "revoked"]
    reason: str | None
    stale: bool
    findings: tuple[str, ...]
    changes: tuple[Change, ...]
    revision: int
    occurred_at: str


@dataclass(frozen=True, slots=True)
class GuideStep:
    """One step of what the customer does at the exchange."""

    id: str
    title: str
    text: str
    rsa: str | None


@dataclass(frozen=True, slots=True)
class Recommended:
    """The permissions to tick for a scope, in the words of the exchange's dialog, by account mode."""

    classic: tuple[str, ...]
    unified: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange allows."""

    keys_per_account: int
    addresses_per_key: int
    address_rule: str
    new_key_delay_s: int
    rsa_key_bits: tuple[int, ...]
    passphrase_rule: str


@dataclass(frozen=True, slots=True)
class CommonError:
    """A reason that bindings fail for, and what solves it."""

    reasons: tuple[str, ...]
    title: str
    remedy: str


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """The public key that secrets are encrypted to, so that nobody but the key vault can open them, and how."""

    public_key: str
    fingerprint: str
    algorithm: str
    parameters: dict[str, str]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExchangeGuide:
    """Everything a customer needs to make a key that works."""

    exchange: Literal["bitget"]
    before: tuple[str, ...]
    steps: tuple[GuideStep, ...]
    egress_addresses: tuple[str, ...]
    permissions: dict[str, Recommended]
    unneeded: tuple[str, ...]
    limits: Limits
    errors: tuple[CommonError, ...]
    good_practice: tuple[str, ...]
    wrapping_key: WrappingKey | None


@dataclass(frozen=True, slots=True)
class Target:
    """What is frozen; null where a field does not belong to the kind."""

    kind: Literal["binding", "subject", "tenant", "exchange", "everything"]
    tenant: str | None
    binding_id: str | None
    subject: str | None
    exchange: Literal["bitget"] | None


@dataclass(frozen=True, slots=True)
class Freeze:
    """One active freeze."""

    id: str
    target: Target
    reason: str
    allow_cancels: bool
    made_at: str
    made_by: str


@dataclass(frozen=True, slots=True)
class FreezeList:
    """Every active freeze, the oldest first."""

    items: tuple[Freeze, ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """What was asked; null for what was not given."""

    tenant: str
    subject: str | None
    label: str | None
    bound_after: str | None
    bound_before: str | None


@dataclass(frozen=True, slots=True)
class RevocationFailure:
    """A binding that could not be ended yet; it is tried again."""

    binding_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """How far a bulk revocation is."""

    id: str
    selector: Selected
    reason: str
    dry_run: bool
    state: Literal["matching", "revoking", "done"]
    requested_at: str
    requested_by: str
    finished_at: str | None
    matched: int
    revoked: int
    failed: tuple[RevocationFailure, ...]
    binding_ids: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What holds for the tenant's bindings."""

    errors: tuple[str, ...]
    rotation_days: int
    denied_capabilities: tuple[str, ...]
    denied_calls: tuple[str, ...]
    symbols: tuple[str, ...]
    max_order_notional: str
    max_daily_notional: str


@dataclass(frozen=True, slots=True)
class TenantQuotas:
    """How much the tenant may ask; 0 is what is usual."""

    requests_per_minute: int
    concurrency: int
    bindings: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant."""

    id: str
    name: str
    rules: TenantRules
    quotas: TenantQuotas
    disabled: bool
    created_at: str | None
    etag: str | None = None  # of the answer that showed it alone; None in a list


@dataclass(frozen=True, slots=True)
class Webhook:
    """One endpoint."""

    id: str
    url: str
    description: str
    statuses: tuple[Literal["pending", "connected", "limited", "rejected", "disconnected", "revoked"], ...]
    paused: bool
    created_at: str
    secret_made_at: str


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """An endpoint, and its signing secret if it was made just now."""

    webhook: Webhook
    secret: str | None


@dataclass(frozen=True, slots=True)
class WebhookList:
    """Every endpoint of the tenant, the oldest first."""

    items: tuple[Webhook, ...]


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """One attempt to deliver a message."""

    at: str
    message_id: str
    binding_id: str | None
    attempt: int
    status: int | None
    delivered: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class WebhookAttempts:
    """The last hundred attempts, the newest first."""

    items: tuple[WebhookAttempt, ...]


@dataclass(frozen=True, slots=True)
class WebhookDeadLetter:
    """A message that was given up after three days."""

    message_id: str
    binding_id: str | None
    given_up_at: str
    reason: str


@dataclass(frozen=True, slots=True)
class WebhookDeadLetters:
    """The dead letters, the oldest first; at most the last thousand."""

    items: tuple[WebhookDeadLetter, ...]


@dataclass(frozen=True, slots=True)
class WebhookReplay:
    """What is delivered again."""

    replayed: int


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field that is wrong."""

    field: str
    code: str
    message: str
