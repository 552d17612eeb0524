"""Runs ccxt in the clients' own environment, one call per line of JSON: `[method, args, kwargs]` in, `{"result"}` or
`{"error", "text"}` out. Imports nothing of ours; whatever it is told to call is called as it stands."""

import asyncio
import importlib
import inspect
import json
import sys


async def main(settings):
    library = importlib.import_module(settings["library"])
    client = library.bitget({name: settings[name] for name in ("apiKey", "secret", "password")})
    client.urls["api"] = dict.fromkeys(client.urls["api"], settings["url"])
    try:
        for line in sys.stdin:
            name, args, kwargs = json.loads(line)
            sys.stdout.write(json.dumps(await called(getattr(client, name), args, kwargs)) + "\n")
            sys.stdout.flush()
    finally:
        if inspect.iscoroutinefunction(getattr(client, "close", None)):
            await client.close()


async def called(method, args, kwargs):
    try:
        answer = method(*args, **kwargs)
        return {"result": await answer if inspect.isawaitable(answer) else answer}
    except Exception as error:  # noqa: BLE001  whatever a client raises is its answer
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
