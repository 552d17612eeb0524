"""Own httpx transports for programs that call the exchange with httpx: what was meant for it goes through a binding.

A program's own key, signature and passphrase never leave; a request for any other address is refused.
"""

from typing import Final

import httpx

from strongroom_client.proxy import TokenProvider, at_once, fresh

EXCHANGE: Final = "https://api.bitget.com"
# Of a program's headers these go on; whatever it signed with does not.
KEPT: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    )
)


class BindingTransport(httpx.BaseTransport):
    """Carries requests for `exchange` to a binding's base URL, each with a token that is fresh."""

    def __init__(self, base: str, token: TokenProvider, inner: httpx.BaseTransport, exchange: str = EXCHANGE) -> None:
        self._base, self._exchange = httpx.URL(base), httpx.URL(exchange)
        self._token, self._inner = token, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on, with the token in place of a key."""
        carried = _carried(request, self._base, self._exchange, at_once(self._token))
        return self._inner.handle_request(carried)

    def close(self) -> None:
        """Close connections."""
        self._inner.close()


class AsyncBindingTransport(httpx.AsyncBaseTransport):
    """The same for asynchronous programs."""

    def __init__(
        self, base: str, token: TokenProvider, inner: httpx.AsyncBaseTransport, exchange: str = EXCHANGE
    ) -> None:
        self._base, self._exchange = httpx.URL(base), httpx.URL(exchange)
        self._token, self._inner = token, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on, with the token in place of a key."""
        carried = _carried(request, self._base, self._exchange, await fresh(self._token))
        return await self._inner.handle_async_request(carried)

    async def aclose(self) -> None:
        """Close connections."""
        await self._inner.aclose()


def _carried(request: httpx.Request, base: httpx.URL, exchange: httpx.URL, token: str) -> httpx.Request:
    """Return the request as it goes to the binding: same method, path, query and body."""
    if (request.url.scheme, request.url.netloc) != (exchange.scheme, exchange.netloc):
        raise httpx.UnsupportedProtocol(f"This transport carries requests for {exchange} alone.", request=request)
    target = base.copy_with(raw_path=base.raw_path + request.url.raw_path)
    headers = [(name, value) for name, value in request.headers.items() if name in KEPT]
    headers += [("host", base.netloc.decode()), ("authorization", f"Bearer {token}")]
    return httpx.Request(request.method, target, headers=headers, stream=request.stream, extensions=request.extensions)
