"""Own the REST client of benchmarks and drills: one tenant's calls, pages and events, as a customer's program."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.bench.accounts import Account
from tests.bench.world import World

Json = dict[str, Any]


class Client:
    """One tenant at the gateway; shares a session."""

    def __init__(self, session: aiohttp.ClientSession, world: World, tenant: str) -> None:
        self.tenant = world.tenant(tenant)["id"]
        self._session = session
        self.url = world.facts["gateway_url"] + "/v1"
        self.headers = world.headers(tenant)

    async def bind(self, account: Account, wait: int = 30) -> Json:
        """Bind an account's key and return the binding, with its verdict if `wait` seconds suffice."""
        body = {
            "exchange": "bitget",
            "label": account.name,
            "subject": f"customer-{account.uid}",
            "scopes": ["spot", "futures"],
            "credential": account.credential(),
        }
        extra = {"Idempotency-Key": secrets.token_hex(8), "Prefer": f"wait={wait}"}
        return await self.call("POST", "/bindings", json=body, headers=extra)

    async def verify(self, binding: str) -> Json:
        """Ask for a fresh verdict without waiting for it."""
        return await self.call("POST", f"/bindings/{binding}/verify")

    async def page(self, **query: str) -> Json:
        """Return one page of the tenant's bindings."""
        return await self.call("GET", "/bindings", params=query)

    async def all(self) -> list[Json]:
        """Return every binding of the tenant."""
        found: list[Json] = []
        cursor: str | None = ""
        while cursor is not None:
            told = await self.page(limit="100", **({"cursor": cursor} if cursor else {}))
            found, cursor = found + told["items"], told["next_cursor"]
        return found

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> Json:
        """Make one call and return its answer; raises aiohttp.ClientResponseError, with what was said, if refused."""
        sent = {**self.headers, **(headers or {})}
        async with self._session.request(method, self.url + path, headers=sent, **options) as answer:
            if not answer.ok:
                answer.reason = (await answer.text())[:200]
            answer.raise_for_status()
            return dict(await answer.json())

    async def done(self, method: str, path: str) -> None:
        """Make one call whose answer has no content; raises aiohttp.ClientResponseError for a refusal."""
        async with self._session.request(method, self.url + path, headers=self.headers) as answer:
            answer.raise_for_status()

    async def events(self) -> AsyncIterator[Json]:
        """Yield each `binding.status` event as it comes, and {"reset": True} for a gap; connect again for ever."""
        last = ""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                headers = {**self.headers, **({"Last-Event-ID": last} if last else {})}
                endless = aiohttp.ClientTimeout(total=None, sock_read=60)
                async with self._session.get(self.url + "/events", headers=headers, timeout=endless) as answer:
                    answer.raise_for_status()
                    async for kind, number, data in _parsed(answer):
                        last = number or last
                        if kind in ("binding.status", "reset"):
                            yield {**data, "reset": kind == "reset"}
            await asyncio.sleep(0.5)


async def _parsed(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, Json]]:
    """Yield (event, id, data) of each server-sent event."""
    fields: dict[str, str] = {}
    async for raw in answer.content:
        name, _, value = raw.decode().rstrip("\r\n").partition(":")
        if name:
            fields[name] = value.strip()
        elif "event" in fields or "data" in fields:
            yield fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data") or "{}")
            fields = {}
        else:
            fields = {}
