"""Own the drop-in proxy's address, and a token that is fresh at each request."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from urllib.parse import quote

import httpx

from strongroom_client.errors import StrongroomError

TokenProvider = Callable[[], str | Awaitable[str]]


class TokenAuth(httpx.Auth):
    """Puts the provider's token on each request; the provider is asked each time and keeps what it wants to keep."""

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Ask a provider that blocks."""
        request.headers["Authorization"] = f"Bearer {at_once(self._provider)}"
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Ask a provider of either kind."""
        request.headers["Authorization"] = f"Bearer {await fresh(self._provider)}"
        yield request


def at_once(provider: TokenProvider) -> str:
    """Return a token without waiting; raise TypeError for a provider that would have to be awaited."""
    token = provider()
    if not isinstance(token, str):
        raise TypeError("A blocking client needs a token provider that returns a text.")
    return _checked(token)


async def fresh(provider: TokenProvider) -> str:
    """Return a token from a provider of either kind."""
    token = provider()
    return _checked(await token if inspect.isawaitable(token) else token)


def _checked(token: str) -> str:
    """Return what can be a token; raise StrongroomError, without a part of it, for what no header can carry."""
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise StrongroomError("What is given as access token is none: it is empty, or more than one word.")
    return token


def proxy_url(base_url: str, binding_id: str) -> str:
    """Return the address that stands in for the exchange's."""
    return f"{base_url.rstrip('/')}/v1/bindings/{quote(binding_id, safe='')}/proxy"
