"""Orders on the Binance simulator over REST: types, fills, fees, ids, cancels, replacements."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from .binance_client import balances, refusal, trader

pytestmark = pytest.mark.anyio
RECORDED = Path(__file__).parents[3] / "shared/data/binance"


async def test_limit_when_it_rests_then_funds_are_locked_and_queries_show_it():
    async with trader() as (_, clock, _, rest):
        placed = (await rest.limit("BUY", "1.5", "90.00", newClientOrderId="mine-1")).json()
        assert placed == {
            "symbol": "BTCUSDT",
            "orderId": 1,
            "orderListId": -1,
            "clientOrderId": "mine-1",
            "transactTime": clock.ms(),
            "price": "90.00000000",
            "origQty": "1.50000000",
            "executedQty": "0.00000000",
            "origQuoteOrderQty": "0.00000000",
            "cummulativeQuoteQty": "0.00000000",
            "status": "NEW",
            "timeInForce": "GTC",
            "type": "LIMIT",
            "side": "BUY",
            "workingTime": clock.ms(),
            "fills": [],
            "selfTradePreventionMode": "EXPIRE_MAKER",
        }
        assert (await balances(rest))["USDT"] == ("99865.00000000", "135.00000000")
        by_id = (await rest.query(orderId=1)).json()
        by_client = (await rest.query(origClientOrderId="mine-1")).json()
        (listed,) = (await rest.signed("GET", "/api/v3/openOrders")).json()
        assert by_id == by_client == listed
        assert (by_id["isWorking"], by_id["time"]) == (True, clock.ms())
        assert "fills" not in by_id


async def test_limit_when_it_crosses_several_prices_then_each_fill_is_at_the_makers_price():
    async with trader() as (sim, _, _, rest):
        sim.clear_quotes("BTCUSDT")
        sim.add_quote("BTCUSDT", "sell", "100.00", "1")
        sim.add_quote("BTCUSDT", "sell", "101.00", "1")
        body = (await rest.limit("BUY", "2.5", "102.00")).json()
        assert [(fill["price"], fill["qty"]) for fill in body["fills"]] == [
            ("100.00000000", "1.00000000"),
            ("101.00000000", "1.00000000"),
        ]
        assert body["status"] == "PARTIALLY_FILLED"
        assert body["executedQty"] == "2.00000000"
        assert body["cummulativeQuoteQty"] == "201.00000000"
        # 0.1 % of the base received; 0.5 at 102 stays locked.
        held = await balances(rest)
        assert held["BTC"] == ("11.99800000", "0.00000000")
        assert held["USDT"] == ("99748.00000000", "51.00000000")


async def test_resting_order_when_the_touch_crosses_it_then_it_fills_as_maker_at_its_price():
    async with trader() as (sim, _, _, rest):
        await rest.limit("SELL", "1", "105.00")
        sim.set_touch("BTCUSDT", "106.00", "107.00")
        body = (await rest.query(orderId=1)).json()
        assert (body["status"], body["executedQty"]) == ("FILLED", "1.00000000")
        (trade,) = (await rest.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")).json()
        assert (trade["price"], trade["isMaker"], trade["isBuyer"]) == ("105.00000000", True, False)
        assert (trade["commission"], trade["commissionAsset"]) == ("0.10500000", "USDT")
        assert sim.books["BTCUSDT"].best_bid == Decimal("106.00")


@pytest.mark.parametrize(
    ("tif", "status", "executed", "reason"),
    [
        ("IOC", "EXPIRED", "10.00000000", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("FOK", "EXPIRED", "0.00000000", "UNFILLED_FOK_ORDER_EXPIRED"),
    ],
)
async def test_ioc_and_fok_when_the_book_is_too_thin_then_expired(tif, status, executed, reason):
    async with trader() as (_, _, _, rest):
        body = (await rest.limit("BUY", "11", "101.00", timeInForce=tif)).json()
        assert (body["status"], body["executedQty"]) == (status, executed)
        assert body["expiryReason"] == reason
        assert (await balances(rest))["USDT"][1] == "0.00000000"


async def test_fok_when_the_book_suffices_then_filled():
    async with trader() as (_, _, _, rest):
        body = (await rest.limit("BUY", "10", "101.00", timeInForce="FOK")).json()
        assert body["status"] == "FILLED"


async def test_market_when_the_book_is_thin_then_partly_filled_and_expired():
    async with trader() as (_, _, _, rest):
        body = (await rest.order("BTCUSDT", "BUY", "MARKET", quantity="12")).json()
        assert (body["status"], body["executedQty"]) == ("EXPIRED", "10.00000000")
        assert body["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
        assert body["price"] == "0.00000000"


async def test_market_when_bought_for_a_quote_amount_then_the_lot_step_leaves_a_rest():
    async with trader() as (_, _, _, rest):
        body = (await rest.order("BTCUSDT", "BUY", "MARKET", quoteOrderQty="50")).json()
        assert body["status"] == "FILLED"
        assert body["executedQty"] == body["origQty"] == "0.49504000"
        assert body["origQuoteOrderQty"] == "50.00000000"
        assert body["cummulativeQuoteQty"] == "49.99904000"
        assert (await balances(rest))["USDT"] == ("99950.00096000", "0.00000000")


async def test_market_when_sold_for_a_quote_amount_then_about_that_much_comes():
    async with trader() as (_, _, _, rest):
        body = (await rest.order("BTCUSDT", "SELL", "MARKET", quoteOrderQty="50")).json()
        assert (body["status"], body["executedQty"]) == ("FILLED", "0.50000000")


async def test_market_when_funds_do_not_cover_the_whole_then_rejected():
    async with trader({"USDT": "100"}) as (sim, _, _, rest):
        reply = await rest.order("BTCUSDT", "BUY", "MARKET", quantity="1")
        text = "Account has insufficient balance for requested action."
        assert refusal(reply) == (400, -2010, text)
        assert sim.orders == []


async def test_limit_maker_when_it_would_take_then_rejected_else_it_rests():
    async with trader() as (_, _, _, rest):
        taking = await rest.order("BTCUSDT", "BUY", "LIMIT_MAKER", quantity="1", price="101.00")
        assert refusal(taking) == (400, -2010, "Order would immediately match and take.")
        resting = await rest.order("BTCUSDT", "BUY", "LIMIT_MAKER", quantity="1", price="100.99")
        assert set(resting.json()) == {
            "symbol",
            "orderId",
            "orderListId",
            "clientOrderId",
            "transactTime",
        }
        assert (await rest.query(orderId=1)).json()["status"] == "NEW"


@pytest.mark.parametrize(
    ("kind", "side", "stop", "last"),
    [
        ("STOP_LOSS_LIMIT", "BUY", "105.00", "105.00"),
        ("TAKE_PROFIT_LIMIT", "SELL", "105.00", "106.00"),
        ("STOP_LOSS_LIMIT", "SELL", "95.00", "95.00"),
        ("TAKE_PROFIT_LIMIT", "BUY", "95.00", "94.00"),
    ],
)
async def test_stop_limit_when_the_last_price_reaches_it_then_it_works(kind, side, stop, last):
    async with trader() as (sim, _, _, rest):
        sim.print_trade("BTCUSDT", "100.50")
        price = "80.00" if side == "BUY" else "120.00"
        body = (
            await rest.order(
                "BTCUSDT",
                side,
                kind,
                quantity="1",
                price=price,
                stopPrice=stop,
                timeInForce="GTC",
                newOrderRespType="RESULT",
            )
        ).json()
        assert "workingTime" not in body
        assert body["stopPrice"] == f"{stop}000000"
        waiting = (await rest.query(orderId=1)).json()
        assert (waiting["isWorking"], waiting["workingTime"]) == (False, -1)
        sim.print_trade("BTCUSDT", last)
        working = (await rest.query(orderId=1)).json()
        assert (working["isWorking"], working["status"]) == (True, "NEW")


@pytest.mark.parametrize("kind", ["STOP_LOSS", "TAKE_PROFIT"])
async def test_stop_market_when_triggered_then_it_takes_the_book(kind):
    async with trader() as (sim, _, _, rest):
        sim.print_trade("BTCUSDT", "100.50")
        stop, last = ("99.00", "98.00") if kind == "STOP_LOSS" else ("102.00", "103.00")
        await rest.order("BTCUSDT", "SELL", kind, quantity="1", stopPrice=stop)
        assert (await balances(rest))["BTC"][1] == "1.00000000"
        sim.print_trade("BTCUSDT", last)
        body = (await rest.query(orderId=1)).json()
        assert (body["status"], body["cummulativeQuoteQty"]) == ("FILLED", "100.00000000")
        assert (await balances(rest))["BTC"] == ("9.00000000", "0.00000000")


async def test_stop_when_the_price_is_there_already_then_it_would_trigger_immediately():
    async with trader() as (sim, _, _, rest):
        sim.print_trade("BTCUSDT", "100.50")
        named = {"quantity": "1", "price": "90.00", "stopPrice": "100.00", "timeInForce": "GTC"}
        reply = await rest.order("BTCUSDT", "BUY", "STOP_LOSS_LIMIT", **named)
        assert refusal(reply) == (400, -2010, "Order would trigger immediately.")


async def test_response_type_when_ack_or_result_then_only_that_much():
    async with trader() as (_, _, _, rest):
        ack = (await rest.limit("BUY", "1", "101.00", newOrderRespType="ACK")).json()
        result = (await rest.limit("BUY", "1", "101.00", newOrderRespType="RESULT")).json()
        assert "status" not in ack
        assert result["status"] == "FILLED"
        assert "fills" not in result


async def test_fee_when_bnb_runs_out_mid_order_then_one_order_has_fees_in_two_assets():
    async with trader({"USDT": "1000", "BNB": "0.0001"}, pays_bnb=True) as (sim, _, _, rest):
        sim.set_touch("BNBUSDT", "749.99", "750.01")
        sim.clear_quotes("BTCUSDT")
        sim.add_quote("BTCUSDT", "sell", "100.00", "0.8")
        sim.add_quote("BTCUSDT", "sell", "100.50", "2")
        body = (await rest.limit("BUY", "1.5", "101.00")).json()
        assert [(fill["commissionAsset"], fill["commission"]) for fill in body["fills"]] == [
            ("BNB", "0.00008000"),
            ("BTC", "0.00070000"),
        ]
        assert (await balances(rest))["BNB"][0] == "0.00002000"


async def test_price_range_when_a_taker_would_leave_it_then_expired_with_that_reason():
    async with trader() as (sim, _, _, rest):
        sim.set_reference_price("BTCUSDT", "100")
        sim.set_price_range("BTCUSDT", bidLimitMultUp="1.02")
        sim.add_quote("BTCUSDT", "sell", "103.00", "5")
        body = (await rest.limit("BUY", "12", "104.00")).json()
        assert (body["status"], body["executedQty"]) == ("EXPIRED", "10.00000000")
        assert body["expiryReason"] == "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"
        rules = (await rest.get("/api/v3/executionRules", symbol="BTCUSDT")).json()
        assert rules["symbolRules"][0]["rules"][0]["bidLimitMultUp"] == "1.02"


async def test_order_test_when_valid_then_nothing_is_placed_and_rates_come_if_asked():
    async with trader() as (sim, _, _, rest):
        named = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "1",
            "price": "90.00",
        }
        assert (await rest.signed("POST", "/api/v3/order/test", **named)).json() == {}
        named["computeCommissionRates"] = "true"
        rates = (await rest.signed("POST", "/api/v3/order/test", **named)).json()
        assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
        assert sim.orders == []


async def test_my_trades_and_all_orders_when_filtered_then_only_allowed_combinations_answer():
    async with trader() as (_, clock, _, rest):
        for _ in range(3):
            await rest.limit("BUY", "1", "101.00")
            clock.move(seconds=1)
        path, symbol = "/api/v3/myTrades", "BTCUSDT"
        named = {"symbol": symbol}
        assert len((await rest.signed("GET", path, **named)).json()) == 3
        for extra, ids in (
            ({"orderId": 2}, [2]),
            ({"fromId": 2}, [2, 3]),
            ({"limit": 1}, [3]),
            ({"startTime": clock.ms() - 2000}, [2, 3]),
            ({"endTime": clock.ms() - 3000}, [1]),
            ({"startTime": clock.ms() - 3000, "endTime": clock.ms() - 2000}, [1, 2]),
            ({"orderId": 2, "fromId": 1}, [2]),
        ):
            rows = (await rest.signed("GET", path, **named, **extra)).json()
            assert [row["id"] for row in rows] == ids, extra
        bad = await rest.signed("GET", path, **named, fromId=1, startTime=1)
        assert refusal(bad)[1] == -1128
        wide = await rest.signed("GET", path, **named, startTime=0, endTime=86_400_001)
        assert refusal(wide)[1] == -1127
        rows = (await rest.signed("GET", "/api/v3/allOrders", **named, orderId=2)).json()
        assert [row["orderId"] for row in rows] == [2, 3]


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded payloads are not here")
async def test_answers_when_compared_with_recorded_ones_then_they_have_the_same_fields():
    path = RECORDED / "rest/lean_spot_order_responses_ACHUSDT_2026-01.json"
    ack, market, stop, _ = [item["response"] for item in json.loads(path.read_text())]
    async with trader({"USDT": "1000"}) as (sim, _, _, rest):
        sim.set_touch("ACHUSDT", "0.009600", "0.009620", Decimal(9000))
        body = (await rest.order("ACHUSDT", "BUY", "MARKET", quantity="600")).json()
        assert {key: type(value) for key, value in body.items()} == {
            key: type(value) for key, value in market.items()
        }
        for name in ("executedQty", "cummulativeQuoteQty", "status"):
            assert body[name] == market[name]
        assert body["fills"][0] | {"tradeId": 0} == market["fills"][0] | {"tradeId": 0}
        named = {"quantity": "600", "price": "0.009000", "stopPrice": "0.009800"}
        placed = await rest.order("ACHUSDT", "BUY", "STOP_LOSS_LIMIT", timeInForce="GTC", **named)
        assert set(placed.json()) == set(ack)
        shown = (await rest.query("ACHUSDT", orderId=2)).json()
        assert set(shown) == set(stop)
        assert shown["workingTime"] == stop["workingTime"] == -1
