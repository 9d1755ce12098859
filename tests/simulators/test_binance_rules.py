"""Parameter checks, filters, symbol states and public data of the Binance simulator."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from .binance import Instrument, Simulator, recorded
from .binance_client import Clock, Rest, refusal, trader

pytestmark = pytest.mark.anyio
RECORDED = Path(__file__).parents[3] / "shared/data/binance"
DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
ILLEGAL = f"Illegal characters found in parameter 'quantity'; legal range is '{DECIMAL}'."
UNREAD = "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."
MISSING = "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."
NO_MODE = "This symbol does not allow the specified self-trade prevention mode."
BAND = {"multiplierUp": "1.1", "multiplierDown": "0.95", "avgPriceMins": 5}
MINIMUM = {"minNotional": "100"}


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"quantity": "1e-5"}, -1100, ILLEGAL),
        ({"quantity": "-1"}, -1100, None),
        ({"price": "90,5"}, -1100, None),
        ({"newClientOrderId": "a b"}, -1100, None),
        ({"newClientOrderId": "a" * 37}, -1100, None),
        ({"nonsense": "1"}, -1104, UNREAD),
        ({"quantity": None}, -1102, MISSING),
        ({"symbol": None}, -1102, None),
        ({"timeInForce": None}, -1102, None),
        ({"newClientOrderId": ""}, -1105, "Parameter 'newClientOrderId' was empty."),
        ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"quantity": "1.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"price": "90.000000001"}, -1111, "Parameter 'price' has too much precision."),
        ({"timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
        ({"type": "LIMITED"}, -1116, "Invalid orderType."),
        ({"side": "LONG"}, -1117, "Invalid side."),
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"newOrderRespType": "ALL"}, -1130, None),
        ({"type": "MARKET", "price": None, "timeInForce": None, "quoteOrderQty": "9"}, -1128, None),
        ({"type": "MARKET", "price": None, "timeInForce": None, "quantity": None}, -1102, None),
        ({"type": "MARKET", "price": None}, -1106, None),
        ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({"icebergQty": "1"}, -2010, "Iceberg orders are not supported for this symbol."),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"selfTradePreventionMode": "TRANSFER"}, -1013, NO_MODE),
    ],
)
async def test_new_order_when_a_parameter_is_wrong_then_its_code_says_so(changes, code, text):
    base = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "90.00",
    }
    named = {key: value for key, value in {**base, **changes}.items() if value is not None}
    async with trader() as (sim, _, _, rest):
        reply = await rest.signed("POST", "/api/v3/order", **named)
        status, found, words = refusal(reply)
        assert (status, found) == (400, code)
        assert text in (None, words)
        assert sim.orders == []


async def test_parameters_when_doubled_or_unwanted_then_1101():
    async with trader() as (_, clock, account, rest):
        double = await rest.raw("GET", "/api/v3/avgPrice?symbol=BTCUSDT&symbol=BTCUSDT")
        assert refusal(double) == (400, -1101, "Duplicate values for a parameter detected.")
        extra = await rest.get("/api/v3/time", a="1")
        assert refusal(extra)[1] == -1101


@pytest.mark.parametrize(
    ("filters", "order", "name"),
    [
        ({}, ("1", "90.001"), "PRICE_FILTER"),
        ({"PRICE_FILTER": {"maxPrice": "80"}}, ("1", "90.00"), "PRICE_FILTER"),
        ({}, ("1", "600.00"), "PERCENT_PRICE_BY_SIDE"),
        ({}, ("1", "19.00"), "PERCENT_PRICE_BY_SIDE"),
        (
            {"PERCENT_PRICE_BY_SIDE": None, "PERCENT_PRICE": BAND},
            ("1", "90.00"),
            "PERCENT_PRICE",
        ),
        ({}, ("1.000001", "90.00"), "LOT_SIZE"),
        ({"LOT_SIZE": {"minQty": "2"}}, ("1", "90.00"), "LOT_SIZE"),
        ({"LOT_SIZE": {"maxQty": "0.5"}}, ("1", "90.00"), "LOT_SIZE"),
        ({}, ("0.01", "90.00"), "NOTIONAL"),
        ({"NOTIONAL": {"maxNotional": "50"}}, ("1", "90.00"), "NOTIONAL"),
        ({"NOTIONAL": None, "MIN_NOTIONAL": MINIMUM}, ("1", "90.00"), "MIN_NOTIONAL"),
        ({"MAX_POSITION": {"maxPosition": "10.5"}}, ("1", "90.00"), "MAX_POSITION"),
        ({"MAX_NUM_ORDERS": {"maxNumOrders": 0}}, ("1", "90.00"), "MAX_NUM_ORDERS"),
    ],
)
async def test_limit_order_when_it_breaks_a_filter_then_1013_names_it(filters, order, name):
    async with trader() as (sim, _, _, rest):
        sim.change_filters("BTCUSDT", **filters)
        reply = await rest.limit("BUY", *order)
        assert refusal(reply) == (400, -1013, f"Filter failure: {name}")


async def test_market_order_when_it_breaks_its_filters_then_1013_names_them():
    async with trader() as (sim, _, _, rest):
        sim.change_filters("BTCUSDT", MARKET_LOT_SIZE={"maxQty": "5"})
        large = await rest.order("BTCUSDT", "SELL", "MARKET", quantity="6")
        assert refusal(large)[2] == "Filter failure: MARKET_LOT_SIZE"
        small = await rest.order("BTCUSDT", "SELL", "MARKET", quantity="0.01")
        assert refusal(small)[2] == "Filter failure: NOTIONAL"
        sim.change_filters("BTCUSDT", NOTIONAL={"applyMinToMarket": False})
        assert (await rest.order("BTCUSDT", "SELL", "MARKET", quantity="0.01")).status_code == 200


async def test_reference_for_bands_when_several_exist_then_reference_then_average_then_last():
    async with trader() as (sim, clock, _, rest):
        sim.change_filters(
            "BTCUSDT", PERCENT_PRICE_BY_SIDE={"bidMultiplierDown": "0.9", "bidMultiplierUp": "1.5"}
        )

        async def lowest() -> str:
            for price in ("900.00", "450.00", "95.00"):
                reply = await rest.signed(
                    "POST",
                    "/api/v3/order/test",
                    symbol="BTCUSDT",
                    side="BUY",
                    type="LIMIT",
                    timeInForce="GTC",
                    quantity="1",
                    price=price,
                )
                if reply.status_code == 200:
                    return price
            return ""

        assert await lowest() == "95.00"  # the middle of the touch, 100.50
        sim.print_trade("BTCUSDT", "400.00")
        sim.print_trade("BTCUSDT", "600.00")
        assert await lowest() == "450.00"  # average 500; the last price would refuse 450
        clock.move(minutes=6)
        assert await lowest() == "900.00"  # no average any more: last price 600
        sim.set_reference_price("BTCUSDT", None)
        assert await lowest() == "900.00"
        sim.set_reference_price("BTCUSDT", "100.00")
        assert await lowest() == "95.00"


async def test_counts_when_full_then_algo_exchange_and_asset_limits_refuse():
    async with trader(max_asset={"BTC": Decimal(2)}) as (sim, _, _, rest):
        sim.print_trade("BTCUSDT", "100.50")
        sim.change_filters("BTCUSDT", MAX_NUM_ALGO_ORDERS={"maxNumAlgoOrders": 1})
        stop = {"quantity": "1", "price": "110.00", "stopPrice": "105.00", "timeInForce": "GTC"}
        assert (await rest.order("BTCUSDT", "BUY", "STOP_LOSS_LIMIT", **stop)).status_code == 200
        second = await rest.order("BTCUSDT", "BUY", "STOP_LOSS_LIMIT", **stop)
        assert refusal(second)[2] == "Filter failure: MAX_NUM_ALGO_ORDERS"
        large = await rest.limit("BUY", "2.1", "90.00")
        assert refusal(large)[2] == "Filter failure: MAX_ASSET"
        sim.set_exchange_filter("EXCHANGE_MAX_NUM_ORDERS", 1)
        many = await rest.limit("BUY", "1", "90.00")
        assert refusal(many)[2] == "Filter failure: EXCHANGE_MAX_NUM_ORDERS"
        sim.set_exchange_filter("EXCHANGE_MAX_NUM_ORDERS", 9)
        sim.set_exchange_filter("EXCHANGE_MAX_NUM_ALGO_ORDERS", 1)
        sim.change_filters("BTCUSDT", MAX_NUM_ALGO_ORDERS={"maxNumAlgoOrders": 9})
        algo = await rest.order("BTCUSDT", "BUY", "STOP_LOSS_LIMIT", **stop)
        assert refusal(algo)[2] == "Filter failure: EXCHANGE_MAX_NUM_ALGO_ORDERS"
        shown = (await rest.signed("GET", "/api/v3/myFilters", symbol="BTCUSDT")).json()
        assert shown["assetFilters"] == [
            {"filterType": "MAX_ASSET", "asset": "BTC", "limit": "2.00000000"}
        ]


@pytest.mark.parametrize(
    ("status", "cancel"), [("HALT", 200), ("CANCEL_ONLY", 200), ("BREAK", 400), ("NEW_WORD", 200)]
)
async def test_symbol_when_not_trading_then_no_new_order_and_cancels_where_allowed(status, cancel):
    async with trader() as (sim, _, _, rest):
        await rest.limit("BUY", "1", "90.00")
        sim.set_status("BTCUSDT", status)
        assert refusal(await rest.limit("BUY", "1", "91.00")) == (400, -2010, "Market is closed.")
        assert (await rest.cancel(orderId=1)).status_code == cancel
        info = (await rest.get("/api/v3/exchangeInfo", symbol="BTCUSDT")).json()
        assert info["symbols"][0]["status"] == status


async def test_account_when_permissions_do_not_meet_every_group_then_not_permitted():
    async with trader(permissions=["TRD_GRP_009"]) as (_, _, _, rest):
        reply = await rest.limit("BUY", "1", "90.00")
        text = "This symbol is not permitted for this account."
        assert refusal(reply) == (400, -2010, text)


async def test_account_when_it_may_not_trade_then_orders_and_cancels_are_refused():
    async with trader(can_trade=False) as (_, _, _, rest):
        text = "This account may not place or cancel orders."
        assert refusal(await rest.limit("BUY", "1", "90.00")) == (400, -2010, text)
        assert refusal(await rest.cancel(orderId=1)) == (400, -2011, text)


async def test_exchange_info_when_asked_by_each_way_then_it_answers_rows_or_refuses():
    async with trader() as (_, _, _, rest):
        path = "/api/v3/exchangeInfo"
        both = (await rest.get(path, symbols='["BTCUSDT","币安人生USDT"]')).json()["symbols"]
        assert [row["symbol"] for row in both] == ["BTCUSDT", "币安人生USDT"]
        assert refusal(await rest.get(path, symbols='["BTCUSDT","NOPE"]'))[1] == -1121
        broken = (await rest.get(path, symbolStatus="BREAK")).json()["symbols"]
        assert [row["symbol"] for row in broken] == ["BCCBTC"]
        assert (await rest.get(path, permissions="LEVERAGED")).json()["symbols"] == []
        bare = (await rest.get(path, symbol="BTCUSDT", showPermissionSets="false")).json()
        assert "permissionSets" not in bare["symbols"][0]
        everything = (await rest.get(path)).json()
        kinds = [row["rateLimitType"] for row in everything["rateLimits"]]
        assert kinds == ["REQUEST_WEIGHT", "ORDERS", "ORDERS", "RAW_REQUESTS"]


async def test_public_data_when_trades_happened_then_every_endpoint_tells_the_same_story():
    async with trader() as (sim, clock, _, rest):
        sim.clear_quotes("BTCUSDT")
        sim.set_touch("BTCUSDT", "100.00", "101.00", Decimal(1))
        sim.add_quote("BTCUSDT", "sell", "101.00", "2")
        await rest.limit("BUY", "2", "101.00")
        clock.move(minutes=1)
        sim.print_trade("BTCUSDT", "103.00", "3", "sell")
        named = {"symbol": "BTCUSDT"}
        trades = (await rest.get("/api/v3/trades", **named)).json()
        assert [(row["id"], row["qty"], row["isBuyerMaker"]) for row in trades] == [
            (1, "1.00000000", False),
            (2, "1.00000000", False),
            (3, "3.00000000", True),
        ]
        aggregates = (await rest.get("/api/v3/aggTrades", **named)).json()
        assert [(row["a"], row["q"], row["f"], row["l"]) for row in aggregates] == [
            (1, "2.00000000", 1, 2),
            (2, "3.00000000", 3, 3),
        ]
        candles = (await rest.get("/api/v3/klines", **named, interval="1m")).json()
        assert [(row[4], row[5], row[8]) for row in candles] == [
            ("101.00000000", "2.00000000", 2),
            ("103.00000000", "3.00000000", 1),
        ]
        assert candles[0][6] + 1 == candles[1][0]
        hour = (await rest.get("/api/v3/klines", **named, interval="1h")).json()
        assert (hour[0][1], hour[0][2], hour[0][7]) == (
            "101.00000000",
            "103.00000000",
            "511.00000000",
        )
        average = (await rest.get("/api/v3/avgPrice", **named)).json()
        assert (average["mins"], average["price"]) == (5, "102.20000000")
        day = (await rest.get("/api/v3/ticker/24hr", **named)).json()
        assert (day["lastPrice"], day["volume"], day["count"]) == ("103.00000000", "5.00000000", 3)
        price = (await rest.get("/api/v3/ticker/price", **named)).json()
        assert price == {"symbol": "BTCUSDT", "price": "103.00000000"}
        book = (await rest.get("/api/v3/depth", **named, limit=5)).json()
        assert book["asks"] == [["101.00000000", "1.00000000"]]
        touch = (await rest.get("/api/v3/ticker/bookTicker", **named)).json()
        assert (touch["bidPrice"], touch["askQty"]) == ("100.00000000", "1.00000000")
        empty = (await rest.get("/api/v3/ticker/bookTicker", symbol="ETHUSDT")).json()
        assert empty["bidPrice"] == "0.00000000"
        many = (await rest.get("/api/v3/ticker/bookTicker", symbols='["BTCUSDT"]')).json()
        assert isinstance(many, list)
        assert refusal(await rest.get("/api/v3/klines", **named, interval="7m"))[1] == -1120
        mismatch = await rest.get("/api/v3/ticker/price", **named, symbolStatus="HALT")
        assert refusal(mismatch)[1] == -1220


async def test_reference_price_when_never_set_null_or_set_then_2043_null_or_value():
    async with trader() as (sim, _, _, rest):
        path, named = "/api/v3/referencePrice", {"symbol": "BTCUSDT"}
        assert refusal(await rest.get(path, **named))[1] == -2043
        sim.set_reference_price("BTCUSDT", None)
        assert (await rest.get(path, **named)).json()["referencePrice"] is None
        sim.set_reference_price("BTCUSDT", "10")
        assert (await rest.get(path, **named)).json()["referencePrice"] == "10.00000000"


async def test_times_when_microseconds_are_asked_for_then_answers_have_them():
    async with trader() as (_, clock, _, rest):
        reply = await rest.raw("GET", "/api/v3/time", x_mbx_time_unit="MICROSECOND")
        assert reply.json() == {"serverTime": clock.ms() * 1000}


async def test_small_base_precision_when_printed_then_quantities_have_its_decimals():
    async with trader() as (sim, _, _, rest):
        sim.set_touch("SHIBUSDT", "0.00001000", "0.00001001", Decimal(10_000_000))
        body = (await rest.order("SHIBUSDT", "BUY", "MARKET", quantity="200000")).json()
        assert (body["origQty"], body["fills"][0]["qty"]) == ("200000.00", "200000.00")
        for path, field in (("trades", "qty"), ("aggTrades", "q")):
            (row,) = (await rest.get(f"/api/v3/{path}", symbol="SHIBUSDT")).json()
            assert row[field] == "200000.00"
        too_fine = await rest.order("SHIBUSDT", "BUY", "MARKET", quantity="200000.001")
        assert refusal(too_fine)[1] == -1111


async def test_commission_and_account_when_asked_then_rates_and_rights_are_shown():
    async with trader(maker=Decimal("0.0002"), pays_bnb=True) as (_, _, account, rest):
        body = (await rest.signed("GET", "/api/v3/account", omitZeroBalances="true")).json()
        assert body["uid"] == account.uid
        assert body["commissionRates"]["maker"] == "0.00020000"
        assert body["permissions"] == ["SPOT"]
        path = "/api/v3/account/commission"
        rates = (await rest.signed("GET", path, symbol="BTCUSDT")).json()
        assert rates["standardCommission"]["taker"] == "0.00100000"
        assert rates["discount"]["enabledForAccount"] is True


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded exchangeInfo is not here")
async def test_recorded_instruments_when_loaded_then_their_rules_are_served_and_enforced():
    path = RECORDED / "exchangeinfo/2025-08-07_api.binance.com.json"
    listed: list[Instrument] = recorded(path)
    rows = {row["symbol"]: row for row in json.loads(path.read_text())["symbols"]}
    clock = Clock()
    async with Simulator(clock, instruments=listed) as sim:
        account = sim.add_account({"BTC": Decimal(2)})
        async with Rest(sim, clock, account) as rest:
            served = (await rest.get("/api/v3/exchangeInfo")).json()["symbols"]
            assert {row["symbol"] for row in served} == set(rows)
            for row in served:
                assert set(rows[row["symbol"]]) <= set(row)
                assert row["filters"] == rows[row["symbol"]]["filters"]
            sim.set_touch("ETHBTC", "0.05000", "0.05001")
            reply = await rest.limit("BUY", "0.00005", "0.04", "ETHBTC")
            assert refusal(reply)[2] == "Filter failure: LOT_SIZE"


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded klines are not here")
async def test_recorded_klines_when_seeded_then_served_with_their_gap():
    rows = json.loads((RECORDED / "klines/BTCUSDT_1h_2020-04-30_2020-07-01.json").read_text())
    async with trader() as (sim, _, _, rest):
        sim.seed_klines("BTCUSDT", "1h", rows)
        named = {"symbol": "BTCUSDT", "interval": "1h", "startTime": 1593302400000, "limit": 4}
        served = (await rest.get("/api/v3/klines", **named)).json()
        gaps = [later[0] - row[0] for row, later in zip(served, served[1:], strict=False)]
        assert max(gaps) == 4 * 3_600_000
