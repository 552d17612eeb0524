"""Own that no publication is missed for long: after a time without Redis, or without us, all is to be compared.

What met no Redis, or one that another server then replaced, is in no queue; a light round would not find it. It writes
one key and nothing else.
"""

import secrets
from typing import Final

from common import logs
from redis.asyncio import Redis
from redis.exceptions import RedisError

# A worker's next round is a full one while this is there, and takes away the value that it has seen at its beginning.
WANTED: Final = "sr:{reconcile}:wanted"
WANTED_S: Final = 86_400
LOOK_S: Final = 1.0


class Missed:
    """Whether something that was to be published may be gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._server = ""
        self._pending = True  # what was to be published before this process served met nobody

    def note(self) -> None:
        """Remember that a publication failed."""
        self._pending = True

    async def look(self) -> None:
        """Ask for a comparison if something failed, if Redis does not answer, or if it is not the server it was.

        Another run of a server may lack what the one before it had acknowledged, and so may a promoted replica.
        """
        try:
            server = str((await self._redis.info("server"))["run_id"])
            self._pending |= self._server not in ("", server)
            self._server = server
            if self._pending:
                await self._redis.set(WANTED, secrets.token_hex(8), ex=WANTED_S)
                self._pending = False
                logs.get().info("comparison_wanted")
        except (RedisError, OSError):
            self._pending = True
