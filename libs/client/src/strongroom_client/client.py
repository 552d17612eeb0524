"""Own the two clients: how each carries out the steps of a flow. What the flows are is the same for both.

No proxy and no certificate is taken from the environment. A token goes
only to an https:// address, or to this machine; redirects are not followed.
"""

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from strongroom_client import admin, calls, ccxt, webhooks
from strongroom_client import events as following
from strongroom_client import execution as executing
from strongroom_client.errors import StrongroomError
from strongroom_client.flow import Emit, Flow, Items, Open, Pause, ReadLine, Send, Step
from strongroom_client.proxy import TokenAuth, TokenProvider, at_once, fresh, proxy_url
from strongroom_client.transport import EXCHANGE, AsyncBindingTransport, BindingTransport

P = ParamSpec("P")
T = TypeVar("T")
TIMEOUT_S: Final = 40.0  # more than the longest wait for a verdict


class Runner:
    """What carries flows out while it blocks."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def run(self, flow: Flow[T]) -> T:
        """Carry a flow out and return what it returns."""
        try:
            step = next(flow)
            while True:
                step = flow.send(self._do(step, ExitStack(), iter(())))
        except StopIteration as end:
            value: T = end.value
            return value

    def iterate(self, flow: Items[T]) -> Iterator[T]:
        """Carry a flow out and yield what it emits; its stream is closed when nobody iterates any more."""
        with ExitStack() as opened:
            lines: Iterator[str] = iter(())
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Emit):
                        yield step.item
                        step = next(flow)
                        continue
                    outcome = self._do(step, opened, lines)
                    if isinstance(step, Open) and isinstance(outcome, httpx.Response):
                        lines = outcome.iter_lines()
                    step = flow.send(outcome)
            except StopIteration:
                return

    def _do(self, step: Step, opened: ExitStack, lines: Iterator[str]) -> Any:
        try:
            match step:
                case Pause():
                    return time.sleep(step.seconds)
                case Send():
                    return self._http.send(request(self._http, step))
                case Open():
                    opened.close()
                    answer = self._http.send(stream_request(self._http, step), stream=True)
                    opened.callback(answer.close)
                    if not answer.is_success:
                        answer.read()
                    return answer
                case ReadLine():
                    return next(lines, None)
        except httpx.TransportError as error:
            return error


class AsyncRunner:
    """What carries flows out on an event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def run(self, flow: Flow[T]) -> T:
        """Carry a flow out and return what it returns."""
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._do(step, AsyncExitStack(), None))
        except StopIteration as end:
            value: T = end.value
            return value

    async def iterate(self, flow: Items[T]) -> AsyncIterator[T]:
        """Carry a flow out and yield what it emits; its stream is closed when nobody iterates any more."""
        async with AsyncExitStack() as opened:
            lines: AsyncIterator[str] | None = None
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Emit):
                        yield step.item
                        step = next(flow)
                        continue
                    outcome = await self._do(step, opened, lines)
                    if isinstance(step, Open) and isinstance(outcome, httpx.Response):
                        lines = outcome.aiter_lines()
                    step = flow.send(outcome)
            except StopIteration:
                return

    async def _do(self, step: Step, opened: AsyncExitStack, lines: AsyncIterator[str] | None) -> Any:
        try:
            match step:
                case Pause():
                    return await asyncio.sleep(step.seconds)
                case Send():
                    return await self._http.send(request(self._http, step))
                case Open():
                    await opened.aclose()
                    answer = await self._http.send(stream_request(self._http, step), stream=True)
                    opened.push_async_callback(answer.aclose)
                    if not answer.is_success:
                        await answer.aread()
                    return answer
                case ReadLine():
                    return None if lines is None else await anext(lines, None)
        except httpx.TransportError as error:
            return error


def request(http: httpx.Client | httpx.AsyncClient, step: Send) -> httpx.Request:
    """Return the request of a step."""
    return http.build_request(
        step.method, step.path, params=dict(step.params) or None, headers=dict(step.headers), json=step.json
    )


def stream_request(http: httpx.Client | httpx.AsyncClient, step: Open) -> httpx.Request:
    """Return the request that opens a stream, which is given up after a silence longer than heartbeats leave."""
    headers = {"Accept": "text/event-stream", **step.headers}
    return http.build_request("GET", step.path, headers=headers, timeout=httpx.Timeout(10, read=following.SILENCE_S))


def call(build: Callable[P, Flow[T]]) -> Callable[Concatenate[Any, P], T]:
    """Return the blocking method of a flow."""

    @functools.wraps(build)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._runner.run(build(*args, **kwargs))
        return result

    return method


def items(build: Callable[P, Items[T]]) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """Return the blocking method of a flow that emits items."""

    @functools.wraps(build)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        result: Iterator[T] = self._runner.iterate(build(*args, **kwargs))
        return result

    return method


def async_call(build: Callable[P, Flow[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return the asynchronous method of a flow."""

    @functools.wraps(build)
    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._runner.run(build(*args, **kwargs))
        return result

    return method


def async_items(build: Callable[P, Items[T]]) -> Callable[Concatenate[Any, P], AsyncIterator[T]]:
    """Return the asynchronous method of a flow that emits items."""

    @functools.wraps(build)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        result: AsyncIterator[T] = self._runner.iterate(build(*args, **kwargs))
        return result

    return method


class Admin:
    """The operator's calls; the token needs the scope `admin`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    create_tenant = call(admin.create_tenant)
    tenant = call(admin.tenant)
    tenants = items(admin.tenants)
    change_tenant = call(admin.change_tenant)
    disable_tenant = call(admin.disable_tenant)
    enable_tenant = call(admin.enable_tenant)
    freeze = call(admin.freeze)
    freezes = call(admin.freezes)
    lift = call(admin.lift)
    revoke_many = call(admin.revoke_many)
    revocation = call(admin.revocation)


class AsyncAdmin:
    """The operator's calls; the token needs the scope `admin`."""

    def __init__(self, runner: AsyncRunner) -> None:
        self._runner = runner

    create_tenant = async_call(admin.create_tenant)
    tenant = async_call(admin.tenant)
    tenants = async_items(admin.tenants)
    change_tenant = async_call(admin.change_tenant)
    disable_tenant = async_call(admin.disable_tenant)
    enable_tenant = async_call(admin.enable_tenant)
    freeze = async_call(admin.freeze)
    freezes = async_call(admin.freezes)
    lift = async_call(admin.lift)
    revoke_many = async_call(admin.revoke_many)
    revocation = async_call(admin.revocation)


class Webhooks:
    """The tenant's webhooks."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    create = call(webhooks.create)
    list = call(webhooks.every)
    update = call(webhooks.update)
    remove = call(webhooks.remove)
    rotate_secret = call(webhooks.rotate_secret)
    attempts = call(webhooks.attempts)
    dead_letters = call(webhooks.dead_letters)
    replay_dead_letters = call(webhooks.replay_dead_letters)
    replay = call(webhooks.replay)


class AsyncWebhooks:
    """The tenant's webhooks."""

    def __init__(self, runner: AsyncRunner) -> None:
        self._runner = runner

    create = async_call(webhooks.create)
    list = async_call(webhooks.every)
    update = async_call(webhooks.update)
    remove = async_call(webhooks.remove)
    rotate_secret = async_call(webhooks.rotate_secret)
    attempts = async_call(webhooks.attempts)
    dead_letters = async_call(webhooks.dead_letters)
    replay_dead_letters = async_call(webhooks.replay_dead_letters)
    replay = async_call(webhooks.replay)


class Strongroom:
    """A tenant's blocking client; a context manager. `token` is a text or what returns one."""

    def __init__(
        self, base_url: str, token: str | TokenProvider, *, ca_file: str | None = None, timeout: float = TIMEOUT_S
    ) -> None:
        self._token: TokenProvider = (lambda: token) if isinstance(token, str) else token
        self._options = options(base_url, self._token, ca_file, timeout)
        self._base_url = base_url
        self._http = httpx.Client(base_url=base_url, **self._options)
        self._runner = Runner(self._http)
        self.admin = Admin(self._runner)
        self.webhooks = Webhooks(self._runner)

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def proxy(self, binding_id: str) -> httpx.Client:
        """Return an httpx client whose addresses are the exchange's paths, and whose token is fresh; close it."""
        return httpx.Client(base_url=proxy_url(self._base_url, binding_id), **self._options)

    def transport(self, binding_id: str, *, exchange: str = EXCHANGE) -> BindingTransport:
        """Return a transport for an httpx client that calls `exchange`: its requests go through the binding."""
        inner = httpx.HTTPTransport(verify=self._options["verify"], trust_env=False)
        return BindingTransport(proxy_url(self._base_url, binding_id), self._token, inner, exchange)

    def ccxt(self, binding_id: str) -> dict[str, Any]:
        """Return the options that make `ccxt.bitget(…)` trade through the binding; the token in them does not renew."""
        return ccxt.config(proxy_url(self._base_url, binding_id), at_once(self._token))

    bind = call(calls.bind)
    rotate = call(calls.rotate)
    seal = call(calls.seal)
    get = call(calls.get)
    list = items(calls.listed)
    update = call(calls.update)
    verify = call(calls.verify)
    revoke = call(calls.revoke)
    balances = call(calls.balances)
    guide = call(calls.guide)
    audit = items(calls.audit)
    events = items(following.events)
    execute = call(executing.execute)


class AsyncStrongroom:
    """A tenant's asynchronous client; an asynchronous context manager. `token` may also return an awaitable."""

    def __init__(
        self, base_url: str, token: str | TokenProvider, *, ca_file: str | None = None, timeout: float = TIMEOUT_S
    ) -> None:
        self._token: TokenProvider = (lambda: token) if isinstance(token, str) else token
        self._options = options(base_url, self._token, ca_file, timeout)
        self._base_url = base_url
        self._http = httpx.AsyncClient(base_url=base_url, **self._options)
        self._runner = AsyncRunner(self._http)
        self.admin = AsyncAdmin(self._runner)
        self.webhooks = AsyncWebhooks(self._runner)

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    def proxy(self, binding_id: str) -> httpx.AsyncClient:
        """Return an httpx client whose addresses are the exchange's paths, and whose token is fresh; close it."""
        return httpx.AsyncClient(base_url=proxy_url(self._base_url, binding_id), **self._options)

    def transport(self, binding_id: str, *, exchange: str = EXCHANGE) -> AsyncBindingTransport:
        """Return a transport for an httpx client that calls `exchange`: its requests go through the binding."""
        inner = httpx.AsyncHTTPTransport(verify=self._options["verify"], trust_env=False)
        return AsyncBindingTransport(proxy_url(self._base_url, binding_id), self._token, inner, exchange)

    async def ccxt(self, binding_id: str) -> dict[str, Any]:
        """Return the options that make `ccxt.bitget(…)` trade through the binding; the token in them does not renew."""
        return ccxt.config(proxy_url(self._base_url, binding_id), await fresh(self._token))

    bind = async_call(calls.bind)
    rotate = async_call(calls.rotate)
    seal = async_call(calls.seal)
    get = async_call(calls.get)
    list = async_items(calls.listed)
    audit = async_items(calls.audit)
    events = async_items(following.events)
    update = async_call(calls.update)
    verify = async_call(calls.verify)
    revoke = async_call(calls.revoke)
    balances = async_call(calls.balances)
    guide = async_call(calls.guide)
    execute = async_call(executing.execute)


def options(base_url: str, provider: TokenProvider, ca_file: str | None, timeout: float) -> dict[str, Any]:
    """Return what every httpx client here is made with; raise StrongroomError for an address no token must go to."""
    try:
        parts = urlsplit(base_url)
        scheme, host = parts.scheme, parts.hostname or ""
    except ValueError:
        scheme, host = "", ""
    if not host or (scheme != "https" and not (scheme == "http" and _local(host))):
        raise StrongroomError("The gateway's address must begin with https:// (http:// for this machine only).")
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    return {"auth": TokenAuth(provider), "verify": verify, "timeout": timeout, "trust_env": False}


def _local(host: str) -> bool:
    """Tell whether a host is this machine by what it is called, without asking anybody."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
