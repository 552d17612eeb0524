"""bitget-api of npm as anybody has it, but for address and key: it trades at Strongroom in the exchange's place."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import Exchange, Platform
from tests.clients.library import Library, Refused

HERE = Path(__file__).with_name("node")
NPM = shutil.which("npm") if shutil.which("node") else None
pytestmark = [
    pytest.mark.timeout(400),  # the first test installs the client
    pytest.mark.skipif(NPM is None, reason="node and npm are not installed"),
]
SPOT = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "force": "gtc", "price": "50000", "size": "0.001"}
SWAP = {"symbol": "BTCUSDT", "productType": "USDT-FUTURES", "marginMode": "crossed", "marginCoin": "USDT"}
UNIFIED = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "timeInForce": "gtc", "price": "50000"}
Start = Callable[[str, str], Library]


@pytest.fixture(scope="session")
def driver() -> Path:
    """Install the client from its lock, once, and return the program that drives it."""
    home = Path(sys.prefix) / "clients-node"
    home.mkdir(exist_ok=True)
    lock, made = HERE / "package-lock.json", home / "made.json"
    for name in ("package.json", "package-lock.json", "driver.mjs"):
        shutil.copyfile(HERE / name, home / name)
    if not made.exists() or made.read_bytes() != lock.read_bytes():
        assert NPM
        subprocess.run([NPM, "ci", "--silent", "--no-audit", "--no-fund"], check=True, cwd=home)
        made.write_bytes(lock.read_bytes())
    return home / "driver.mjs"


@pytest.fixture
def way() -> str:
    return "proxy"


@pytest.fixture
def start(driver: Path, platform: Platform, exchange: Exchange) -> Iterator[Start]:
    """Start one of the library's clients with what stands for a key."""
    with contextlib.ExitStack() as running:

        def one(name: str, mode: str) -> Library:
            given = platform.credentials[mode]
            keys = {"apiKey": given.api_key, "apiSecret": given.secret, "apiPass": given.passphrase}
            return running.enter_context(Library("node", driver, client=name, url=given.base_url, **keys))

        yield one


def test_a_classic_account_trades_spot(start: Start) -> None:
    client = start("RestClientV2", "classic")
    held = {one["coin"]: one["available"] for one in client("getSpotAccountAssets")}
    placed = client("spotSubmitOrder", {**SPOT, "clientOid": "mine-1"})
    assert placed["clientOid"] == "mine-1"
    assert [one["orderId"] for one in client("getSpotOpenOrders")] == [placed["orderId"]]
    changed = {"symbol": "BTCUSDT", "orderId": placed["orderId"], "price": "49000", "size": "0.001"}
    amended = client("spotCancelandSubmitOrder", changed)
    assert amended["success"] == "success"
    client("spotCancelOrder", {"symbol": "BTCUSDT", "orderId": amended["orderId"]})
    rows = [{**SPOT, "clientOid": f"row-{number}"} for number in range(2)]
    batch = client("spotBatchSubmitOrders", {"symbol": "BTCUSDT", "orderList": rows})
    ids = [{"orderId": one["orderId"]} for one in batch["successList"]]
    assert len(ids) == 2
    client("spotBatchCancelOrders", {"symbol": "BTCUSDT", "orderList": ids})
    assert client("getSpotOpenOrders") == []
    assert {one["coin"]: one["available"] for one in client("getSpotAccountAssets")} == held


def test_a_classic_account_trades_futures(start: Start) -> None:
    client = start("RestClientV2", "classic")
    assert client("getFuturesAccountAssets", {"productType": "USDT-FUTURES"})[0]["marginCoin"] == "USDT"
    limit = {**SWAP, "side": "buy", "orderType": "limit", "force": "gtc", "price": "50000", "size": "0.01"}
    placed = client("futuresSubmitOrder", limit)
    product = {"symbol": "BTCUSDT", "productType": "USDT-FUTURES"}
    changed = {"newPrice": "49000", "newSize": "0.02", "newClientOid": "second"}
    amended = client("futuresModifyOrder", {**product, "orderId": placed["orderId"], **changed})
    (row,) = client("getFuturesOpenOrders", {"productType": "USDT-FUTURES"})["entrustedList"]
    assert (row["orderId"], row["clientOid"], float(row["price"])) == (amended["orderId"], "second", 49000)
    client("futuresCancelOrder", {**product, "orderId": amended["orderId"]})
    rows = [{name: limit[name] for name in ("side", "orderType", "force", "price", "size")} for _ in range(2)]
    batch = client("futuresBatchSubmitOrders", {**SWAP, "orderList": rows})
    ids = [{"orderId": one["orderId"]} for one in batch["successList"]]
    ended = client("futuresBatchCancelOrders", {**SWAP, "orderIdList": ids})
    assert (len(ids), len(ended["successList"])) == (2, 2)
    client("futuresSubmitOrder", {**SWAP, "side": "buy", "orderType": "market", "size": "0.01"})
    (position,) = client("getFuturesPositions", {"productType": "USDT-FUTURES", "marginCoin": "USDT"})
    assert (position["symbol"], position["holdSide"], float(position["total"])) == ("BTCUSDT", "long", 0.01)
    protects = {**product, "marginCoin": "USDT", "planType": "pos_loss", "triggerPrice": "60000", "holdSide": "long"}
    stop = client("futuresSubmitTPSLOrder", {**protects, "triggerType": "mark_price"})
    waiting = {"productType": "USDT-FUTURES", "planType": "profit_loss"}
    (plan,) = client("getFuturesPlanOrders", waiting)["entrustedList"]
    assert (plan["orderId"], plan["planType"]) == (stop["orderId"], "pos_loss")
    client("futuresCancelPlanOrder", {**product, "orderIdList": [{"orderId": stop["orderId"]}]})
    assert client("getFuturesPlanOrders", waiting)["entrustedList"] is None


@pytest.mark.parametrize(("category", "size"), [("SPOT", "0.001"), ("USDT-FUTURES", "0.01")])
def test_a_unified_account_trades(start: Start, category: str, size: str) -> None:
    client = start("RestClientV3", "unified")
    assert client("getBalances")["assets"]
    order = {**UNIFIED, "category": category, "qty": size}
    placed = client("submitNewOrder", order)
    named = {"category": category, "symbol": "BTCUSDT", "orderId": placed["orderId"]}
    client("modifyOrder", {**named, "price": "49000", "qty": size})
    (open_order,) = client("getUnfilledOrders", {"category": category})["list"]
    assert (open_order["orderId"], float(open_order["price"])) == (placed["orderId"], 49000)
    client("cancelOrder", named)
    assert len(client("placeBatchOrders", [order, order])) == 2
    client("cancelAllOrders", {"category": category, "symbol": "BTCUSDT"})
    assert not client("getUnfilledOrders", {"category": category})["list"]
    if category != "SPOT":
        client("submitNewOrder", {**order, "orderType": "market"})
        (position,) = client("getCurrentPosition", {"category": category})["list"]
        assert (position["symbol"], position["posSide"]) == ("BTCUSDT", "long")


@pytest.mark.parametrize("mode", ["classic", "unified"])
def test_what_is_never_signed_is_the_clients_own_error_with_our_sentence(
    start: Start, exchange: Exchange, mode: str
) -> None:
    money = {"coin": "USDT", "amount": "10", "fromType": "spot", "toType": "usdt_futures"}
    out = {"coin": "USDT", "transferType": "on_chain", "address": "T" + "a" * 33, "size": "10", "chain": "trc20"}
    calls = {
        "classic": ("RestClientV2", ("spotWithdraw", out), ("spotTransfer", {**money, "size": "10"})),
        "unified": ("RestClientV3", ("submitWithdraw", out), ("submitTransfer", money)),
    }
    name, withdrawal, transfer = calls[mode]
    client, before = start(name, mode), _posts(exchange)
    for (method, wanted), sentence in ((withdrawal, "Withdrawals are never signed"), (transfer, "Moving funds")):
        with pytest.raises(Refused, match=sentence):
            client(method, wanted)
    assert _posts(exchange) == before


def _posts(exchange: Exchange) -> dict[str, int]:
    """Return what arrived but the reads, of which a verification makes some at any time."""
    return {name: count for name, count in exchange.arrived().items() if name.startswith("POST")}
