"""Own the bare way of a signature: client, gRPC, gRPC, Transit; two processes that hand bytes on and look at nothing.

As a program it is one of the two: where it listens and to whom it hands on comes as JSON on standard input.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import uvloop
from cli.processes import free_port
from common.rpc import client, server
from common.rpc.tls import Identity

from tests.bench.binds import places
from tests.bench.floor import Bare, Places
from tests.bench.world import World

METHOD = "/bench.Hops/Pass"
LEAST_S = 10


@dataclass(frozen=True)
class Hop:
    """One of the two processes: the last one, without `onward`, asks Transit."""

    listen: str
    name: str
    pki: str
    onward: str
    places: Places
    key: str

    def identity(self) -> Identity:
        """Return the certificate of the workload whose place this hop takes."""
        return identity(Path(self.pki), self.name)


def identity(folder: Path, name: str) -> Identity:
    """Return the certificate of a workload of the embedded stack."""
    return Identity(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")


async def serve(hop: Hop) -> None:
    """Hand on until killed."""
    async with Bare(hop.places) as bare:
        if hop.onward:
            onward = client.channel(hop.onward, "vault", hop.identity()).unary_unary(METHOD)

            async def passed(message: bytes, _: Any) -> bytes:
                return bytes(await onward(message, timeout=LEAST_S))

        else:

            async def passed(message: bytes, _: Any) -> bytes:
                return (await bare.signature(hop.key, message)).encode()

        made = grpc.aio.server(options=server.OPTIONS)
        handler = grpc.unary_unary_rpc_method_handler(passed)
        service, method = METHOD.strip("/").split("/")
        made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        made.add_secure_port(hop.listen, hop.identity().server())
        await made.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await made.wait_for_termination()


@asynccontextmanager
async def running(world: World, key: str) -> AsyncIterator[str]:
    """Run both processes, which sign with a key of the tenant of the floors; give the address of the first."""
    folder, where = str(world.stack.home / "pki"), [f"127.0.0.1:{free_port()}" for _ in range(2)]
    hops = [
        Hop(where[0], "verifier", folder, where[1], places(world), key),
        Hop(where[1], "vault", folder, "", places(world), key),
    ]
    started = [await _started(hop) for hop in hops]
    try:
        yield where[0]
    finally:
        for process in started:
            process.kill()
            await process.wait()


async def _started(hop: Hop) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.hops", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asdict(hop)).encode() + b"\n")
    process.stdin.write_eof()
    if await asyncio.wait_for(process.stdout.readline(), 30) != b"ready\n":
        raise SystemExit("a bare hop did not start")
    return process


def main() -> None:
    """Be the hop on standard input."""
    told = json.load(sys.stdin)
    uvloop.run(serve(Hop(**{**told, "places": Places(**told["places"])})))


if __name__ == "__main__":
    main()
