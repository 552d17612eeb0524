"""Own one stream of requests to sign: a bounded number in flight, those of one binding signed together, each answered.

A request that is refused is answered by its refusal, and the others go on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from common.errors import Internal, InvalidArgument, PolicyRefused, StrongroomError, Unavailable
from common.rpc.errors import to_rpc
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignResponse

from verifier.callers_signer import BATCH

IN_FLIGHT: Final = 64
# So many calls for one binding are under way at once; what comes meanwhile is in the next ones.
ABREAST: Final = 4
# A stream on which nothing is asked for this long ends.
IDLE_S: Final = 120.0
Sign = Callable[[str, Sequence[ExchangeRequest]], Awaitable[SignResponse]]
_Answers = list[messages.SignStreamResponse]


class SignStream:
    """One caller's stream; `sign` has 1 to 8 requests of a binding signed, all or none."""

    def __init__(self, sign: Sign, idle_s: float = IDLE_S) -> None:
        self._sign = sign
        self._idle_s = idle_s
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._waiting: dict[str, deque[messages.SignStreamRequest]] = {}
        self._calls: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: asyncio.Queue[messages.SignStreamResponse | Exception | None] = asyncio.Queue()
        self._left = 0
        self._reading = True
        self._end_told: Unavailable | None = None
        self._reader: asyncio.Task[None] | None = None

    async def run(
        self, requests: AsyncIterator[messages.SignStreamRequest]
    ) -> AsyncGenerator[messages.SignStreamResponse, None]:
        """Yield one answer for each request, as they are made; a request is read only while there is room for it."""
        self._reader = self._start(self._read(requests))
        try:
            while (answer := await self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
                self._room.release()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Read no more; after the answers to what was read the caller is told to go on elsewhere."""
        self._end_told = Unavailable(retry_after=0.1)
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self, requests: AsyncIterator[messages.SignStreamRequest]) -> None:
        try:
            while True:
                await self._room.acquire()
                async with asyncio.timeout(self._idle_s):
                    request = await anext(requests)
                self._left += 1
                self._add(request)
        except (StopAsyncIteration, TimeoutError):
            pass
        finally:
            self._reading = False
            self._end()

    def _add(self, request: messages.SignStreamRequest) -> None:
        binding = request.binding_id
        self._waiting.setdefault(binding, deque()).append(request)
        if self._calls.get(binding, 0) < ABREAST:
            self._calls[binding] = self._calls.get(binding, 0) + 1
            self._start(self._work(binding))

    async def _work(self, binding: str) -> None:
        """Sign what waits for one binding, up to a batch at a time, until nothing does."""
        waiting = self._waiting[binding]
        while waiting:
            batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
            for answer in await self._signed(binding, batch):
                self._left -= 1
                self._answers.put_nowait(answer)
        self._calls[binding] -= 1
        if not self._calls[binding]:
            del self._calls[binding], self._waiting[binding]
        self._end()

    async def _signed(self, binding: str, batch: Sequence[messages.SignStreamRequest]) -> _Answers:
        """Return the answers to a batch; the vault service signs all of it or none, so a bad one is found alone."""
        try:
            told = await self._sign(binding, [one.request for one in batch])
        except (PolicyRefused, InvalidArgument) as error:
            if len(batch) == 1:
                return [_refused(batch[0], error)]
            alone = [await self._signed(binding, [one]) for one in batch]
            return [answer for answers in alone for answer in answers]
        except StrongroomError as error:
            return [_refused(one, error) for one in batch]
        return [
            messages.SignStreamResponse(
                id=one.id, signed=messages.SignResponse(signed=signed, stamped_at_ms=told.stamped_at_ms)
            )
            for one, signed in zip(batch, told.signed, strict=True)
        ]

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except StrongroomError as error:
                self._answers.put_nowait(error)
            except Exception:  # noqa: BLE001  whatever it was, the caller may not be left waiting
                self._answers.put_nowait(Internal())

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was given up before it began
        return task

    def _end(self) -> None:
        if not self._reading and not self._left:
            self._answers.put_nowait(self._end_told)


def _refused(request: messages.SignStreamRequest, error: StrongroomError) -> messages.SignStreamResponse:
    code, text, _ = to_rpc(error)
    refusal = messages.Refusal(
        status=code.name,
        reason=error.reason,
        rule=error.extra.get("rule", ""),
        message=text,
        retry_after_s=round(error.retry_after or 0),
    )
    return messages.SignStreamResponse(id=request.id, refusal=refusal)
