"""Scripted trouble of the Binance simulator: lost answers, lies, lag, resets, maintenance."""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from .binance.errors import ApiError
from .binance.orders import Order
from .binance_client import Rest, refusal, socket, trader

pytestmark = pytest.mark.anyio
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "90.00",
}


async def test_order_when_rejected_by_script_then_its_code_comes_and_nothing_is_placed():
    async with trader() as (sim, _, _, rest):
        sim.script("order", "reject", code=-2010, msg="Market is closed.")
        assert refusal(await rest.limit("BUY", "1", "90.00")) == (400, -2010, "Market is closed.")
        assert sim.orders == []
        assert (await rest.limit("BUY", "1", "90.00")).status_code == 200


@pytest.mark.parametrize(("word", "placed"), [("lose_answer", 1), ("lose_request", 0)])
async def test_rest_order_when_lost_then_the_connection_breaks_and_only_one_kind_is_placed(
    word, placed
):
    async with trader() as (sim, _, _, rest):
        sim.script("order", word)
        with pytest.raises(httpx.RemoteProtocolError):
            await rest.limit("BUY", "1", "90.00")
        assert len(sim.orders) == placed
        assert len(sim.requests) == 1


@pytest.mark.parametrize(("word", "placed"), [("lose_answer", 1), ("lose_request", 0)])
async def test_websocket_order_when_lost_then_the_socket_closes_without_an_answer(word, placed):
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        sim.script("order", word)
        with pytest.raises(ConnectionClosed):
            await ws.signed("order.place", **LIMIT)
        assert len(sim.orders) == placed


async def test_lost_answer_when_the_order_is_asked_again_then_duplicate_betrays_it():
    async with trader() as (sim, _, _, rest):
        sim.script("order", "lose_answer")
        with pytest.raises(httpx.RemoteProtocolError):
            await rest.limit("BUY", "1", "90.00", newClientOrderId="once")
        again = await rest.limit("BUY", "1", "90.00", newClientOrderId="once")
        assert refusal(again)[2] == "Duplicate order sent."
        assert (await rest.query(origClientOrderId="once")).status_code == 200


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(
    ("word", "details", "status", "code"),
    [
        ("error", {}, 504, -1007),
        ("error", {"code": -1006, "status": 500}, 500, -1006),
        ("error", {"code": -1000, "status": 503}, 503, -1000),
        ("reject", {"msg": "Market is closed."}, 400, -2010),
    ],
)
async def test_order_when_answered_by_an_error_then_placed_only_if_so_scripted(
    word, details, status, code, committed
):
    async with trader() as (sim, clock, account, rest):
        sim.script("order", word, committed=committed, **details)
        assert refusal(await rest.limit("BUY", "1", "90.00"))[:2] == (status, code)
        assert len(sim.orders) == committed
        sim.script("order", word, committed=committed, **details)
        async with socket(sim.ws_api_url, clock, account) as ws:
            answer = await ws.signed("order.place", **LIMIT)
        assert (answer["status"], answer["error"]["code"]) == (status, code)
        assert len(sim.orders) == 2 * committed


@pytest.mark.parametrize("committed", [False, True])
async def test_order_when_a_proxy_answers_then_html_502_and_placed_only_if_so_scripted(committed):
    async with trader() as (sim, _, _, rest):
        sim.script("order", "html_502", committed=committed)
        reply = await rest.limit("BUY", "1", "90.00")
        assert (reply.status_code, reply.headers["content-type"]) == (502, "text/html")
        assert "Bad Gateway" in reply.text
        assert len(sim.orders) == committed


async def test_order_when_its_answer_is_truncated_then_it_is_placed_and_the_body_breaks_off():
    async with trader() as (sim, clock, account, rest):
        sim.script("order", "truncated")
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            await rest.limit("BUY", "1", "90.00")
        sim.script("order", "truncated")
        async with socket(sim.ws_api_url, clock, account) as ws:
            with pytest.raises(json.JSONDecodeError):
                await ws.signed("order.place", **LIMIT)
            with pytest.raises(ConnectionClosed):
                await ws.read()
        assert len(sim.orders) == 2


@pytest.mark.parametrize(("wait_ms", "accepted"), [(5000, True), (5001, False)])
async def test_late_order_when_delivered_then_committed_only_inside_its_window(wait_ms, accepted):
    async with trader() as (sim, clock, _, rest):
        sim.script("order", "late")
        with pytest.raises(httpx.RemoteProtocolError):
            await rest.limit("BUY", "1", "90.00", newClientOrderId="late")
        assert refusal(await rest.cancel(origClientOrderId="late"))[1] == -2011
        clock.move(milliseconds=wait_ms)
        (outcome,) = await sim.deliver_late()
        if accepted:
            assert isinstance(outcome, Order)
            assert (await rest.query(origClientOrderId="late")).json()["status"] == "NEW"
        else:
            assert isinstance(outcome, ApiError)
            assert outcome.code == -1021
            assert sim.orders == []
        assert await sim.deliver_late() == []


@pytest.mark.parametrize(
    ("word", "done"), [("lose_answer", True), ("lose_request", False), ("error", False)]
)
async def test_cancel_when_its_answer_is_lost_then_done_or_not_as_scripted(word, done):
    async with trader() as (sim, _, _, rest):
        await rest.limit("BUY", "1", "90.00")
        sim.script("cancel", word)
        if word == "error":
            assert (await rest.cancel(orderId=1)).status_code == 504
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await rest.cancel(orderId=1)
        assert sim.orders[0].is_open is not done


@pytest.mark.parametrize(
    ("word", "details", "status", "code"),
    [
        ("denied", {}, 401, -2015),
        ("html_403", {}, 403, None),
        ("banned", {}, 418, -1003),
        ("limited", {}, 429, -1003),
        ("error", {"status": 500, "code": -1001}, 500, -1001),
    ],
)
async def test_query_when_in_trouble_then_the_answer_is_no_evidence(word, details, status, code):
    async with trader() as (sim, _, _, rest):
        await rest.limit("BUY", "1", "90.00")
        sim.script("query", word, **details)
        reply = await rest.query(orderId=1)
        assert reply.status_code == status
        if code is None:
            assert reply.headers["content-type"] == "text/html"
        else:
            assert reply.json()["code"] == code
        assert ("retry-after" in reply.headers) is (status in (418, 429))
        assert (await rest.query(orderId=1)).status_code == 200


async def test_script_when_for_one_method_or_until_withdrawn_then_only_that_is_hit():
    async with trader() as (sim, _, _, rest):
        sim.script("openOrders.status", "lose_request", times=None)
        assert (await rest.signed("GET", "/api/v3/account")).status_code == 200
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError):
                await rest.signed("GET", "/api/v3/openOrders")
        sim.withdraw("openOrders.status")
        assert (await rest.signed("GET", "/api/v3/openOrders")).status_code == 200
        sim.script("query", "denied", times=2)
        replies = [await rest.signed("GET", "/api/v3/account") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [401, 401, 200]
        with pytest.raises(ValueError, match="words are"):
            sim.script("order", "explode")


async def test_reads_when_lagging_then_each_is_behind_by_itself_and_the_engine_is_not():
    async with trader() as (sim, _, _, rest):
        for name in ("order", "openOrders", "allOrders", "account", "myTrades"):
            sim.lag(name, True)
        await rest.limit("BUY", "1", "101.00", newClientOrderId="a")
        await rest.limit("BUY", "1", "90.00", newClientOrderId="b")

        async def seen() -> dict[str, object]:
            symbol = {"symbol": "BTCUSDT"}
            account = (await rest.signed("GET", "/api/v3/account")).json()
            balances = {row["asset"]: row["free"] for row in account["balances"]}
            return {
                "order": (await rest.query(origClientOrderId="a")).status_code,
                "openOrders": len((await rest.signed("GET", "/api/v3/openOrders")).json()),
                "allOrders": len((await rest.signed("GET", "/api/v3/allOrders", **symbol)).json()),
                "account": balances["USDT"],
                "myTrades": len((await rest.signed("GET", "/api/v3/myTrades", **symbol)).json()),
            }

        behind: dict[str, object] = {
            "order": 400,
            "openOrders": 0,
            "allOrders": 0,
            "account": "100000.00000000",
            "myTrades": 0,
        }
        caught_up = {"order": 200, "openOrders": 1, "allOrders": 2, "account": "99809.00000000"}
        assert await seen() == behind
        assert refusal(await rest.query(origClientOrderId="b")) == (
            400,
            -2013,
            "Order does not exist.",
        )
        for name, value in (*caught_up.items(), ("myTrades", 1)):
            sim.lag(name, False)
            behind[name] = value
            assert await seen() == behind
        sim.lag("order", True)
        assert (await rest.cancel(origClientOrderId="b")).status_code == 200
        assert (await rest.query(origClientOrderId="b")).json()["status"] == "NEW"
        with pytest.raises(ValueError, match="reads are"):
            sim.lag("everything", True)


async def test_testnet_reset_when_it_comes_then_ids_restart_and_only_keys_survive():
    async with trader() as (sim, clock, account, rest):
        await rest.limit("BUY", "1", "101.00")
        await rest.limit("BUY", "1", "90.00")
        sim.reset()
        assert refusal(await rest.query(orderId=2))[1] == -2013
        assert account.free("USDT") == 100000
        assert (await rest.signed("GET", "/api/v3/openOrders")).json() == []
        book = (await rest.get("/api/v3/depth", symbol="BTCUSDT")).json()
        assert book["bids"] == book["asks"] == []
        assert (await rest.limit("BUY", "1", "90.00")).json()["orderId"] == 1


async def test_roll_back_when_the_last_orders_are_lost_then_money_and_ids_are_as_before():
    async with trader() as (sim, _, account, rest):
        await rest.limit("BUY", "1", "90.00", newClientOrderId="kept")
        await rest.limit("BUY", "1", "101.00", newClientOrderId="gone")
        await rest.limit("BUY", "2", "91.00", newClientOrderId="gone-too")
        lost = sim.roll_back(2)
        assert [order.client_id for order in lost] == ["gone", "gone-too"]
        assert refusal(await rest.query(origClientOrderId="gone"))[1] == -2013
        assert account.balance("USDT").locked == 90
        assert (account.free("USDT"), account.free("BTC")) == (Decimal(99910), Decimal(10))
        assert sim.fills == []
        assert (await rest.limit("BUY", "1", "92.00")).json()["orderId"] == 2


async def test_unknown_status_word_when_injected_then_answers_and_events_show_it():
    async with (
        trader() as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        await ws.signed("userDataStream.subscribe.signature")
        sim.rename_status("FILLED", "SETTLED_LATER")
        placed = await rest.limit("BUY", "1", "101.00")
        assert placed.json()["status"] == "SETTLED_LATER"
        assert (await rest.query(orderId=1)).json()["status"] == "SETTLED_LATER"
        reports = [e["event"] for e in await ws.events_so_far() if "x" in e["event"]]
        assert [r["X"] for r in reports] == ["NEW", "SETTLED_LATER"]
        sim.rename_status("FILLED", None)
        assert (await rest.query(orderId=1)).json()["status"] == "FILLED"


async def test_demo_when_in_maintenance_then_orders_and_cancels_are_refused_and_queries_answer():
    async with trader(environment="demo") as (sim, clock, account, rest):
        await rest.limit("BUY", "1", "90.00")
        sim.maintenance(True)
        text = "Rest API trading is not enabled."
        assert refusal(await rest.limit("BUY", "1", "91.00")) == (400, -2010, text)
        assert refusal(await rest.cancel(orderId=1)) == (400, -2011, text)
        assert (await rest.query(orderId=1)).status_code == 200
        async with socket(sim.ws_api_url, clock, account) as ws:
            answer = await ws.signed("order.place", **LIMIT)
            assert answer["error"]["msg"] == "WebSocket API trading is not enabled."
        sim.maintenance(False)
        assert (await rest.cancel(orderId=1)).status_code == 200


async def test_filters_when_changed_at_run_time_then_the_next_order_meets_them():
    async with trader() as (sim, _, _, rest):
        assert (await rest.limit("BUY", "1.5", "90.00")).status_code == 200
        sim.change_filters("BTCUSDT", LOT_SIZE={"stepSize": "1.00000000"})
        assert refusal(await rest.limit("BUY", "1.5", "90.00"))[2] == "Filter failure: LOT_SIZE"
        info = (await rest.get("/api/v3/exchangeInfo", symbol="BTCUSDT")).json()
        steps = {row["filterType"]: row.get("stepSize") for row in info["symbols"][0]["filters"]}
        assert steps["LOT_SIZE"] == "1.00000000"


async def test_same_seed_when_played_twice_then_keys_and_ids_are_the_same():
    seen = []
    for _ in range(2):
        async with trader(key_type="ed25519") as (_, _, account, rest):
            placed = (await rest.limit("BUY", "1", "90.00")).json()
            seen.append((account.key, account.private_key, placed["clientOrderId"]))
    assert seen[0] == seen[1]


async def test_terminal_when_started_then_one_line_of_json_tells_where_and_who():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.simulators.binance",
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    if process.stdout is None:
        raise AssertionError("no standard output")
    try:
        told = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        async with httpx.AsyncClient(trust_env=False) as http:
            touch = await http.get(
                told["rest_url"] + "/api/v3/ticker/bookTicker", params={"symbol": "BTCUSDT"}
            )
        assert touch.json()["askPrice"] == "65000.01000000"
        assert {"key", "secret", "uid", "ws_api_url", "stream_url"} <= set(told)
    finally:
        process.terminate()
        await process.communicate()


async def test_money_when_many_random_orders_pass_then_none_appears_or_vanishes():
    async with trader({"USDT": "1000", "BTC": "5"}) as (sim, clock, first, rest):
        second = sim.add_account({"USDT": Decimal(1000), "BTC": Decimal(5)})
        sim.clear_quotes("BTCUSDT")
        sim.set_limit("ORDERS", 10_000)
        async with Rest(sim, clock, second) as other:
            for number in range(200):
                trader_rest = rest if sim.world.dice.random() < 0.5 else other
                side = sim.world.dice.choice(["BUY", "SELL"])
                price = f"{sim.world.dice.randint(95, 105)}.00"
                quantity = f"{sim.world.dice.randint(1, 9) / 10}"
                if number % 7 == 0:
                    await trader_rest.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
                elif number % 5 == 0:
                    await trader_rest.order("BTCUSDT", side, "MARKET", quantity=quantity)
                else:
                    await trader_rest.limit(side, quantity, price)
        assert len(sim.fills) > 40
        for asset, total in (("USDT", 2000), ("BTC", 10)):
            held = [account.balance(asset) for account in (first, second)]
            fees = sum((f.fee for f in sim.fills if f.fee_asset == asset), Decimal(0))
            assert sum((b.free + b.locked for b in held), fees) == total
            for account in (first, second):
                locked = sum(
                    (o.held for o in sim.orders if o.uid == account.uid and o.held_asset == asset),
                    Decimal(0),
                )
                assert account.balance(asset).locked == locked
                assert account.balance(asset).free >= 0
