"""Own the tenant's calls under `/v1/webhooks`: endpoints, their secrets, and what became of deliveries."""

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from strongroom_client.calls import Status
from strongroom_client.flow import Flow, Send, called, resource
from strongroom_client.resources import (
    Webhook,
    WebhookAttempt,
    WebhookAttempts,
    WebhookDeadLetter,
    WebhookDeadLetters,
    WebhookList,
    WebhookReplay,
    WebhookSecret,
)

WEBHOOKS: Final = "/v1/webhooks"


def create(
    url: str, *, description: str = "", statuses: Sequence[Status] = (), idempotency_key: str | None = None
) -> Flow[WebhookSecret]:
    """Have events delivered to an address (all, without `statuses`); the signing secret is told this once."""
    body = {"url": url, "description": description, "statuses": list(statuses)}
    headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
    return resource(WebhookSecret, Send("POST", WEBHOOKS, headers=headers, json=body))


def every() -> Flow[Sequence[Webhook]]:
    """Return the tenant's webhooks, the oldest first."""
    return (yield from resource(WebhookList, Send("GET", WEBHOOKS))).items


def update(
    webhook_id: str,
    *,
    url: str | None = None,
    description: str | None = None,
    statuses: Sequence[Status] | None = None,
    paused: bool | None = None,
) -> Flow[Webhook]:
    """Change what is given; the secrets stay. It is not repeated once it was sent: it could undo somebody's change."""
    given = {"url": url, "description": description, "paused": paused}
    given["statuses"] = list(statuses) if statuses is not None else None  # type: ignore[assignment]  # as JSON has it
    body = {name: value for name, value in given.items() if value is not None}
    return resource(Webhook, Send("PATCH", _path(webhook_id), json=body, safe=False))


def remove(webhook_id: str) -> Flow[None]:
    """Remove a webhook, its secrets and what waits for it; raise NotFound for one that is not there (any more)."""
    yield from called(Send("DELETE", _path(webhook_id), safe=False))


def rotate_secret(webhook_id: str) -> Flow[WebhookSecret]:
    """Make another signing secret, told this once; those before it sign too for a day."""
    return resource(WebhookSecret, Send("POST", f"{_path(webhook_id)}/secret", safe=False))


def attempts(webhook_id: str) -> Flow[Sequence[WebhookAttempt]]:
    """Return the last hundred attempts to deliver, the newest first."""
    return (yield from resource(WebhookAttempts, Send("GET", f"{_path(webhook_id)}/attempts"))).items


def dead_letters(webhook_id: str) -> Flow[Sequence[WebhookDeadLetter]]:
    """Return what was given up, the oldest first."""
    return (yield from resource(WebhookDeadLetters, Send("GET", f"{_path(webhook_id)}/dead-letters"))).items


def replay_dead_letters(webhook_id: str) -> Flow[int]:
    """Have every dead letter delivered again; return how many."""
    request = Send("POST", f"{_path(webhook_id)}/dead-letters/replay", safe=False)
    return (yield from resource(WebhookReplay, request)).replayed


def replay(webhook_id: str, *, after: str | None = None) -> Flow[int]:
    """Have every event after the id `after` delivered again (without it all that are kept); return how many."""
    request = Send("POST", f"{_path(webhook_id)}/replay", json={"after": after} if after else {})
    return (yield from resource(WebhookReplay, request)).replayed


def _path(webhook_id: str) -> str:
    return f"{WEBHOOKS}/{quote(webhook_id, safe='')}"
