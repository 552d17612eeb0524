"""The control port: change accounts, faults and limits, and read the log, while the exchange runs. For loopback
only; it has no authentication, and it shows credentials only where a caller asks for them."""

import base64
import json
from dataclasses import asdict
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator import config
from simulator.accounts import Account
from simulator.exchange import Exchange, Seen
from simulator.request import PASSPHRASE, SIGN
from simulator.values import ConfigError

HIDDEN: Final = "hidden"
_SECRET_FIELDS: Final = ("passphrase", "secret_key")
_SECRET_HEADERS: Final = (PASSPHRASE.decode(), SIGN.decode())


def build_control(exchange: Exchange) -> Starlette:
    """Return the control application of `exchange`."""
    control = _Control(exchange)
    return Starlette(
        routes=[
            Route("/healthz", control.health, methods=["GET"]),
            Route("/accounts", control.list_accounts, methods=["GET"]),
            Route("/accounts/{api_key}", control.read_account, methods=["GET"]),
            Route("/accounts/{api_key}", control.write_account, methods=["PUT"]),
            Route("/accounts/{api_key}", control.delete_account, methods=["DELETE"]),
            Route("/faults", control.read_faults, methods=["GET"]),
            Route("/faults", control.write_faults, methods=["PUT"]),
            Route("/faults", control.add_faults, methods=["POST"]),
            Route("/faults", control.delete_faults, methods=["DELETE"]),
            Route("/stats", control.read_stats, methods=["GET"]),
            Route("/stats", control.delete_stats, methods=["DELETE"]),
            Route("/limits", control.write_limits, methods=["PUT"]),
            Route("/requests", control.read_requests, methods=["GET"]),
            Route("/requests", control.delete_requests, methods=["DELETE"]),
            Route("/reset", control.reset, methods=["POST"]),
        ],
        exception_handlers={ConfigError: _refuse},
    )


class _Control:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def list_accounts(self, request: Request) -> Response:
        shown = [self._shown(account, request) for account in self._exchange.accounts.values()]
        return JSONResponse({"accounts": shown})

    async def read_account(self, request: Request) -> Response:
        account = self._exchange.accounts.get(request.path_params["api_key"])
        return _missing() if account is None else JSONResponse(self._shown(account, request))

    async def write_account(self, request: Request) -> Response:
        """Create a key, or change the given fields of a known one; a new secret replaces the old one whatever its
        kind. Given balances are what the user owns from now on, whatever has moved before."""
        api_key = request.path_params["api_key"]
        given = await _object(request)
        if given.get("api_key", api_key) != api_key:
            raise ConfigError("api_key must be the one in the path")
        known = self._exchange.accounts.get(api_key)
        given = {name: value for name, value in given.items() if value != HIDDEN}
        account = config.account({**_base(known, given), **given, "api_key": api_key})
        self._exchange.accounts[api_key] = account
        if "balances" in given:
            self._exchange.book(account.uid).moved.clear()
        return JSONResponse(self._shown(account, request), status_code=200 if known else 201)

    def _shown(self, account: Account, request: Request) -> dict[str, Any]:
        return _shown(self._exchange.owned(account), request)

    async def delete_account(self, request: Request) -> Response:
        account = self._exchange.remove(request.path_params["api_key"])
        return _missing() if account is None else Response(status_code=204)

    async def read_faults(self, _: Request) -> Response:
        return JSONResponse({"faults": [asdict(fault) for fault in self._exchange.faults.active]})

    async def write_faults(self, request: Request) -> Response:
        """Replace all faults by `{"faults": [...]}`."""
        self._exchange.faults.replace(config.faults((await _object(request)).get("faults")), self._exchange.clock())
        return await self._door(await self.read_faults(request))

    async def add_faults(self, request: Request) -> Response:
        """Set the faults of `{"faults": [...]}` beside those there are."""
        self._exchange.faults.add(config.faults((await _object(request)).get("faults")), self._exchange.clock())
        return await self._door(await self.read_faults(request))

    async def delete_faults(self, request: Request) -> Response:
        """Remove every fault; `account=` only those set for that account."""
        if account := request.query_params.get("account"):
            self._exchange.faults.remove(account)
        else:
            self._exchange.faults.replace(())
        return await self._door(Response(status_code=204))

    async def _door(self, answer: Response) -> Response:
        await self._exchange.door.set_open(not self._exchange.faults.refusing)
        return answer

    async def read_stats(self, _: Request) -> Response:
        """Return how many requests came, in all and for each method and path, what they were answered, and how often a
        limit was met."""
        exchange = self._exchange
        return JSONResponse(
            {
                "received": exchange.received,
                "arrived": dict(exchange.arrived),
                "codes": dict(exchange.codes),
                "limits": exchange.limits.watched(),
            }
        )

    async def delete_stats(self, _: Request) -> Response:
        """Count from now on."""
        self._exchange.codes.clear()
        self._exchange.arrived.clear()
        self._exchange.limits.forget()
        return Response(status_code=204)

    async def write_limits(self, request: Request) -> Response:
        self._exchange.limits.enforced = config.enforced(await _object(request))
        return JSONResponse({"enforced": self._exchange.limits.enforced})

    async def read_requests(self, request: Request) -> Response:
        """Return the log, oldest first; `after=N` leaves out entries up to that number, `credentials=1` shows the
        hidden headers."""
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit():
            raise ConfigError("after must be a number")
        entries = [_entry(seen, request) for seen in self._exchange.log if seen.number > int(after)]
        return JSONResponse({"requests": entries, "received": self._exchange.received})

    async def delete_requests(self, _: Request) -> Response:
        self._exchange.log.clear()
        return Response(status_code=204)

    async def reset(self, _: Request) -> Response:
        self._exchange.reset()
        return await self._door(Response(status_code=204))


def _base(known: Account | None, given: dict[str, Any]) -> dict[str, Any]:
    base = config.document(known) if known else {}
    if "secret_key" in given or "public_key_pem" in given:
        base.pop("secret_key", None)
        base.pop("public_key_pem", None)
    return base


def _shown(account: Account, request: Request) -> dict[str, Any]:
    shown = config.document(account)
    if not _wants_credentials(request):
        shown |= {name: HIDDEN for name in _SECRET_FIELDS if name in shown}
    return shown


def _entry(seen: Seen, request: Request) -> dict[str, Any]:
    open_headers = _wants_credentials(request)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in seen.headers]
    return {
        "number": seen.number,
        "at_ms": seen.at_ms,
        "peer": seen.peer,
        "account": seen.account,
        "method": seen.method,
        "target": seen.target,
        "headers": [
            [name, value if open_headers or name not in _SECRET_HEADERS else HIDDEN] for name, value in headers
        ],
        "body": seen.body.decode("utf-8", "backslashreplace"),
        "body_base64": base64.b64encode(seen.body).decode(),
        "status": seen.status,
        "code": seen.code,
    }


def _wants_credentials(request: Request) -> bool:
    return request.query_params.get("credentials") == "1"


async def _object(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(await request.body())
    except ValueError as error:
        raise ConfigError("the body must be JSON") from error
    if not isinstance(value, dict):
        raise ConfigError("the body must be a JSON object")
    return value


async def _refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=422)


def _missing() -> Response:
    return JSONResponse({"error": "no such account"}, status_code=404)
