"""Own what signatures wanted at the same time share: what was read of their binding a moment ago, requests to Transit.

Neither softens the end of a key. Transit itself refuses a key that is gone and a version that is fenced, and what
joins a request joins one that has not been sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from common import context
from common.clock import Clock
from common.context import RequestContext

from vault.store import Keys, Signature

T = TypeVar("T")
FRESH_S: Final = 0.25
KEPT: Final = 1000
GATHERED: Final = 64  # messages in one request to Transit
Key = tuple[str, str, int, int]
Wanted = tuple[bytes, "asyncio.Future[Signature | None]", RequestContext | None]


class Recent(Generic[T]):
    """What was read for a name within the last `fresh_s` seconds; who comes while it is read waits for the same."""

    def __init__(self, clock: Clock, fresh_s: float = FRESH_S) -> None:
        self._clock = clock
        self._fresh_s = fresh_s
        self._kept: dict[tuple[str, str], tuple[float, asyncio.Task[T]]] = {}

    async def get(self, name: tuple[str, str], read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` gave, at most `fresh_s` seconds after it was begun; a failure is for all who waited."""
        now = self._clock.monotonic()
        begun, found = self._kept.get(name, (now, None))
        if found is None or now - begun > self._fresh_s:
            # In a context of its own: neither the first caller's deadline nor its going away is that of the others.
            found = asyncio.create_task(_awaited(read), context=context.shared())
            found.add_done_callback(over)
            self._keep(name, now, found)
        try:
            return await asyncio.shield(found)
        except BaseException:
            if found.done() and self._kept.get(name, (0, None))[1] is found:
                del self._kept[name]
            raise

    @property
    def kept(self) -> int:
        """How many names are kept."""
        return len(self._kept)

    def forget(self, name: tuple[str, str]) -> None:
        """Read anew next time."""
        self._kept.pop(name, None)

    def _keep(self, name: tuple[str, str], now: float, found: asyncio.Task[T]) -> None:
        """Keep one more, the latest last; let go of what is old, and of the oldest when there are too many."""
        self.forget(name)
        while self._kept:
            oldest, (begun, _) = next(iter(self._kept.items()))
            if len(self._kept) < KEPT and now - begun <= self._fresh_s:
                break
            del self._kept[oldest]
        self._kept[name] = now, found


class Gathering:
    """Sign with Transit, many messages of one version of a key in one request: while one is under way, those that come
    wait for the next."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._waiting: dict[Key, list[Wanted]] = {}

    async def sign(
        self, tenant: str, binding: str, key_type: int, messages: Sequence[bytes], version: int
    ) -> list[Signature] | None:
        """Return the signatures as `Keys.sign` does, None when the key or version may not be used any more."""
        key, loop = (tenant, binding, key_type, version), asyncio.get_running_loop()
        mine: list[Wanted] = [(message, loop.create_future(), context.current.get()) for message in messages]
        if key in self._waiting:
            self._waiting[key] += mine
        else:
            self._waiting[key] = mine
            asyncio.create_task(self._requests(key), context=context.shared()).add_done_callback(over)
        made = await asyncio.gather(*(signature for _, signature, _ in mine))
        whole = [one for one in made if one is not None]
        return whole if len(whole) == len(made) else None

    async def _requests(self, key: Key) -> None:
        """Ask Transit until nobody waits for this key."""
        while self._waiting[key]:
            batch, self._waiting[key] = self._waiting[key][:GATHERED], self._waiting[key][GATHERED:]
            tenant, binding, key_type, version = key
            context.current.set(batch[0][2])  # one request to Transit is seen in one trace
            try:
                made = await self._keys.sign(tenant, binding, key_type, [one for one, _, _ in batch], version)
            except Exception as error:  # noqa: BLE001  whoever waits gets it
                _tell(batch, error)
            else:
                _tell(batch, made or [None] * len(batch))
        del self._waiting[key]


def _tell(batch: Sequence[Wanted], outcome: Exception | Sequence[Signature | None]) -> None:
    for at, (_, waiting, _) in enumerate(batch):
        if waiting.done():  # whoever waited is gone
            continue
        if isinstance(outcome, Exception):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome[at])


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()


def over(task: "asyncio.Task[Any]") -> None:
    """Take note of a failure that nobody waited for any more."""
    if not task.cancelled():
        task.exception()
