"""Own the hot path to Vault: a path guard, the way from address to address, and what each answer means.

A token goes to configured addresses only, and what was surely not done at one is asked at the next. What may have
reached Vault and got no readable answer is `Lost(sent=True)`.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from common import logs, tracing
from common.errors import Internal, PermissionDenied, Unavailable
from common.secret import Secret

from vault import calls
from vault.hashicorp import measures
from vault.hashicorp.exchange import PROBE_S, Exchange, Lost, Said
from vault.hashicorp.login import Connection, Logins, Role
from vault.hashicorp.nodes import Node, Nodes, Pledge, Unfit, claim, opened, pledge
from vault.store import Applied, NotApplied, Outcome, Unknown, Why, unavailable

T = TypeVar("T")
SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")
OK: Final = range(200, 300)
LOOK_LIMIT_S: Final = 1.0  # for a page that needs no work; a frozen node holds nobody up longer
LOOK_S: Final = 0.25  # what was found holds for those who came meanwhile
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


class VaultHttp:
    """Calls to Vault as one of our identities. Use as an async context manager."""

    def __init__(self, connection: Connection, logins: Logins) -> None:
        self._nodes = Nodes(connection, PROBE_S)
        self._exchange = Exchange(connection)
        self._logins = logins
        self._looking = asyncio.Lock()
        self._looked = float("-inf")
        self.unfit = ""  # why the server met last may not be used, for the one who decides to serve

    async def __aenter__(self) -> "VaultHttp":
        """Open the session; no connection is made yet."""
        self._exchange.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._exchange.close()

    async def call(
        self, role: Role, method: str, *segments: str, body: dict[str, Any] | None = None, pure: bool = False
    ) -> Answer | Lost:
        """Make one call as `role`; a refused token is replaced once. A `pure` call is repeated once when it got lost.

        Raises Internal for a path outside the grammar (before any socket is opened) and Unavailable for an identity
        that Vault does not know any more: it was there at the start, and no caller is to blame.
        """
        path, started = guarded(segments), asyncio.get_running_loop().time()
        kind = measures.operation(method, segments)
        with tracing.span(f"vault {kind}", "client", operation=kind) as span:
            answer = await self._called(role, method, path, body, pure=pure)
            ended = _ended(answer)
            span.set(status=answer.status if isinstance(answer, Answer) else None, outcome=ended)
        measures.CALLS.of(kind, ended).inc()
        measures.SECONDS.of(kind).observe(asyncio.get_running_loop().time() - started)
        return answer

    async def _called(
        self, role: Role, method: str, path: str, body: dict[str, Any] | None, *, pure: bool
    ) -> Answer | Lost:
        token = await self._token(role)
        if token is None:
            return Lost(sent=False)
        answer = await self._send(method, path, token, body, pure=pure)
        if isinstance(answer, Answer) and answer.status == 403 and await self._logins.replace(role, token):
            token = await self._token(role)
            return await self._send(method, path, token, body, pure=pure) if token else Lost(sent=False)
        return answer

    async def known(self, role: Role) -> None:
        """Return if Vault knows an identity; raise PermissionDenied if it does not, Unavailable when nobody says."""
        await self._logins.token(role)

    async def _token(self, role: Role) -> Secret | None:
        try:
            return await self._logins.token(role)
        except PermissionDenied:
            raise unavailable("vault_identity_lost") from None
        except Unavailable:
            return None

    async def _send(
        self, method: str, path: str, token: Secret, body: dict[str, Any] | None, *, pure: bool
    ) -> Answer | Lost:
        """Ask each address once, until one has the answer or may have done what was asked."""
        answer: Answer | Lost = Lost(sent=False)
        await self._look_around()
        for node in self._nodes.order(again=pure):
            answer = await self._ask(node, method, path, token, body)
            if isinstance(answer, Answer) and not (answer.status in NOT_DONE or sealed(answer)):
                self._nodes.stay(node)
                return answer
            if isinstance(answer, Lost) and answer.sent and (answer.silent or not pure):
                return answer
        return answer

    async def _ask(
        self, node: Node, method: str, path: str, token: Secret, body: dict[str, Any] | None
    ) -> Answer | Lost:
        """Make the call at one address, unless its breaker is open or it gives no pledge."""
        if not node.breaker.admits(asyncio.get_running_loop().time()):
            return Lost(sent=False)
        promised = node.pledge or await self._meet(node)
        if promised is None:
            return Lost(sent=False)
        headers = {"X-Vault-Token": token.reveal(), "X-Vault-Request": "true", **promised.headers}
        said = await self._exchange.send(node, method, path, headers, body)
        if isinstance(said, Lost):
            return said
        try:
            answer = _parsed(said.status, said.body)
        except ValueError:
            return Lost(sent=True)
        calls.note(answer.request_id)
        if answer.ok and not promised.kept(said.index):
            node.pledge = None
            self._refuse(node, "its answer does not show the cluster's index: OpenBao needs raft storage, from 2.7 on")
            return Lost(sent=True)
        return answer

    async def _look_around(self) -> None:
        """Ask all addresses who is active, unless the one to begin with has answered just now; one asks for all."""
        now = asyncio.get_running_loop().time
        if self._nodes.fresh(now()):
            return
        async with self._looking:
            if self._nodes.fresh(now()) or now() < self._looked + LOOK_S:
                return
            asked = [self._exchange.send(node, "GET", "sys/leader", limit_s=LOOK_LIMIT_S) for node in self._nodes.all]
            said = zip(self._nodes.all, await asyncio.gather(*asked), strict=True)
            self._nodes.elect({node: found for node, page in said if (found := claim(_page(page)))})
            self._looked = now()

    async def _meet(self, node: Node) -> Pledge | None:
        """Find out what proves that the active node answers at this address; nothing is sent there before."""
        said = await self._exchange.send(node, "GET", "sys/health")
        page = _page(said)
        try:
            if isinstance(said, Said) and opened(said.status, page):
                node.pledge, self.unfit = pledge(page, alone=self._nodes.alone), ""
        except Unfit as error:
            self._refuse(node, str(error))
        return node.pledge

    def _refuse(self, node: Node, why: str) -> None:
        self.unfit = f"{node.address} may not be used: {why}"
        logs.get().error("vault_unfit", address=node.address, reason=why)


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


def _ended(answer: Answer | Lost) -> str:
    if isinstance(answer, Lost):
        return "lost" if answer.sent else "not_sent"
    return measures.outcome(answer.status, not_done=answer.status in NOT_DONE or sealed(answer))


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


def _page(said: Said | Lost) -> dict[str, Any]:
    """Return a page that needs no token, {} for one that is not there or cannot be read."""
    try:
        page = json.loads(said.body) if isinstance(said, Said) else {}
    except ValueError:
        return {}
    return page if isinstance(page, dict) else {}
