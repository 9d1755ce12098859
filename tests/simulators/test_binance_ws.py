"""The Binance simulator's WebSocket API: requests, sessions, connections."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .binance_client import socket, trader

pytestmark = pytest.mark.anyio
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "90.00",
}


async def test_public_methods_when_asked_then_they_answer_as_rest_does():
    async with trader() as (sim, clock, _, rest), socket(sim.ws_api_url, clock) as ws:
        assert (await ws.ask("ping"))["result"] == {}
        assert (await ws.ask("v3/time"))["result"] == {"serverTime": clock.ms()}
        named = {"symbol": "BTCUSDT"}
        for method, path in (
            ("exchangeInfo", "/api/v3/exchangeInfo"),
            ("ticker.book", "/api/v3/ticker/bookTicker"),
            ("ticker.price", "/api/v3/ticker/price"),
            ("avgPrice", "/api/v3/avgPrice"),
            ("depth", "/api/v3/depth"),
        ):
            answer = await ws.ask(method, **named)
            assert answer["status"] == 200
            assert answer["result"] == (await rest.get(path, **named)).json()
        many = await ws.ask("ticker.price", symbols=["BTCUSDT", "ETHUSDT"])
        assert [row["symbol"] for row in many["result"]] == ["BTCUSDT", "ETHUSDT"]
        sim.set_reference_price("BTCUSDT", "5")
        price = (await ws.ask("referencePrice", **named))["result"]["referencePrice"]
        assert price == "5.00000000"


async def test_order_methods_when_signed_each_then_a_whole_life_passes():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        assert (await ws.signed("order.test", **LIMIT))["result"] == {}
        placed = await ws.signed("order.place", **LIMIT, newClientOrderId="mine")
        assert placed["result"]["status"] == "NEW"
        named = {"symbol": "BTCUSDT"}
        status = await ws.signed("order.status", **named, origClientOrderId="mine")
        assert status["result"]["orderId"] == 1
        assert len((await ws.signed("openOrders.status", **named))["result"]) == 1
        cancelled = await ws.signed("order.cancel", **named, orderId=1)
        assert cancelled["result"]["status"] == "CANCELED"
        await ws.signed("order.place", **LIMIT)
        everything = await ws.signed("openOrders.cancelAll", **named)
        assert [row["orderId"] for row in everything["result"]] == [2]
        await ws.signed("order.place", **{**LIMIT, "price": "101.00"})
        assert len((await ws.signed("allOrders", **named))["result"]) == 3
        assert (await ws.signed("myTrades", **named))["result"][0]["orderId"] == 3
        assert (await ws.signed("account.status"))["result"]["uid"] == account.uid
        rates = await ws.signed("account.commission", **named)
        assert rates["result"]["symbol"] == "BTCUSDT"
        counts = (await ws.signed("account.rateLimits.orders"))["result"]
        assert [row["count"] for row in counts] == [2, 2]  # three placed, one fill gave one back


async def test_rate_limits_when_not_declined_then_they_stand_in_each_answer():
    async with trader() as (sim, clock, account, _):
        async with socket(sim.ws_api_url, clock, account) as ws:
            kinds = [
                (row["rateLimitType"], row["interval"], row["count"])
                for row in (await ws.signed("order.place", **LIMIT))["rateLimits"]
            ]
            assert kinds == [
                ("ORDERS", "SECOND", 1),
                ("ORDERS", "DAY", 1),
                ("REQUEST_WEIGHT", "MINUTE", 2),
            ]
            (weight,) = (await ws.ask("ping"))["rateLimits"]
            assert weight["count"] == 3
            assert "rateLimits" not in await ws.ask("ping", returnRateLimits=False)
        async with socket(f"{sim.ws_api_url}?returnRateLimits=false", clock) as ws:
            assert "rateLimits" not in await ws.ask("ping")


async def test_refusals_when_asked_wrongly_then_status_and_code_are_told_apart():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        for answer, status, code in (
            (await ws.signed("order.place", **{**LIMIT, "symbol": "NOPE"}), 400, -1121),
            (await ws.ask("account.status", timestamp=clock.ms()), 401, -2014),
            (await ws.ask("order.fly"), 400, -1130),
            (await ws.signed("order.cancel", symbol="BTCUSDT", orderId=5), 400, -2011),
            (await ws.signed("order.status", symbol="BTCUSDT", orderId=5), 400, -2013),
        ):
            assert (answer["status"], answer["error"]["code"]) == (status, code)
        await ws.connection.send("{nonsense")
        assert (await ws.read())["error"]["code"] == -1135


async def test_unknown_path_when_connected_to_then_404():
    async with trader() as (sim, _, _, _):
        with pytest.raises(InvalidStatus) as refused:
            await connect(sim.ws_api_url + "x", proxy=None)
        assert refused.value.response.status_code == 404


async def test_session_when_logged_on_with_ed25519_then_signatures_may_be_left_out():
    async with (
        trader(key_type="ed25519") as (sim, clock, account, _),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        assert (await ws.ask("session.status"))["result"]["apiKey"] is None
        state = (await ws.signed("session.logon"))["result"]
        assert state == {
            "apiKey": account.key,
            "authorizedSince": clock.ms(),
            "connectedSince": clock.ms(),
            "returnRateLimits": True,
            "serverTime": clock.ms(),
            "userDataStream": False,
        }
        placed = await ws.ask("order.place", **LIMIT, timestamp=clock.ms())
        assert placed["status"] == 200
        bare = await ws.ask("order.place", **LIMIT)
        assert bare["error"]["code"] == -1102
        assert (await ws.ask("session.logout"))["result"]["apiKey"] is None
        after = await ws.ask("order.place", **LIMIT, timestamp=clock.ms())
        assert after["status"] == 401


async def test_session_when_the_key_is_hmac_then_logon_is_refused():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        answer = await ws.signed("session.logon")
        assert (answer["status"], answer["error"]["code"]) == (400, -4056)


async def test_session_when_its_key_is_revoked_then_the_next_request_gets_401_without_id():
    async with (
        trader(key_type="ed25519") as (sim, clock, account, _),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        await ws.signed("session.logon")
        sim.revoke(account.key)
        answer = await ws.ask("order.place", **LIMIT, timestamp=clock.ms())
        assert (answer["id"], answer["status"]) == (None, 401)
        assert answer["error"]["code"] == -2015
        assert sim.orders == []


async def test_connection_when_shut_down_disconnected_or_a_day_old_then_told_and_cut():
    async with trader() as (sim, clock, _, _):
        async with socket(sim.ws_api_url, clock) as ws:
            sim.announce_shutdown()
            assert await ws.event() == {"event": {"e": "serverShutdown", "E": clock.ms()}}
            sim.disconnect_api()
            with pytest.raises(ConnectionClosed):
                await ws.read()
        async with socket(sim.ws_api_url, clock) as ws:
            clock.move(hours=23)
            await sim.tick()
            await ws.ask("ping")
            clock.move(hours=1)
            await sim.tick()
            with pytest.raises(ConnectionClosed):
                await ws.read()


async def test_ping_when_the_client_answers_then_it_stays_and_when_deaf_it_is_cut():
    async with trader() as (sim, clock, _, _), socket(sim.ws_api_url, clock) as ws:
        await sim.ping()
        await ws.ask("ping")  # the pong went out before this answer came,
        await ws.ask("ping")  # and so was read before this one was given
        clock.move(seconds=60)
        await sim.tick()
        await ws.ask("ping")
        ws.connection.transport.pause_reading()
        await sim.ping()
        clock.move(seconds=60)
        await sim.tick()
        ws.connection.transport.resume_reading()
        with pytest.raises(ConnectionClosed):
            await ws.read()
