"""Own the shapes of what operators do in an incident: freezes and bulk revocation."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from gateway.schemas import Request, printable

Kind = Literal["binding", "subject", "tenant", "exchange", "everything"]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=200, description="For whoever asks why, now or later; it is in the audit trail."),
    AfterValidator(printable),
]


def _moment(value: str) -> str:
    """Return an RFC 3339 time with its offset; anything else is refused."""
    try:
        known = "T" in value and datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        known = False
    if not known:
        raise PydanticCustomError("not_a_time", "not a time")
    return value


Moment = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_moment)]


class FreezeTarget(Request):
    """What to freeze: `kind` and exactly the fields that belong to it."""

    kind: Kind
    tenant: Annotated[
        str | None, Field(max_length=26, description="With `binding`, `subject` and `tenant`: the tenant's id.")
    ] = None
    binding_id: Annotated[str | None, Field(max_length=32, description="With `binding`.")] = None
    subject: Annotated[str | None, Field(max_length=128, description="With `subject`: the tenant's customer id.")] = (
        None
    )
    exchange: Annotated[Literal["bitget"] | None, Field(description="With `exchange`.")] = None


class FreezeRequest(Request):
    """Stop everything that is signed for a target."""

    target: FreezeTarget
    reason: Reason
    allow_cancels: Annotated[bool, Field(description="Whether calls that cancel orders are signed all the same.")] = (
        False
    )


class Target(BaseModel):
    """What is frozen; null where a field does not belong to the kind."""

    kind: Kind
    tenant: str | None
    binding_id: str | None
    subject: str | None
    exchange: Literal["bitget"] | None


class Freeze(BaseModel):
    """One active freeze."""

    id: str
    target: Target
    reason: str
    allow_cancels: bool
    made_at: str
    made_by: str = Field(description="The `sub` of the token that made it.")


class FreezeList(BaseModel):
    """Every active freeze, the oldest first."""

    items: list[Freeze]


def _printable_or_none(value: str | None) -> str | None:
    return None if value is None else printable(value)


class Selector(Request):
    """Which bindings are to end: those of one tenant that fit everything that is given here."""

    tenant: Annotated[str, Field(max_length=26, description="Alone, it selects every binding of the tenant.")]
    subject: Annotated[str | None, Field(max_length=128), AfterValidator(_printable_or_none)] = None
    label: Annotated[str | None, Field(max_length=64), AfterValidator(_printable_or_none)] = None
    bound_after: Annotated[Moment | None, Field(description="Bound at this time or later.")] = None
    bound_before: Annotated[Moment | None, Field(description="Bound before this time.")] = None


class RevocationRequest(Request):
    """End every binding that fits a selector."""

    selector: Selector
    reason: Reason
    dry_run: Annotated[bool, Field(description="Only find what fits.")] = False


class Selected(BaseModel):
    """What was asked; null for what was not given."""

    tenant: str
    subject: str | None
    label: str | None
    bound_after: str | None
    bound_before: str | None


class RevocationFailure(BaseModel):
    """A binding that could not be ended yet; it is tried again."""

    binding_id: str
    reason: str


class Revocation(BaseModel):
    """How far a bulk revocation is."""

    id: str
    selector: Selected
    reason: str
    dry_run: bool
    state: Literal["matching", "revoking", "done"]
    requested_at: str
    requested_by: str = Field(description="The `sub` of the token that asked for it.")
    finished_at: str | None
    matched: int = Field(description="How many bindings fit; 0 while they are being found.")
    revoked: int = Field(description="How many of them have ended: nothing can be signed for them any more.")
    failed: list[RevocationFailure]
    binding_ids: list[str] = Field(description="Those that fit, by id; at most the first thousand.")
    remedy: str = Field(description="What is left for the customers to do.")
