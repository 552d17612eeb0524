"""The options that the client library gives ccxt, taken by the real ccxt as its README shows it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import ROOT, Credentials

pytestmark = pytest.mark.timeout(400)  # the first test makes the clients' environment
PROGRAM = """
import asyncio, json, sys
import ccxt, ccxt.async_support
from strongroom_client import AsyncStrongroom, Strongroom

told = json.loads(sys.stdin.read())
with Strongroom(told["url"], told["token"]) as room:
    client = ccxt.bitget(room.ccxt(told["binding_id"]))
    answer = {"urls": sorted(map(str, client.urls["api"].values())), "total": client.fetch_balance()["total"]}
    try:
        client.withdraw("USDT", 1, "0x" + "0" * 40, params={"network": "ERC20"})
    except ccxt.BaseError as refused:
        answer["refused"] = str(refused)

async def meanwhile():
    async with AsyncStrongroom(told["url"], lambda: told["token"]) as room:
        client = ccxt.async_support.bitget(await room.ccxt(told["binding_id"]))
        try:
            return (await client.fetch_balance())["total"]
        finally:
            await client.close()

print(json.dumps({**answer, "again": asyncio.run(meanwhile())}))
"""


@pytest.fixture
def way() -> str:
    """Behind the whole stack."""
    return "proxy"


def test_ccxt_trades_by_the_options_of_the_library(credentials: Credentials, clients_python: Path) -> None:
    url, _, rest = credentials.base_url.partition("/v1/bindings/")
    told = {"url": url, "token": credentials.api_key, "binding_id": rest.removesuffix("/proxy")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "libs" / "client" / "src")}
    done = subprocess.run(
        [str(clients_python), "-c", PROGRAM], input=json.dumps(told), env=environment, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert set(answer["urls"]) == {credentials.base_url}
    assert len(answer["urls"]) > 5
    assert answer["total"]["USDT"] == answer["again"]["USDT"] > 0
    assert "never signed" in answer["refused"]
