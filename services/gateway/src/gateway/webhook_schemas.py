"""Own the shapes of webhooks: what a tenant may ask for, and what it is shown."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from gateway.schemas import Request, Status, printable


def _unique(value: list[Status]) -> list[Status]:
    if len(set(value)) != len(value):
        raise PydanticCustomError("not_unique", "not unique")
    return value


Address = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="`https://` and a public host name in lower case, port 443 or 8443. It is shown to all who may "
        "read bindings, so it should hold no secret.",
    ),
]
Description = Annotated[str, Field(max_length=128), AfterValidator(printable)]
Statuses = Annotated[
    list[Status],
    Field(default_factory=list, max_length=6, description="Deliver events of these alone; all, if empty."),
    AfterValidator(_unique),
]


class WebhookRequest(Request):
    """Deliver the tenant's events to an address of its own."""

    url: Address
    description: Description = ""
    statuses: Statuses


class WebhookChange(Request):
    """What of a webhook is to be changed; what is missing stays."""

    url: Address = ""
    description: Description = ""
    statuses: Statuses
    paused: bool = Field(
        False, description="Deliver nothing until it is false again; what happens meanwhile is delivered then."
    )


class WebhookRewind(Request):
    """Deliver again what was delivered before."""

    after: Annotated[
        str,
        Field(
            max_length=48,
            pattern=r"^[0-9a-f]{8}-[0-9]{1,16}-[0-9]{1,16}$",
            description="The id of an event (`webhook-id`, `Last-Event-ID`): everything after it is delivered again; "
            "without it everything that is still kept.",
        ),
    ] = ""


class Webhook(BaseModel):
    """One endpoint."""

    id: str
    url: str
    description: str
    statuses: list[Status]
    paused: bool
    created_at: str
    secret_made_at: str = Field(description="When the newest signing secret was made; older ones sign for a day more.")


class WebhookSecret(BaseModel):
    """An endpoint, and its signing secret if it was made just now."""

    webhook: Webhook
    secret: str | None = Field(
        description="`whsec_…`, shown this once; null in the answer to a repeat: then make another one."
    )


class WebhookList(BaseModel):
    """Every endpoint of the tenant, the oldest first."""

    items: list[Webhook]


class WebhookAttempt(BaseModel):
    """One attempt to deliver a message."""

    at: str
    message_id: str
    binding_id: str | None = Field(description="Null for a message that concerns all bindings.")
    attempt: int = Field(description="1 for the first.")
    status: int | None = Field(description="The receiver's HTTP status; null when there was no answer.")
    delivered: bool
    reason: str | None = Field(
        description="Why it was not taken: `status` (an answer other than 2xx), `unreachable`, `timed_out`, `tls`, "
        "`no_name`, `not_public` (DNS answers with an address that is not called), `no_http`; null once delivered."
    )


class WebhookAttempts(BaseModel):
    """The last hundred attempts, the newest first."""

    items: list[WebhookAttempt]


class WebhookDeadLetter(BaseModel):
    """A message that was given up after three days."""

    message_id: str
    binding_id: str | None
    given_up_at: str
    reason: str = Field(description="Of the last attempt, as there; an answer other than 2xx is `status_` and it.")


class WebhookDeadLetters(BaseModel):
    """The dead letters, the oldest first; at most the last thousand."""

    items: list[WebhookDeadLetter]


class WebhookReplay(BaseModel):
    """What is delivered again."""

    replayed: int = Field(description="How many messages.")
