"""Own the hot path to Vault: one aiohttp session, a path guard, no redirects, and what each answer means.

A token goes to the configured address only. What may have reached Vault and got no readable answer is
`Lost(sent=True)`.
"""

import json
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
from common import logs
from common.errors import Internal, Unavailable
from common.secret import Secret
from yarl import URL

from vault import calls
from vault.hashicorp.login import Connection, Logins, Role
from vault.store import Applied, NotApplied, Outcome, Unknown, Why, unavailable

T = TypeVar("T")
SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")
# A server that says nothing for 5 s is given up; waiting for a free connection is not its silence.
TIMEOUT: Final = aiohttp.ClientTimeout(total=12, sock_connect=1, sock_read=5)
# A folder's names are decrypted one by one: 100,000 of them take the server several seconds.
LIST_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=1)
CONNECTIONS: Final = 64
OK: Final = range(200, 300)
# Answers given before any work: a standby or too-stale node, a rate limit, a redirect to another node.
NOT_DONE: Final = frozenset([301, 302, 303, 307, 308, 412, 429, 472, 473, 474, 530])


@dataclass(frozen=True, slots=True)
class Answer:
    """What Vault said: `data` of the body ({} without one), its error texts in one, and its id of the request."""

    status: int
    data: dict[str, Any]
    errors: str
    request_id: str

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status in OK


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer; `sent` says whether the request may have reached Vault."""

    sent: bool


class VaultHttp:
    """Calls to Vault as one of our identities. Use as an async context manager."""

    def __init__(self, connection: Connection, logins: Logins) -> None:
        self._base = connection.url.rstrip("/") + "/v1/"
        self._ca_file = connection.ca_file
        self._logins = logins
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "VaultHttp":
        """Open the session; no connection is made yet."""
        verify = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=TIMEOUT,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        if self._session:
            await self._session.close()

    async def call(
        self, role: Role, method: str, *segments: str, body: dict[str, Any] | None = None, pure: bool = False
    ) -> Answer | Lost:
        """Make one call as `role`; a refused token is replaced once. A `pure` call is repeated once when it got lost.

        Raises Internal for a path outside the grammar (before any socket is opened) and PermissionDenied for an
        identity that Vault does not know.
        """
        path = guarded(segments)
        token = await self._token(role)
        if token is None:
            return Lost(sent=False)
        answer = await self._send(method, path, token, body)
        if isinstance(answer, Lost) and pure:
            answer = await self._send(method, path, token, body)
        if isinstance(answer, Answer) and answer.status == 403 and self._logins.forget(role, token):
            token = await self._token(role)
            return await self._send(method, path, token, body) if token else Lost(sent=False)
        return answer

    async def _token(self, role: Role) -> Secret | None:
        try:
            return await self._logins.token(role)
        except Unavailable:
            return None

    async def _send(self, method: str, path: str, token: Secret, body: dict[str, Any] | None) -> Answer | Lost:
        if self._session is None:
            raise Internal("session_closed")
        limit = TIMEOUT
        if method == "LIST":  # the same call with a method that every proxy knows
            method, path, limit = "GET", path + "?list=true", LIST_TIMEOUT
        url = URL(self._base + path, encoded=True)
        headers = {"X-Vault-Token": token.reveal(), "X-Vault-Request": "true"}
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False, timeout=limit
            ) as reply:
                answer = _parsed(reply.status, await reply.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Lost(sent=False)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return Lost(sent=True)
        calls.note(answer.request_id)
        return answer


def guarded(segments: tuple[str, ...]) -> str:
    """Return the path made of `segments`; raise Internal for one that could change its meaning on the way."""
    if not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise Internal("path_segment")
    return "/".join(segments)


def outcome(answer: Answer | Lost, value: T) -> Outcome[T]:
    """Return what became of a write; `value` is what an applied one is worth."""
    if isinstance(answer, Lost):
        return Unknown() if answer.sent else NotApplied(Why.UNAVAILABLE)
    if answer.ok:
        return Applied(value)
    if answer.status in NOT_DONE or sealed(answer):
        return NotApplied(Why.UNAVAILABLE)
    if answer.status >= 500:
        return Unknown()
    return NotApplied(_why(answer))


def read(answer: Answer | Lost) -> Answer | None:
    """Return the answer to a read, None for what does not exist; raise Unavailable when it is not known."""
    if isinstance(answer, Lost) or answer.status in NOT_DONE or answer.status >= 500:
        raise unavailable()
    if answer.ok:
        return answer
    if answer.status == 404:
        return None
    logs.get().error("vault_refused", status=answer.status)
    raise unavailable("vault_denied") if answer.status == 403 else Internal("vault_refused")


def sealed(answer: Answer) -> bool:
    """Tell whether Vault refused before any work because it is sealed."""
    return answer.status == 503 and "sealed" in answer.errors


def _why(answer: Answer) -> Why:
    if answer.status == 400 and "check-and-set parameter did not match" in answer.errors:
        return Why.CONFLICT
    return {403: Why.DENIED, 404: Why.MISSING}.get(answer.status, Why.INVALID)


def _parsed(status: int, raw: bytes) -> Answer:
    """Return the answer; an unreadable body of a success raises ValueError, of a failure it counts as empty."""
    try:
        body = json.loads(raw) if raw else {}
        if not isinstance(body, dict):
            raise ValueError("an object is expected")
    except ValueError:
        if status in OK:
            raise
        body = {}
    errors = " ".join(str(error) for error in body.get("errors") or ())
    return Answer(status, body.get("data") or {}, errors, str(body.get("request_id", "")))
