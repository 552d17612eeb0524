"""Own the one question that tells whether the exchange answers our address: its public time, which no account limits.

It signs nothing and waits for no turn.
"""

from typing import Final

import aiohttp

from verifier.bitget import codes, reply

PATH: Final = "/api/v2/public/time"
TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
ANSWER_LIMIT: Final = 1 << 12


class Reach:
    """Ask one base URL (http or https, without a trailing slash)."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = base_url.rstrip("/") + PATH

    async def __call__(self) -> bool | None:
        """Return whether our address is served; False when it had too many requests, None when nothing is known."""
        try:
            async with self._session.get(self._url, timeout=TIMEOUT, allow_redirects=False) as response:
                content = await response.content.read(ANSWER_LIMIT)
                answer = reply.read(f"GET {PATH}", response.status, content, None, ())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        return False if answer.throttled else True if answer.code == codes.OK else None
