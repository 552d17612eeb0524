"""Own calls of the exchange through a binding: what is sent, and how its answer differs from a refusal of ours.

A call that changes state is never repeated here once it may have left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from strongroom_client import errors
from strongroom_client.flow import Flow, Send, answered

SOURCE: Final = "Strongroom-Source"
REASON: Final = "Strongroom-Reason"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exchange answered, unchanged. `reason` is what its code says of the key in our words, "" if nothing."""

    status: int
    reason: str
    source: str
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the HTTP status is 2xx; the exchange's own `code` in the body may still say otherwise."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON; raise ValueError for something else."""
        return httpx.Response(200, content=self.content).json()


def execute(
    binding_id: str,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | list[Any] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Answer]:
    """Have one call of the exchange signed and sent, and return the exchange's answer, whatever its status.

    `idempotency_key` gives an order without a client order id one that follows from it: a repeat has one effect. A GET
    is repeated; anything else only when nothing was sent. Raises PolicyRefused, Throttled (nothing was sent), and
    OutcomeUnknown when it may have been done.
    """
    asked = {"method": method.upper(), "path": path, "query": dict(query) if query else None, "body": body}
    request = Send(
        "POST",
        f"/v1/bindings/{quote(binding_id, safe='')}/requests",
        headers={"Idempotency-Key": idempotency_key} if idempotency_key else {},
        json={name: value for name, value in asked.items() if value is not None},
        safe=method.upper() == "GET",
    )
    answer = yield from answered(request)
    source = answer.headers.get(SOURCE, "")
    if source == "exchange" or (answer.is_success and not source):
        return Answer(answer.status_code, answer.headers.get(REASON, ""), source, answer.headers, answer.content)
    error = _refused(answer, sent=not request.safe)
    error.idempotency_key = idempotency_key
    raise error


def _refused(answer: httpx.Response, *, sent: bool) -> errors.ApiError:
    """Return the error that an answer is; a 5xx without a word of ours means that it may have been done."""
    error = errors.of(answer)
    if sent and answer.status_code >= 500 and error.code.startswith("http_"):
        unknown = f"HTTP {answer.status_code} came without an explanation: it may have been done, or not."
        return errors.OutcomeUnknown(errors.OUTCOME_UNKNOWN, unknown, status=answer.status_code)
    return error
