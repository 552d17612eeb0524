"""Own the shapes of what operators do in an incident: freezes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from gateway.schemas import Request, printable

Kind = Literal["binding", "subject", "tenant", "exchange", "everything"]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=200, description="For whoever asks why, now or later; it is in the audit trail."),
    AfterValidator(printable),
]


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
