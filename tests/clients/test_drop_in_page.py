"""The Python of docs/drop-in.md as it stands there, run by the clients that people have, behind the whole stack."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import ROOT, Credentials

pytestmark = pytest.mark.timeout(400)  # the first test makes the clients' environment
LINES, BY_LIBRARY, TYPED = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs/drop-in.md").read_text(), re.MULTILINE | re.DOTALL
)
BEGIN = """
import json, sys
TOKEN, BASE = json.loads(sys.stdin.read())
"""
ROOM = """
from strongroom_client import Strongroom
url, _, rest = BASE.partition("/v1/bindings/")
binding_id, room = rest.removesuffix("/proxy"), Strongroom(url, lambda: TOKEN)
"""
TRADED = """
told = {"urls": sorted(map(str, client.urls["api"].values())), "total": client.fetch_balance()["total"]["USDT"]}
try:
    client.withdraw("USDT", 1, "0x" + "0" * 40, params={"network": "ERC20"})
except ccxt.BaseError as refused:
    told["refused"] = str(refused)
print(json.dumps(told))
"""
MEANWHILE = """
import asyncio
import ccxt.async_support as ccxt
from strongroom_client import AsyncStrongroom

async def main():
    async with AsyncStrongroom(url, lambda: TOKEN) as room:
        client = ccxt.bitget(await room.ccxt(binding_id))
        try:
            print(json.dumps((await client.fetch_balance())["total"]["USDT"]))
        finally:
            await client.close()

asyncio.run(main())
"""
MADE = "\nprint(json.dumps([client.http_client.base_url, client.http_client.credentials.access_key]))\n"


@pytest.fixture
def way() -> str:
    """Behind the whole stack."""
    return "proxy"


def printed(python: Path, credentials: Credentials, *parts: str) -> Any:
    """Run a program of parts in the clients' environment, with our library beside them, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "libs" / "client" / "src")}
    done = subprocess.run(
        [str(python), "-c", BEGIN + "".join(parts)],
        input=json.dumps([credentials.api_key, credentials.base_url]),
        env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("lines", [LINES, ROOM + BY_LIBRARY], ids=["by hand", "by the library"])
def test_ccxt_trades_by_the_lines_of_the_page(credentials: Credentials, clients_python: Path, lines: str) -> None:
    told = printed(clients_python, credentials, "import ccxt\n", lines, TRADED)
    assert set(told["urls"]) == {credentials.base_url}
    assert len(told["urls"]) > 5
    assert told["total"] > 0
    assert "never signed" in told["refused"]


@pytest.mark.parametrize("credentials", ["unified"], indirect=True)
def test_ccxt_asynchronous_takes_the_librarys_options(credentials: Credentials, clients_python: Path) -> None:
    assert printed(clients_python, credentials, ROOM, MEANWHILE) > 0


@pytest.mark.parametrize("credentials", ["classic"], indirect=True)
def test_typed_bitget_is_made_by_the_lines_of_the_page(credentials: Credentials, clients_python: Path) -> None:
    told = printed(clients_python, credentials, "from typed_bitget import Bitget\n", TYPED, MADE)
    assert told == [credentials.base_url, credentials.api_key]
