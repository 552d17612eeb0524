"""Own the shapes of tenants as an administrator sees and changes them."""

from typing import Annotated

from common.decidable import USUAL_ERRORS
from pydantic import AfterValidator, BaseModel, Field

from gateway.schemas import Request, printable

Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]
Texts = list[Annotated[str, Field(max_length=256)]]
Notional = Annotated[str, Field(max_length=27)]
Number = Annotated[int, Field(ge=0, le=1_000_000)]


class RulesRequest(Request):
    """What a tenant decides about its bindings. A part that is left out is as usual."""

    errors: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(
            default_factory=lambda: sorted(USUAL_ERRORS),
            max_length=64,
            description="The finding codes that are errors, among those that rules may decide.",
        ),
    ]
    rotation_days: Annotated[int, Field(ge=0, le=3650, description="0: never.")] = 0
    denied_capabilities: Texts = Field(
        default_factory=list, max_length=256, description="Capabilities of the table of calls that are never signed."
    )
    denied_calls: Texts = Field(
        default_factory=list, max_length=256, description="Calls that are never signed, each as METHOD PATH."
    )
    symbols: Texts = Field(default_factory=list, max_length=256, description="What may be traded; empty: every symbol.")
    max_order_notional: Annotated[
        Notional, Field(description="What an order may be worth at most, in USDT; empty: whatever it is.")
    ] = ""
    max_daily_notional: Annotated[
        Notional, Field(description="What all that are signed on a day (UTC) may be worth at most; empty: no cap.")
    ] = ""


class QuotasRequest(Request):
    """How much a tenant may ask; 0 is what is usual."""

    requests_per_minute: Annotated[Number, Field(description="At all gateways together.")] = 0
    concurrency: Annotated[Number, Field(description="Calls under way at once, at each process.")] = 0
    bindings: Annotated[Number, Field(description="Bindings that are not revoked; usually there is no limit.")] = 0


class TenantRequest(Request):
    """Make a tenant."""

    name: Name
    rules: RulesRequest | None = None
    quotas: QuotasRequest | None = None


class TenantPatch(Request):
    """Change what is given, each part as a whole."""

    name: Name | None = None
    rules: RulesRequest | None = None
    quotas: QuotasRequest | None = None


class TenantRules(BaseModel):
    """What holds for the tenant's bindings."""

    errors: list[str]
    rotation_days: int
    denied_capabilities: list[str]
    denied_calls: list[str]
    symbols: list[str]
    max_order_notional: str = Field(description="In USDT; empty: no cap.")
    max_daily_notional: str = Field(description="In USDT; empty: no cap.")


class TenantQuotas(BaseModel):
    """How much the tenant may ask; 0 is what is usual."""

    requests_per_minute: int
    concurrency: int
    bindings: int


class Tenant(BaseModel):
    """One tenant."""

    id: str
    name: str
    rules: TenantRules
    quotas: TenantQuotas
    disabled: bool = Field(description="Every call of its tokens is refused and nothing is signed; it keeps bindings.")
    created_at: str | None = Field(description="Null for a tenant that was registered by provisioning.")


class TenantPage(BaseModel):
    """One page of tenants, by id."""

    items: list[Tenant]
    next_cursor: str | None
