"""A TCP address that stands before another one, and the faults of a network: delay, black hole, cut, reset.

All wires share one thread with a loop of its own, so that a test that blocks does not stop the network. On loopback the
only thing that tells who calls is the caller's process: `callers` finds it.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

POLL_S = 0.01
CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time left: close sends RST
ESTABLISHED = "01"


class Network:
    """The thread in which wires live; a context manager."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _end(self) -> None:
        """End what still runs; a cut connection is what this is for."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Wire:
    """One address before `ports`, taken in turn; a context manager. Its faults hold for open connections too."""

    def __init__(self, network: Network, *ports: int) -> None:
        self._network = network
        self._ports = itertools.cycle(ports)
        self._server: asyncio.Server | None = None
        self.port = 0
        self.delay_s = 0.0  # each way
        self.cut_after: int | None = None  # bytes of replies that still pass; then each connection is reset
        self.refusing = False  # reset whoever comes
        self.hole: Callable[[int], bool] = lambda _: False  # given the caller's port: does nothing pass?
        self.callers: Callable[[int], object] | None = None
        self.connections = 0
        self._moves = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0), self._network.loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._network.loop.call_soon_threadsafe(self._server.close)

    def heal(self) -> None:
        """Let everything pass again."""
        self.delay_s, self.cut_after, self.refusing, self.hole = 0.0, None, False, lambda _: False

    def lead(self, *ports: int) -> None:
        """Lead to other ports from now on; what is open is reset at its next byte."""
        self._ports = itertools.cycle(ports)
        self._moves += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        source = int(writer.get_extra_info("peername")[1])
        if self.callers:
            self.callers(source)  # looked up now, for the caller may end before its connection does
        opened: asyncio.StreamWriter | None = None
        try:
            if self.refusing:
                return
            await self._free(source)
            answers, opened = await asyncio.open_connection("127.0.0.1", next(self._ports))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(source, reader, opened, replies=False))
                both.create_task(self._pump(source, answers, writer, replies=True))
        except* (OSError, _Ended):
            pass
        finally:
            _reset(writer)
            if opened:
                _reset(opened)

    async def _pump(
        self, source: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        moves = self._moves
        while data := await reader.read(CHUNK):
            await asyncio.sleep(self.delay_s)
            await self._free(source)
            if self.refusing or moves != self._moves:
                raise _Ended
            if replies and self.cut_after is not None:
                data, self.cut_after = data[: self.cut_after], max(0, self.cut_after - len(data))
                writer.write(data)
                await writer.drain()
                if not self.cut_after:
                    raise _Ended
                continue
            writer.write(data)
            await writer.drain()
        raise _Ended

    async def _free(self, source: int) -> None:
        """Hold what would pass until there is no hole: the network repeats what was not acknowledged."""
        while self.hole(source):
            await asyncio.sleep(POLL_S)


class _Ended(Exception):
    """One end has closed, or we cut."""


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with contextlib.suppress(OSError):
        writer.transport.abort()


def process_of(port: int, candidates: Iterator[int]) -> int | None:
    """Return which of `candidates`, process ids, holds the connection from 127.0.0.1:`port`; Linux only."""
    inode = _inode(port)
    for pid in candidates:
        for handle in Path(f"/proc/{pid}/fd").glob("*") if inode else ():
            with contextlib.suppress(OSError):
                if str(handle.readlink()) == f"socket:[{inode}]":
                    return pid
    return None


def _inode(port: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == ESTABLISHED:
            return fields[9]
    return None
