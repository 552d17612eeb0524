"""Runs typed-bitget in the clients' own environment, one call per line of JSON: `[dotted method, args, kwargs]` in,
`{"result"}` or `{"error", "text"}` out. Imports nothing of ours; the client checks every answer by its own types."""

import asyncio
import functools
import json
import sys

from typed_bitget import Bitget


async def main(settings):
    client = Bitget.new(**settings["credentials"])
    client.http_client.base_url = settings["url"]
    async with client.http_client:
        for line in sys.stdin:
            name, args, kwargs = json.loads(line)
            sys.stdout.write(json.dumps(await called(client, name, args, kwargs), default=str) + "\n")
            sys.stdout.flush()


async def called(client, name, args, kwargs):
    try:
        method = functools.reduce(getattr, name.split("."), client)
        return {"result": await method(*args, **kwargs)}
    except Exception as error:  # noqa: BLE001  whatever a client raises is its answer
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
