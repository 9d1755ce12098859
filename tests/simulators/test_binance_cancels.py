"""Ids, cancels, amends, replacements and self-trade prevention of the Binance simulator."""

from decimal import Decimal

import pytest

from .binance_client import Rest, balances, refusal, socket, trader

pytestmark = pytest.mark.anyio


async def test_client_id_when_open_then_duplicate_and_when_final_then_free_again():
    async with trader() as (_, _, _, rest):
        await rest.limit("BUY", "1", "90.00", newClientOrderId="same")
        again = await rest.limit("BUY", "1", "91.00", newClientOrderId="same")
        assert refusal(again) == (400, -2010, "Duplicate order sent.")
        other = await rest.limit("BUY", "100", "0.1000", "币安人生USDT", newClientOrderId="same")
        assert other.status_code == 200
        await rest.cancel(orderId=1)
        second = (await rest.limit("BUY", "1", "101.00", newClientOrderId="same")).json()
        third = (await rest.limit("BUY", "1", "80.00", newClientOrderId="same")).json()
        assert (second["status"], third["status"]) == ("FILLED", "NEW")
        newest = (await rest.query(origClientOrderId="same")).json()
        assert newest["orderId"] == third["orderId"]


@pytest.mark.parametrize("renames", [False, True])
async def test_cancelled_order_when_queried_then_its_id_is_as_the_switch_says(renames):
    async with trader() as (sim, _, _, rest):
        sim.cancel_renames(renames)
        await rest.limit("BUY", "1", "90.00", newClientOrderId="mine")
        gone = (await rest.cancel(origClientOrderId="mine", newClientOrderId="ender")).json()
        assert (gone["origClientOrderId"], gone["clientOrderId"]) == ("mine", "ender")
        assert (gone["status"], gone["executedQty"]) == ("CANCELED", "0.00000000")
        by_id = (await rest.query(orderId=1)).json()
        assert by_id["clientOrderId"] == ("ender" if renames else "mine")
        by_client = await rest.query(origClientOrderId="mine")
        assert by_client.status_code == (400 if renames else 200)


async def test_cancel_when_the_order_is_not_open_then_2011():
    async with trader() as (_, _, _, rest):
        await rest.limit("BUY", "1", "101.00", newClientOrderId="filled")
        unknown = (400, -2011, "Unknown order sent.")
        assert refusal(await rest.cancel(origClientOrderId="filled")) == unknown
        assert refusal(await rest.cancel(orderId=77)) == unknown
        everything = await rest.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
        assert refusal(everything) == unknown


async def test_cancel_when_restricted_or_ids_disagree_then_refused_with_its_text():
    async with trader() as (_, _, _, rest):
        await rest.limit("BUY", "1", "90.00", newClientOrderId="mine")
        restricted = await rest.cancel(orderId=1, cancelRestrictions="ONLY_PARTIALLY_FILLED")
        text = "Order was not canceled due to cancel restrictions."
        assert refusal(restricted) == (400, -2011, text)
        wrong = await rest.cancel(orderId=1, origClientOrderId="other")
        assert refusal(wrong)[1] == -2011
        pair = await rest.query(orderId=1, origClientOrderId="other")
        assert refusal(pair)[1] == -2039
        neither = await rest.cancel()
        assert refusal(neither)[1] == -1102


async def test_cancel_all_when_several_are_open_then_each_is_answered_and_funds_come_back():
    async with trader() as (_, _, _, rest):
        for price in ("90.00", "91.00"):
            await rest.limit("BUY", "1", price)
        gone = (await rest.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")).json()
        assert [item["status"] for item in gone] == ["CANCELED", "CANCELED"]
        assert (await balances(rest))["USDT"] == ("100000.00000000", "0.00000000")


async def test_amend_when_lowered_then_id_and_queue_place_stay_and_funds_are_freed():
    async with trader() as (sim, _, _, rest):
        await rest.limit("BUY", "3", "95.00", newClientOrderId="first")
        await rest.limit("BUY", "1", "95.00")
        path = "/api/v3/order/amend/keepPriority"
        named = {"symbol": "BTCUSDT", "orderId": 1, "newQty": "2"}
        body = (await rest.signed("PUT", path, **named, newClientOrderId="second")).json()
        amended = body["amendedOrder"]
        assert (amended["qty"], amended["orderId"]) == ("2.00000000", 1)
        assert (amended["origClientOrderId"], amended["clientOrderId"]) == ("first", "second")
        assert (await balances(rest))["USDT"][1] == "285.00000000"
        sim.take("BTCUSDT", "sell", "95.00", "12")
        assert (await rest.query(orderId=1)).json()["status"] == "FILLED"
        assert (await rest.query(orderId=2)).json()["status"] == "NEW"


@pytest.mark.parametrize(
    ("quantity", "code", "text"),
    [
        ("4", -2038, "Order amend (quantity increase) is not supported."),
        ("3", -2038, "The requested action would change no state; rejecting."),
        ("1.000001", -1013, "Filter failure: LOT_SIZE"),
        ("0", -1013, "Invalid newQty."),
    ],
)
async def test_amend_when_not_a_lower_valid_quantity_then_refused(quantity, code, text):
    async with trader() as (_, _, _, rest):
        await rest.limit("BUY", "3", "95.00")
        path = "/api/v3/order/amend/keepPriority"
        reply = await rest.signed("PUT", path, symbol="BTCUSDT", orderId=1, newQty=quantity)
        assert refusal(reply) == (400, code, text)


def _replacement(**changes: object) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "92.00",
        "cancelOrderId": 1,
        "cancelReplaceMode": "STOP_ON_FAILURE",
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "status", "code", "cancelled", "placed"),
    [
        ({}, 200, None, "SUCCESS", "SUCCESS"),
        ({"cancelOrderId": 9}, 400, -2022, "FAILURE", "NOT_ATTEMPTED"),
        (
            {"cancelOrderId": 9, "cancelReplaceMode": "ALLOW_FAILURE"},
            409,
            -2021,
            "FAILURE",
            "SUCCESS",
        ),
        ({"quantity": "9000"}, 409, -2021, "SUCCESS", "FAILURE"),
        (
            {"cancelOrderId": 9, "cancelReplaceMode": "ALLOW_FAILURE", "quantity": "9000"},
            400,
            -2022,
            "FAILURE",
            "FAILURE",
        ),
    ],
)
async def test_cancel_replace_when_halves_succeed_or_fail_then_the_matrix_holds(
    changes, status, code, cancelled, placed
):
    async with trader() as (_, _, account, rest):
        await rest.limit("BUY", "1", "90.00")
        path = "/api/v3/order/cancelReplace"
        reply = await rest.signed("POST", path, **_replacement(**changes))
        body = reply.json()
        assert reply.status_code == status
        assert body.get("code") == code
        data = body if code is None else body["data"]
        assert (data["cancelResult"], data["newOrderResult"]) == (cancelled, placed)
        assert account.count.windows[0].used == 2


async def test_cancel_replace_when_asked_over_websocket_then_409_carries_both_halves():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        named = _replacement(cancelOrderId=9, cancelReplaceMode="ALLOW_FAILURE")
        answer = await ws.signed("order.cancelReplace", **named)
        assert (answer["status"], answer["error"]["code"]) == (409, -2021)
        assert answer["error"]["data"]["cancelResponse"]["code"] == -2011
        assert answer["error"]["data"]["newOrderResponse"]["orderId"] == 1


async def test_cancel_replace_when_a_filter_fails_then_nothing_happens():
    async with trader() as (_, _, _, rest):
        await rest.limit("BUY", "1", "90.00")
        path = "/api/v3/order/cancelReplace"
        reply = await rest.signed("POST", path, **_replacement(price="92.001"))
        assert refusal(reply) == (400, -1013, "Filter failure: PRICE_FILTER")
        assert (await rest.query(orderId=1)).json()["status"] == "NEW"


@pytest.mark.parametrize(
    ("mode", "maker", "taker", "executed"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED", "1.00000000"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH", "0.00000000"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH", "0.00000000"),
        ("NONE", "FILLED", "FILLED", "1.00000000"),
    ],
)
async def test_self_trade_when_prevented_by_mode_then_the_right_side_expires(
    mode, maker, taker, executed
):
    async with trader() as (_, _, _, rest):
        await rest.limit("SELL", "1", "100.50")
        body = (await rest.limit("BUY", "1", "101.00", selfTradePreventionMode=mode)).json()
        assert (body["status"], body["executedQty"]) == (taker, executed)
        assert (await rest.query(orderId=1)).json()["status"] == maker
        locked = {asset: pair[1] for asset, pair in (await balances(rest)).items()}
        assert locked["USDT"] == "0.00000000"


async def test_two_accounts_when_they_trade_then_both_sides_are_booked_and_money_is_conserved():
    async with trader() as (sim, clock, first, rest):
        second = sim.add_account({"BTC": Decimal(5)})
        sim.clear_quotes("BTCUSDT")
        async with Rest(sim, clock, second) as other:
            await other.limit("SELL", "2", "100.00")
            await rest.limit("BUY", "3", "100.00")
            assert (await other.query(orderId=1)).json()["status"] == "FILLED"
            assert refusal(await other.query(orderId=2))[1] == -2013
        fees = {"BTC": Decimal(0), "USDT": Decimal(0)}
        for fill in sim.fills:
            fees[fill.fee_asset] += fill.fee
        for asset, total in (("BTC", Decimal(15)), ("USDT", Decimal(100000))):
            held = [account.balance(asset) for account in (first, second)]
            assert sum(item.free + item.locked for item in held) + fees[asset] == total
