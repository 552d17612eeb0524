"""Own one execution: sign first, wait for the turn, send once, hand the answer on as it comes.

What may change state is never sent again after it may have left, except when the exchange has refused its time and so
has not carried it out. A missing answer is told as what it is: unknown.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from common import context, ids, tokens, tracing
from common.clock import Clock
from common.errors import DeadlineExceeded, StrongroomError, Unavailable
from strongroom.signing.v1.signing_service_pb2 import ExecuteHead, ExecuteRequest, ExecuteResponse
from strongroom.types.v1.binding_pb2 import REASON_UNSPECIFIED, Reason
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header, SignedRequest

from verifier import client_orders, measures
from verifier.accounts import Accounts
from verifier.background import Background
from verifier.bitget import codes, passage, reply
from verifier.bitget.budget import Budget, Caller
from verifier.bitget.client import BitgetClient
from verifier.bitget.clock import Stamp
from verifier.bitget.reply import Reply
from verifier.bitget.wire import CHUNK, Lost, NotSent, Wire
from verifier.callers_signer import EXECUTE, CallersSigner, Wanted
from verifier.looks import Looks
from verifier.turns import Turns

# The answer needs some of the caller's time to reach it; with less than this nothing is sent.
RETURN_S: Final = 0.2
LEAST_S: Final = 0.5
# More client order ids than a batch has are not told in an error.
ORDERS_TOLD: Final = 50


@dataclass(frozen=True, slots=True)
class Order:
    """What one caller wants done with one binding; `ids` are the client order ids in it."""

    wanted: Wanted
    service: str
    tenant: str
    request: ExchangeRequest
    ids: tuple[str, ...]

    @property
    def endpoint(self) -> str:
        return f"{self.request.method} {self.request.path}"


@dataclass(frozen=True, slots=True)
class Received:
    """The beginning of an answer, read; `rest` is what follows."""

    head: ExecuteHead
    reply: Reply
    first: bytes
    rest: AsyncIterator[bytes]


class Execution:
    """Execute requests of callers."""

    def __init__(
        self,
        *,
        signer: CallersSigner,
        wire: Wire,
        budget: Budget,
        exchange: BitgetClient,
        accounts: Accounts,
        looks: Looks,
        background: Background,
        clock: Clock,
    ) -> None:
        self._signer = signer
        self._wire = wire
        self._budget = budget
        self._turns = Turns(budget)
        self._exchange = exchange
        self._accounts = accounts
        self._looks = looks
        self._background = background
        self._clock = clock

    async def run(
        self, authorization: str | None, caller: tokens.Caller, asked: ExecuteRequest
    ) -> AsyncGenerator[ExecuteResponse, None]:
        """Yield the exchange's answer, the head first.

        Raises what the vault service refuses with, Throttled or Unavailable when nothing was sent, and DeadlineExceeded
        (outcome_unknown) when it may have been carried out.
        """
        order = _order(authorization, caller, asked)
        for again in (True, False):
            signed, stamp = await self._signed(order)
            account = await self._accounts.of(order.tenant, order.wanted.binding)
            await self._turns.take(order.service, account, order.endpoint)
            async with self._sent(order, account, signed) as received:
                if received.reply.untimely and again and await self._corrected(account, stamp, received.reply):
                    continue
                self._learn(order, account, stamp, received.reply)
                yield ExecuteResponse(head=received.head, body=received.first[:CHUNK])
                for start in range(CHUNK, len(received.first), CHUNK):
                    yield ExecuteResponse(body=received.first[start : start + CHUNK])
                async for chunk in received.rest:
                    yield ExecuteResponse(body=chunk)
                return

    async def _signed(self, order: Order) -> tuple[SignedRequest, Stamp]:
        started, offset = self._clock.monotonic(), self._exchange.time.offset_ms
        answer = await self._signer.sign(order.wanted, [order.request], offset)
        stamp = Stamp(answer.stamped_at_ms - offset, offset, (started + self._clock.monotonic()) / 2)
        return answer.signed[0], stamp

    @asynccontextmanager
    async def _sent(self, order: Order, account: Caller, signed: SignedRequest) -> AsyncIterator[Received]:
        """Send and give what comes back; whatever goes wrong is told by whether it may have had an effect."""
        secrets, started = passage.secrets_of(signed), self._clock.monotonic()
        span = tracing.span(f"exchange {order.endpoint}", "client", apart=True, endpoint=order.endpoint)
        try:
            async with self._wire.send(signed, _seconds()) as answer:
                rest = passage.cleared(answer.content, secrets)
                first, whole = await passage.beginning(rest)
                remaining = dict(answer.headers).get(reply.REMAINING)
                found = reply.read(order.endpoint, answer.status, first if whole else b"", remaining, secrets)
                measures.exchange(
                    "trade", self._clock.monotonic() - started, found.status, measures.code(found, whole=whole)
                )
                passage.check(found.body, secrets)
                span.set(status=found.status, exchange_code=found.code or None)
                await self._told(account, found)
                head = _head(found, passage.headers(answer.headers, secrets))
                yield Received(head, found, first, rest)
        except NotSent as failure:
            span.fail(failure)
            measures.exchange("trade", self._clock.monotonic() - started, 0, measures.UNREACHABLE)
            raise _unreachable("Bitget cannot be reached at the moment; nothing was sent.") from None
        except (Lost, passage.Unfit) as failure:
            span.fail(failure)
            measures.exchange("trade", self._clock.monotonic() - started, 0, measures.UNREACHABLE)
            raise _missing(order, unfit=isinstance(failure, passage.Unfit)) from None
        finally:
            span.end()

    async def _told(self, account: Caller, found: Reply) -> None:
        if found.throttled:
            await self._budget.refused(account, found.endpoint, address=found.address)
        elif found.remaining == 0:
            await self._budget.answered(account, found.endpoint, 0)
        else:
            self._background.start(self._budget.answered(account, found.endpoint, found.remaining))

    async def _corrected(self, account: Caller, stamp: Stamp, found: Reply) -> bool:
        return await self._exchange.time.refused(stamp, found.time, partial(self._exchange.reading, account))

    def _learn(self, order: Order, account: Caller, stamp: Stamp, found: Reply) -> None:
        """Take what an answer says of the clocks and of the key; nobody waits for it."""
        self._looks.after(order.tenant, order.wanted.binding, found)
        if not found.untimely and found.time is not None:
            measure = partial(self._exchange.reading, account)
            self._background.start(self._exchange.time.answered(stamp, found.time, measure))


def _order(authorization: str | None, caller: tokens.Caller, asked: ExecuteRequest) -> Order:
    request, binding = asked.request, ids.binding_id(asked.binding_id)
    name = (caller.tenant, binding, asked.idempotency_key)
    body, order_ids = client_orders.identified(request.path, request.body, name)
    if body != request.body:
        request = ExchangeRequest(method=request.method, path=request.path, query=request.query, body=body)
    wanted = Wanted(authorization, binding, EXECUTE)
    return Order(wanted, f"{caller.client} {caller.subject}", caller.tenant, request, tuple(order_ids))


def _head(found: Reply, headers: list[Header]) -> ExecuteHead:
    reason = found.rule.reason if found.code not in ("", codes.OK) else REASON_UNSPECIFIED
    word = Reason.Name(reason).removeprefix("REASON_").lower() if reason != REASON_UNSPECIFIED else ""
    return ExecuteHead(status=found.status, headers=headers, reason=word)


def _seconds() -> float:
    """Return how long the exchange may take; raise Unavailable when the caller's time is over before that."""
    left = context.remaining_s()
    if left is not None and left < LEAST_S:
        raise Unavailable("not_sent", "The time left for this call was too short: nothing was sent.")
    return float("inf") if left is None else left - RETURN_S


def _missing(order: Order, *, unfit: bool) -> StrongroomError:
    """Return what a missing or unfit answer means: of a read nothing, of anything else that its outcome is unknown."""
    if order.request.method == "GET":
        what = "was too long or repeated a credential" if unfit else "did not come"
        return _unreachable(f"Bitget's answer {what}.", retry=not unfit)
    if order.ids:
        how = "Ask Bitget for the order by its client order id before you send it again."
    else:
        how = "Look at the orders and positions before you send it again."
    detail = f"Bitget was asked, and its answer is missing: this may have been carried out or not. {how}"
    return DeadlineExceeded("outcome_unknown", detail, client_order_ids=",".join(order.ids[:ORDERS_TOLD]))


def _unreachable(detail: str, *, retry: bool = True) -> Unavailable:
    return Unavailable("exchange_unavailable", detail, retry_after=2 if retry else None)
