"""Rate limits of the Binance simulator: weights, counts, 429, 418, and what gives them back."""

import pytest
from websockets.exceptions import InvalidStatus

from .binance_client import refusal, socket, trader

pytestmark = pytest.mark.anyio
USED = "x-mbx-used-weight-1m"
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "90.00",
}


async def test_weight_when_endpoints_are_called_then_each_costs_its_own():
    async with trader() as (_, clock, _, rest):
        used = 0
        for path, params, weight in (
            ("ping", {}, 1),
            ("exchangeInfo", {}, 20),
            ("depth", {"symbol": "BTCUSDT", "limit": 101}, 25),
            ("ticker/price", {"symbol": "BTCUSDT"}, 2),
            ("ticker/price", {}, 4),
            ("ticker/24hr", {}, 80),
            ("trades", {"symbol": "BTCUSDT"}, 25),
        ):
            reply = await rest.get(f"/api/v3/{path}", **params)
            used += weight
            assert int(reply.headers[USED]) == used, path
        for path, params, weight in (
            ("openOrders", {"symbol": "BTCUSDT"}, 6),
            ("openOrders", {}, 80),
            ("account", {}, 20),
            ("myTrades", {"symbol": "BTCUSDT", "orderId": 1}, 5),
            ("rateLimit/order", {}, 40),
        ):
            reply = await rest.signed("GET", f"/api/v3/{path}", **params)
            used += weight
            assert int(reply.headers[USED]) == used, path
        clock.move(minutes=1)
        assert (await rest.get("/api/v3/ping")).headers[USED] == "1"


async def test_order_operations_when_they_succeed_then_free_and_when_they_fail_then_charged():
    async with trader() as (_, _, _, rest):
        placed = await rest.limit("BUY", "1", "90.00")
        assert placed.headers[USED] == "0"
        assert (await rest.cancel(orderId=1)).headers[USED] == "0"
        assert (await rest.cancel(orderId=1)).headers[USED] == "1"
        assert (await rest.limit("BUY", "1", "90.001")).headers[USED] == "2"


async def test_weight_when_shared_then_the_websocket_sees_what_rest_spent():
    async with trader() as (sim, clock, _, rest):
        await rest.get("/api/v3/exchangeInfo")
        async with socket(sim.ws_api_url, clock) as ws:
            (weight,) = (await ws.ask("ping"))["rateLimits"]
            assert weight["count"] == 20 + 2 + 1


async def test_weight_when_exceeded_then_429_and_when_that_is_ignored_418_growing():
    async with trader() as (sim, clock, _, rest):
        clock.move(seconds=20)
        sim.set_limit("REQUEST_WEIGHT", 20)
        await rest.get("/api/v3/exchangeInfo")
        replies = [await rest.get("/api/v3/ping") for _ in range(4)]
        assert [reply.status_code for reply in replies] == [429, 429, 429, 418]
        assert replies[0].json()["code"] == -1003
        assert replies[0].headers["retry-after"] == "40"
        assert set(replies[0].json()) == {"code", "msg"}
        assert replies[3].headers["retry-after"] == "120"
        assert str(clock.ms() + 120_000) in replies[3].json()["msg"]
        clock.move(seconds=119)
        assert (await rest.get("/api/v3/time")).status_code == 418
        clock.move(seconds=1)
        await rest.get("/api/v3/exchangeInfo")
        again = [await rest.get("/api/v3/ping") for _ in range(4)]
        assert again[3].headers["retry-after"] == "240"


async def test_websocket_when_limited_or_banned_then_retry_after_is_in_epoch_ms():
    async with trader() as (sim, clock, _, _), socket(sim.ws_api_url, clock) as ws:
        sim.set_limit("REQUEST_WEIGHT", 2)
        answer = await ws.ask("ping")
        assert (answer["status"], answer["error"]["code"]) == (429, -1003)
        assert answer["error"]["data"] == {
            "serverTime": clock.ms(),
            "retryAfter": clock.ms() + 60_000,
        }
        sim.ban(seconds=300)
        answer = await ws.ask("ping")
        assert answer["status"] == 418
        assert answer["error"]["data"]["retryAfter"] == clock.ms() + 300_000


async def test_raw_requests_when_exceeded_then_429():
    async with trader() as (sim, _, _, rest):
        sim.set_limit("RAW_REQUESTS", 2)
        replies = [await rest.get("/api/v3/ping") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]


async def test_orders_when_too_many_then_1015_until_the_window_is_over():
    async with trader() as (sim, clock, account, rest):
        sim.set_limit("ORDERS", 2, "SECOND")
        clock.move(seconds=4)
        first = await rest.limit("BUY", "1", "90.00")
        second = await rest.limit("BUY", "1", "90.00")
        assert first.headers["x-mbx-order-count-10s"] == "1"
        assert second.headers["x-mbx-order-count-1d"] == "2"
        third = await rest.limit("BUY", "1", "90.00")
        text = "Too many new orders; current limit is 2 orders per 10 SECOND."
        assert refusal(third) == (429, -1015, text)
        assert third.headers["retry-after"] == "6"
        async with socket(sim.ws_api_url, clock, account) as ws:
            answer = await ws.signed("order.place", **LIMIT)
            assert answer["status"] == 429
            assert answer["error"]["data"]["retryAfter"] == clock.ms() + 6000
        clock.move(seconds=6)
        fourth = await rest.limit("BUY", "1", "90.00")
        assert fourth.headers["x-mbx-order-count-10s"] == "1"
        assert fourth.headers["x-mbx-order-count-1d"] == "3"


async def test_orders_when_they_fill_then_the_count_is_given_back_with_the_next_request():
    async with trader() as (sim, _, account, rest):
        taker = await rest.limit("BUY", "1", "101.00")
        assert taker.headers["x-mbx-order-count-10s"] == "1"
        resting = await rest.limit("BUY", "1", "90.00")
        assert resting.headers["x-mbx-order-count-10s"] == "1"
        await rest.cancel(orderId=2)
        counted = (await rest.signed("GET", "/api/v3/rateLimit/order")).json()
        assert [row["count"] for row in counted] == [1, 1]  # a cancel gives nothing back


async def test_replacement_when_orders_are_exhausted_then_nothing_or_only_the_cancel():
    async with trader() as (sim, _, _, rest):
        await rest.limit("BUY", "1", "90.00")
        sim.set_limit("ORDERS", 1, "SECOND")
        named = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "1",
            "price": "92.00",
            "cancelOrderId": 1,
            "cancelReplaceMode": "STOP_ON_FAILURE",
        }
        path = "/api/v3/order/cancelReplace"
        reply = await rest.signed("POST", path, **named)
        assert refusal(reply)[:2] == (429, -1015)
        named["orderRateLimitExceededMode"] = "CANCEL_ONLY"
        reply = await rest.signed("POST", path, **named)
        assert refusal(reply)[:2] == (429, -2021)
        assert reply.json()["data"]["cancelResult"] == "SUCCESS"
        assert (await rest.query(orderId=1)).json()["status"] == "CANCELED"


async def test_connections_when_too_many_in_five_minutes_then_refused():
    async with trader() as (sim, clock, _, _):
        sim.set_limit("CONNECTIONS", 1)
        async with socket(f"{sim.stream_url}/ws", clock):
            with pytest.raises(InvalidStatus) as refused:
                async with socket(sim.ws_api_url, clock):
                    pass
        assert refused.value.response.status_code == 429
        clock.move(minutes=5)
        async with socket(sim.ws_api_url, clock) as ws:
            assert (await ws.ask("ping"))["status"] == 200
