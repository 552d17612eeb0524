"""Own the noisy neighbour: one tenant's requests at a steady rate, whatever the answers, in a process of its own.

It reads what to do as JSON from standard input, the token with it, and writes what was answered to standard output.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import aiohttp
import uvloop

AT_ONCE = 200  # beyond so many unanswered requests the next one waits
TOLD = ("RateLimit", "RateLimit-Policy", "Retry-After")


async def flood(url: str, token: str, per_s: float, seconds: float) -> dict[str, Any]:
    """Ask for `url` so often for so long; return how many were answered how, and how many 429 lacked a header."""
    answered, lacking, gate = Counter[str](), 0, asyncio.Semaphore(AT_ONCE)

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal lacking
        try:
            async with session.get(url) as answer:
                await answer.read()
                answered[str(answer.status)] += 1
                lacking += answer.status == 429 and not all(name in answer.headers for name in TOLD)
        except (aiohttp.ClientError, TimeoutError):
            answered["cut"] += 1
        finally:
            gate.release()

    connector, timeout = aiohttp.TCPConnector(limit=AT_ONCE), aiohttp.ClientTimeout(total=30)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        started, sent = time.monotonic(), 0
        async with asyncio.TaskGroup() as asked:
            while (now := time.monotonic() - started) < seconds:
                while sent < now * per_s:
                    await gate.acquire()
                    asked.create_task(one(session))
                    sent += 1
                await asyncio.sleep(1 / per_s)
    return {"per_s": sent / seconds, "answered": dict(answered), "lacking": lacking}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(flood(**json.load(sys.stdin)))))
