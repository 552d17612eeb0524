"""typed-bitget as anybody has it, but for address and key: it checks what it sends and is answered by types of its own,
at the exchange and at Strongroom in its place.

The calls made with `validate=False` go without its check of the answer: it asks for fields that the simulator does not
show, and knows no position that is not of one side."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import Credentials, Exchange
from tests.clients.library import Library, Refused

pytestmark = pytest.mark.timeout(400)  # the first test makes the clients' environment
PRODUCT = "USDT-FUTURES"
SPOT = {"side": "buy", "orderType": "limit", "force": "gtc", "price": "50000", "size": "0.001"}
SWAP = {"side": "buy", "orderType": "limit", "force": "gtc", "price": "50000", "size": "0.01"}
MARGIN = {"symbol": "BTCUSDT", "productType": PRODUCT, "marginMode": "crossed", "marginCoin": "USDT"}
UNIFIED = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "timeInForce": "gtc", "price": "50000"}
MARKET = {"symbol": "BTCUSDT", "side": "buy", "orderType": "market"}
OUT = {"coin": "USDT", "transfer_type": "on_chain", "address": "T" + "a" * 33, "size": "10", "chain": "trc20"}
MOVE = {"from_type": "spot", "to_type": "usdt_futures", "amount": "10", "coin": "USDT"}


@pytest.fixture(params=["direct", "proxy"])
def way(request: pytest.FixtureRequest) -> str:
    """Whether the client asks the exchange itself or the base URL of a binding."""
    return str(request.param)


@pytest.fixture
def client(clients_python: Path, credentials: Credentials, exchange: Exchange) -> Iterator[Library]:
    # The sample account tells success in the other of the exchange's two words; the client knows this one alone.
    for account in httpx.get(f"{exchange.control_url}/accounts").json()["accounts"]:
        if account["name"] == f"{credentials.mode}-trader":
            style = {**account["style"], "success": "msg"}
            path = f"{exchange.control_url}/accounts/{account['api_key']}"
            httpx.put(path, json={"style": style}).raise_for_status()
    keys = {"access_key": credentials.api_key, "secret_key": credentials.secret, "passphrase": credentials.passphrase}
    program = Path(__file__).with_name("typed_driver.py")
    with Library(clients_python, program, url=credentials.base_url, credentials=keys) as started:
        yield started


classic = pytest.mark.parametrize("credentials", ["classic"], indirect=True)
unified = pytest.mark.parametrize("credentials", ["unified"], indirect=True)


@classic
def test_a_classic_account_trades_spot(client: Library, exchange: Exchange) -> None:
    held = {one["coin"]: one["available"] for one in client("classic.spot.account.assets")}
    placed = client("classic.spot.order.place", {**SPOT, "symbol": "BTCUSDT", "clientOid": "mine-1"})
    assert placed["clientOid"] == "mine-1"
    assert [one["orderId"] for one in client("classic.spot.order.open", validate=False)] == [placed["orderId"]]
    change = {"symbol": "BTCUSDT", "price": "49000", "size": "0.001", "order_id": placed["orderId"]}
    amended = client("classic.spot.order.cancel_replace", **change)
    assert amended["success"] == "success"
    (open_order,) = client("classic.spot.order.open", validate=False)
    assert (open_order["orderId"], float(open_order["priceAvg"])) == (amended["orderId"], 49000)
    client("classic.spot.order.cancel", symbol="BTCUSDT", order_id=amended["orderId"])
    batch = client("classic.spot.order.batch.place", "BTCUSDT", order_list=[SPOT, SPOT])
    rows = [{"orderId": one["orderId"]} for one in batch["successList"]]
    assert len(rows) == 2
    assert len(client("classic.spot.order.batch.cancel", "BTCUSDT", order_list=rows)["successList"]) == 2
    assert client("classic.spot.order.open") == []
    assert {one["coin"]: one["available"] for one in client("classic.spot.account.assets")} == held
    assert exchange.arrived()["POST /api/v2/spot/trade/place-order"] == 1


@classic
def test_a_classic_account_trades_futures(client: Library, exchange: Exchange) -> None:
    assert client("classic.mix.account.list", PRODUCT, validate=False)[0]["marginCoin"] == "USDT"
    product = {"symbol": "BTCUSDT", "product_type": PRODUCT}
    placed = client("classic.mix.order.place", {**MARGIN, **SWAP})
    change = {**product, "new_client_oid": "mine-2", "new_size": "0.01", "new_price": "49000"}
    amended = client("classic.mix.order.modify", order_id=placed["orderId"], **change)
    (open_order,) = client("classic.mix.order.open", product_type=PRODUCT, validate=False)["entrustedList"]
    assert (open_order["orderId"], float(open_order["price"])) == (amended["orderId"], 49000)
    client("classic.mix.order.cancel", order_id=amended["orderId"], **product)
    margin = {"margin_coin": "USDT", "margin_mode": "crossed"}
    batch = client("classic.mix.order.batch_place", order_list=[SWAP, SWAP], **product, **margin)
    rows = [{"orderId": one["orderId"]} for one in batch["successList"]]
    assert len(rows) == 2
    assert len(client("classic.mix.order.batch_cancel", rows, **product)["successList"]) == 2
    client("classic.mix.order.place", {**MARGIN, "side": "buy", "orderType": "market", "size": "0.01"})
    (position,) = client("classic.mix.position.list", PRODUCT, margin_coin="USDT", validate=False)
    assert (position["symbol"], position["holdSide"], float(position["total"])) == ("BTCUSDT", "long", 0.01)
    client("classic.mix.position.close", "BTCUSDT", product_type=PRODUCT, validate=False)
    assert client("classic.mix.position.list", PRODUCT, margin_coin="USDT") == []
    assert exchange.arrived()["POST /api/v2/mix/order/modify-order"] == 1


@unified
@pytest.mark.parametrize(("category", "size"), [("SPOT", "0.001"), (PRODUCT, "0.01")])
def test_a_unified_account_trades(client: Library, exchange: Exchange, category: str, size: str) -> None:
    assert client("uta.account.assets", validate=False)["assets"]
    order = {**UNIFIED, "category": category, "qty": size}
    placed = client("uta.trade.order.place", {**order, "clientOid": "mine-3"})
    assert placed["clientOid"] == "mine-3"
    named = {"order_id": placed["orderId"], "category": category, "symbol": "BTCUSDT"}
    client("uta.trade.order.modify", price="49000", qty=size, **named)
    (open_order,) = client("uta.trade.order.unfilled", category)["list"]
    assert (open_order["orderId"], float(open_order["price"])) == (placed["orderId"], 49000)
    client("uta.trade.order.cancel", **named)
    assert client("uta.trade.order.info", order_id=placed["orderId"])["orderStatus"] == "cancelled"
    batch = client("uta.trade.order.place_batch", [order, order])
    rows = [{"orderId": one["orderId"], "category": category, "symbol": "BTCUSDT"} for one in batch]
    assert len(client("uta.trade.order.cancel_batch", rows)) == 2
    assert not client("uta.trade.order.unfilled", category)["list"]
    if category == PRODUCT:
        client("uta.trade.order.place", {**MARKET, "category": category, "qty": size})
        (position,) = client("uta.position.current_positions", category)["list"]
        assert (position["symbol"], position["posSide"]) == ("BTCUSDT", "long")
        client("uta.trade.close_positions", category, symbol="BTCUSDT")
        assert not client("uta.position.current_positions", category)["list"]
    assert exchange.arrived()["POST /api/v3/trade/modify-order"] == 1


@pytest.mark.parametrize("way", ["proxy"], indirect=True)
def test_what_is_never_signed_is_the_clients_own_error_with_our_sentence(
    client: Library, credentials: Credentials, exchange: Exchange
) -> None:
    calls = {
        "classic": ("classic.spot.withdrawal.create", "classic.spot.transfer.create"),
        "unified": ("uta.transfers.withdraw.submit", "uta.transfers.transfer"),
    }
    withdrawal, transfer = calls[credentials.mode]
    before = _posts(exchange)
    with pytest.raises(Refused, match=r"ApiError.*policy_refused.*Withdrawals are never signed"):
        client(withdrawal, **OUT)
    with pytest.raises(Refused, match=r"ApiError.*policy_refused.*Moving funds or positions between wallets"):
        client(transfer, **MOVE)
    assert _posts(exchange) == before


def _posts(exchange: Exchange) -> dict[str, int]:
    return {name: count for name, count in exchange.arrived().items() if name.startswith("POST")}
