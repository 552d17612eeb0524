"""Own the shapes of the tenant's trail."""

from typing import Literal

from pydantic import BaseModel, Field


class AuditEntry(BaseModel):
    """One line: an action that was about to be done, what became of one, or one that policy refused."""

    sequence: int = Field(description="The line's number in its file's chain. Lines of others are between.")
    hash: str = Field(description="SHA-256 of the line. Whoever keeps it can have the line proven later.")
    time: str
    action: str
    phase: Literal["intent", "outcome", "refused"]
    outcome: str | None = Field(description="Of an outcome: `done`, or the reason why not.")
    intent: int | None = Field(description="Of an outcome: the sequence of its intent.")
    binding_id: str | None
    service: str = Field(description="The process that asked for it.")
    subject: str | None = Field(description="The `sub` of the token that asked, if there was one.")
    client: str | None = Field(description="Its `client_id`.")
    method: str | None
    path: str | None = Field(description="Of a signature: the exchange's path.")
    rule: str | None = Field(description="The rule that allowed or refused it.")
    request_digest: str | None = Field(description="SHA-256 of what was signed, without its time stamp.")
    request_id: str | None
    vault_request_id: str | None
    details: dict[str, str] = Field(description="What else belongs to the action, such as the status of a verdict.")


class AuditPage(BaseModel):
    """The tenant's own lines, the newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = Field(
        description="Null when there is nothing more. A page may be short, and not the last."
    )
    looked_back_to: str | None = Field(description="How far back this call looked.")
