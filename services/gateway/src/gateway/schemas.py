"""Own the shapes of the REST contract: what a bind request may hold, and what each answer looks like.

Requests are strict: unknown fields, wrong types and conversions are refused. Credentials become secrets here.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from gateway import using
from gateway.pasted import ABSENT, ApiKey, Passphrase, SecretKey
from gateway.wrapped import Fingerprint, WrappedSecret, WrappingKey

Scope = Literal["spot", "futures"]
Status = Literal["pending", "connected", "limited", "rejected", "disconnected", "revoked"]
Answer = Literal["yes", "no", "unknown"]
CREDENTIAL_FIELDS = ("api_key", "secret_key", "passphrase")


def printable(value: str) -> str:
    """Return a text of printable characters; anything else is refused."""
    if not value.isprintable():
        raise PydanticCustomError("not_printable", "not printable")
    return value


def _unique(value: list[Scope]) -> list[Scope]:
    if len(set(value)) != len(value):
        raise PydanticCustomError("not_unique", "not unique")
    return value


class Request(BaseModel):
    """The base of what callers send."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Credential(Request):
    """The three values of an exchange key, as the customer copied them; the secret may come wrapped instead.

    Exactly one of `secret_key` and `wrapped_secret`.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["secret_key"]}, {"required": ["wrapped_secret"]}]}
    )
    key_type: Annotated[
        Literal["hmac", "rsa"],
        Field(description="`hmac` for a system-generated key, `rsa` for a user-generated one."),
    ] = "hmac"  # stands first: the secret key is checked as what this says
    api_key: ApiKey
    wrapped_secret: WrappedSecret  # stands before the secret key, whose check asks whether it is there
    secret_key: Annotated[SecretKey, Field(default_factory=lambda: ABSENT, validate_default=True)]
    passphrase: Passphrase
    wrapping_key_fingerprint: Fingerprint

    @property
    def cleaned(self) -> list[str]:
        """The names of the fields from which white space or invisible characters were removed."""
        pasted = {name: getattr(self, name) for name in CREDENTIAL_FIELDS}
        return [name for name, value in pasted.items() if value is not None and value.cleaned]


class BindRequest(Request):
    """Bind one exchange key of one of the tenant's customers."""

    exchange: Literal["bitget"]
    label: Annotated[str, Field(max_length=64), AfterValidator(printable)] = ""
    subject: Annotated[
        str, Field(max_length=128, description="The tenant's own customer id."), AfterValidator(printable)
    ] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=2), AfterValidator(_unique)]
    credential: Credential


class RotateRequest(Request):
    """Replace the credential of a binding by another key of the same account."""

    credential: Credential


def _exact(value: Any) -> Any:
    """Refuse numbers with a fraction: their text changes on the way, and the exchange takes amounts as texts."""
    if isinstance(value, float):
        raise PydanticCustomError("not_exact", "a fraction")
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _exact(one)
    return value


class ExecuteRequest(Request):
    """One request to the exchange. A GET has a query and no body, a POST a body and no query."""

    method: Literal["GET", "POST"]
    path: Annotated[str, Field(pattern=f"^{using.PATH.pattern}$", max_length=512)]
    query: dict[str, str] = Field(default={}, description="Raw texts, not percent-encoded.")
    body: Annotated[Any, AfterValidator(_exact)] = Field(
        default=None, description="Any JSON; amounts as texts, as the exchange takes them. Absent: no body."
    )


class UpdateRequest(Request):
    """What of a binding is to be changed; what is missing stays. Null takes a label or subject away."""

    label: Annotated[str, Field(max_length=64), AfterValidator(printable)] | None = None
    subject: Annotated[str, Field(max_length=128), AfterValidator(printable)] | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=2), AfterValidator(_unique)] = []


class Evidence(BaseModel):
    """What was asked and what the exchange said."""

    endpoint: str | None
    exchange_code: str | None
    exchange_message: str | None


class Finding(BaseModel):
    """One thing to tell a person, who can do something about it, and how."""

    code: str
    severity: Literal["error", "warning", "info"]
    title: str
    detail: str
    remedy: str
    actor: Literal["customer", "operator", "exchange"]
    evidence: Evidence | None


class Account(BaseModel):
    """The exchange account behind the key."""

    uid: str | None
    parent_uid: str | None
    mode: Literal["classic", "unified"] | None
    keys_bound: int | None = Field(
        description="How many keys of this account the tenant has bound, live and demo ones together; null before "
        "it is known."
    )
    keys_limit: int | None


class Permissions(BaseModel):
    """What the key may do; `unknown` is never `no`."""

    read: Answer
    spot_trade: Answer
    futures_trade: Answer
    margin_trade: Answer
    copy_trade: Answer
    transfer: Answer
    withdraw: Answer
    sub_accounts: Answer
    tokens: list[str] = Field(
        description="Every word of the exchange's list and its read-write switch, as it spelled them, sorted."
    )


class IpWhitelist(BaseModel):
    """The key's IP list, and which of our addresses it lacks."""

    bound: bool | None
    addresses: list[str]
    missing: list[str]


class Strategy(BaseModel):
    """Whether one kind of strategy can run with this key."""

    id: str
    available: bool
    reasons: list[str]


class CoinBalance(BaseModel):
    """One coin of the spot wallet; decimal strings, null where the exchange did not tell."""

    coin: str
    available: str | None
    locked: str | None
    total: str | None


class FuturesBalance(BaseModel):
    """One margin coin of a futures account; decimal strings, null where the exchange did not tell."""

    product: str
    coin: str
    available: str | None
    equity: str | None
    unrealized_pnl: str | None


class Balances(BaseModel):
    """What the account held at `as_of`."""

    total_usdt: str | None = Field(description="Null when the exchange did not value everything.")
    spot: list[CoinBalance]
    futures: list[FuturesBalance]
    as_of: str


class CredentialInfo(BaseModel):
    """What is known of the stored credential; never the credential."""

    version: int
    key_type: Literal["hmac", "rsa"]
    api_key_hint: str
    stored_at: str | None
    age_days: int | None
    rotate_by: str | None = Field(description="When the tenant's rules ask for a new key; null without such a rule.")
    sealed: bool


class Rotation(BaseModel):
    """A replacement of the credential that is under way, or that failed last."""

    state: Literal["verifying", "fencing", "failed"] = Field(
        description="`verifying`: the old credential is in use. `fencing`: the new one is, and the old one is being "
        "destroyed. `failed`: the old one is in use, and stays so."
    )
    version: int = Field(description="The number of the replacement; 0 while it is being stored.")
    key_type: Literal["hmac", "rsa"]
    api_key_hint: str
    started_at: str | None
    reason: str | None = Field(description="Why it failed: a `reason`, `interrupted` or `exchange_unavailable`.")
    findings: list[Finding] = Field(description="Why it failed and what to do, or what was noticed of it last.")


class Binding(BaseModel):
    """One bound exchange key."""

    id: str
    exchange: Literal["bitget"]
    label: str
    subject: str
    scopes: list[Scope]
    created_at: str
    updated_at: str
    status: Status
    reason: str | None
    stale: bool = Field(description="True while the exchange cannot be asked; status keeps its last proven value.")
    environment: Literal["live", "demo"] | None
    account: Account
    permissions: Permissions
    unknown_tokens: list[str]
    ip_whitelist: IpWhitelist
    findings: list[Finding] = Field(description="The verdict's, then what else was noticed last.")
    strategies: list[Strategy]
    balances: Balances | None
    credential: CredentialInfo
    rotation: Rotation | None = Field(description="Null when the last replacement has succeeded or there was none.")
    last_verified_at: str | None
    next_verification_at: str | None


class BindingPage(BaseModel):
    """One page of the tenant's bindings, in a stable order."""

    items: list[Binding]
    next_cursor: str | None


class Change(BaseModel):
    """One fact of the binding that is not as it was when the event before this one was written."""

    field: str = Field(
        description="Where in the binding, with dots: `status`, `account.mode`, `permissions.withdraw`, "
        "`ip_whitelist.addresses`; `findings` are told by their codes, `strategies` by the ids of those available."
    )
    before: str | int | bool | list[str] | None = Field(description="As the binding shows the field; null when unset.")
    after: str | int | bool | list[str] | None = Field(description="As the binding shows the field; null when unset.")


class StatusEvent(BaseModel):
    """The `data` of a `binding.status` event."""

    id: str
    type: Literal["binding.status"]
    binding_id: str
    status: Status
    reason: str | None
    stale: bool
    findings: list[str]
    changes: list[Change] = Field(
        description="Sorted by field; empty in the first event of a binding, and where only words changed."
    )
    revision: int
    occurred_at: str


class GuideStep(BaseModel):
    """One step of what the customer does at the exchange."""

    id: str
    title: str
    text: str
    rsa: str | None = Field(description="What is different with a user-generated (RSA) key; null when nothing is.")


class CommonError(BaseModel):
    """A reason that bindings fail for, and what solves it."""

    reasons: list[str]
    title: str
    remedy: str


class Limits(BaseModel):
    """What the exchange allows."""

    keys_per_account: int
    addresses_per_key: int
    address_rule: str
    new_key_delay_s: int = Field(description="How long the exchange may not know a new key, in seconds.")
    rsa_key_bits: list[int]
    passphrase_rule: str


class Recommended(BaseModel):
    """The permissions to tick for a scope, in the words of the exchange's dialog, by account mode."""

    classic: list[str]
    unified: list[str]


class ExchangeGuide(BaseModel):
    """Everything a customer needs to make a key that works."""

    exchange: Literal["bitget"]
    before: list[str]
    steps: list[GuideStep]
    egress_addresses: list[str]
    permissions: dict[Scope, Recommended]
    unneeded: list[str] = Field(description="Permissions that no scope needs, in the words of the exchange's dialog.")
    limits: Limits
    errors: list[CommonError]
    good_practice: list[str]
    wrapping_key: WrappingKey | None = Field(description="For sealed binds; null while the key vault cannot be asked.")
