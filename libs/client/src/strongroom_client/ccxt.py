"""Own what ccxt is given in place of a key: a binding's base URL for every part of the exchange, and our token.

ccxt itself is asked which parts there are: one that it knew and this did not would send the token to the exchange.
"""

import importlib
from typing import Any

from strongroom_client.errors import StrongroomError

UNUSED = "unused"


def config(base: str, token: str) -> dict[str, Any]:
    """Return the options for `ccxt.bitget(…)`, blocking or asynchronous; raise StrongroomError where ccxt is missing.

    ccxt keeps the token as its API key: when it has expired, give the client another (`client.apiKey = …`).
    """
    try:
        exchange = importlib.import_module("ccxt").bitget()
    except (ImportError, AttributeError):
        raise StrongroomError("ccxt with bitget is not installed: pip install ccxt.") from None
    urls = {"api": dict.fromkeys(exchange.urls["api"], base)}
    return {"apiKey": token, "secret": UNUSED, "password": UNUSED, "urls": urls}
