"""The Binance simulator's market streams."""

import asyncio
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosed

from .binance_client import PATIENCE_S, socket, trader

pytestmark = pytest.mark.anyio


async def test_raw_stream_when_connected_by_path_then_payloads_come_bare():
    async with (
        trader() as (sim, clock, _, _),
        socket(f"{sim.stream_url}/ws/btcusdt@bookTicker", clock) as ws,
    ):
        await ws.control("LIST_SUBSCRIPTIONS")
        sim.set_touch("BTCUSDT", "99.00", "102.00", Decimal(3))
        final = await ws.event()
        assert set(final) == {"u", "s", "b", "B", "a", "A"}
        assert (final["b"], final["a"], final["A"]) == (
            "99.00000000",
            "102.00000000",
            "3.00000000",
        )
        sim.set_touch("BTCUSDT", "98.00", "102.00", Decimal(3))
        assert (await ws.event())["u"] > final["u"]


async def test_combined_stream_when_several_are_named_then_each_payload_is_wrapped():
    async with trader() as (sim, clock, _, rest):
        names = "btcusdt@trade/btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@miniTicker"
        async with socket(f"{sim.stream_url}/stream?streams={names}", clock) as ws:
            await ws.control("LIST_SUBSCRIPTIONS")
            sim.add_quote("BTCUSDT", "sell", "101.00", "5")
            await rest.limit("BUY", "12", "101.00")
            events = [await ws.event() for _ in range(5)]
            by_name = {event["stream"]: event["data"] for event in events}
            assert [event["stream"] for event in events].count("btcusdt@trade") == 2
            assert by_name["btcusdt@aggTrade"]["q"] == "12.00000000"
            assert (by_name["btcusdt@trade"]["t"], by_name["btcusdt@trade"]["m"]) == (2, False)
            candle = by_name["btcusdt@kline_1m"]["k"]
            assert (candle["x"], candle["n"], candle["v"], candle["f"], candle["L"]) == (
                False,
                2,
                "12.00000000",
                1,
                2,
            )
            assert by_name["btcusdt@miniTicker"]["c"] == "101.00000000"


async def test_control_frames_when_sent_then_subscriptions_follow_and_errors_are_numbered():
    async with trader() as (sim, clock, _, _), socket(f"{sim.stream_url}/ws", clock) as ws:
        answer = await ws.control("SUBSCRIBE", "btcusdt@trade", "nosuch@trade")
        assert answer == {"result": None, "id": 1}
        listed = await ws.control("LIST_SUBSCRIPTIONS")
        assert listed["result"] == ["btcusdt@trade", "nosuch@trade"]
        sim.print_trade("BTCUSDT", "100.00")
        assert (await ws.event())["p"] == "100.00000000"
        await ws.control("UNSUBSCRIBE", "btcusdt@trade")
        clock.move(seconds=1)
        sim.print_trade("BTCUSDT", "100.00")
        assert (await ws.control("LIST_SUBSCRIPTIONS"))["result"] == ["nosuch@trade"]
        assert (await ws.control("SET_PROPERTY", "combined", True))["result"] is None
        assert (await ws.control("GET_PROPERTY", "combined"))["result"] is True
        assert (await ws.control("GET_PROPERTY", "colour"))["code"] == 0
        assert (await ws.control("SET_PROPERTY", "combined", 7))["code"] == 1
        clock.move(seconds=1)
        assert (await ws.control("SUBSCRIBE", "nonsense"))["code"] == 2
        await ws.connection.send("{")
        assert (await ws.read())["code"] == 3


async def test_nonexistent_symbol_when_subscribed_then_accepted_and_silent():
    async with (
        trader() as (sim, clock, _, _),
        socket(f"{sim.stream_url}/ws/nosuch@kline_1m", clock) as ws,
    ):
        sim.print_trade("BTCUSDT", "100.00")
        await sim.tick()
        assert (await ws.control("LIST_SUBSCRIPTIONS"))["result"] == ["nosuch@kline_1m"]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ws.connection.recv(), 0)


async def test_utf8_symbol_when_streamed_from_an_encoded_path_then_it_speaks():
    async with trader() as (sim, clock, _, _):
        path = "/ws/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade"
        async with socket(sim.stream_url + path, clock) as ws:
            await ws.control("LIST_SUBSCRIPTIONS")
            sim.print_trade("币安人生USDT", "0.1000")
            assert (await ws.event())["s"] == "币安人生USDT"


async def test_candle_when_its_time_is_over_then_tick_closes_it_and_opens_a_flat_one():
    async with trader() as (sim, clock, _, _):
        sim.print_trade("BTCUSDT", "100.00")
        async with socket(f"{sim.stream_url}/ws/btcusdt@kline_1m", clock) as ws:
            await ws.control("LIST_SUBSCRIPTIONS")
            sim.print_trade("BTCUSDT", "104.00")
            assert (await ws.event())["k"]["x"] is False
            clock.move(minutes=1)
            await sim.tick()
            closed, opened = (await ws.event())["k"], (await ws.event())["k"]
            assert (closed["x"], closed["c"], closed["n"]) == (True, "104.00000000", 2)
            assert (opened["x"], opened["n"], opened["f"], opened["L"]) == (False, 0, -1, -1)
            assert opened["o"] == opened["c"] == "104.00000000"
            assert closed["T"] + 1 == opened["t"]


async def test_depth_when_followed_from_a_snapshot_then_the_local_book_is_the_book():
    async with (
        trader() as (sim, clock, _, rest),
        socket(f"{sim.stream_url}/ws/btcusdt@depth@100ms", clock) as ws,
    ):
        await ws.control("LIST_SUBSCRIPTIONS")
        snapshot = (await rest.get("/api/v3/depth", symbol="BTCUSDT")).json()
        local = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        await rest.limit("BUY", "1", "90.00")
        await rest.limit("BUY", "4", "101.00")
        await rest.cancel(orderId=1)
        known = snapshot["lastUpdateId"]
        for _ in range(3):
            event = await ws.event()
            assert event["U"] == known + 1
            known = event["u"]
            for side, rows in (("bids", event["b"]), ("asks", event["a"])):
                for price, quantity in rows:
                    local[side][price] = quantity
                    if Decimal(quantity) == 0:
                        del local[side][price]
        after = (await rest.get("/api/v3/depth", symbol="BTCUSDT")).json()
        assert local == {side: dict(after[side]) for side in ("bids", "asks")}
        assert known == after["lastUpdateId"]


async def test_partial_depth_when_subscribed_then_best_levels_without_symbol():
    async with (
        trader() as (sim, clock, _, rest),
        socket(f"{sim.stream_url}/ws/btcusdt@depth5", clock) as ws,
    ):
        await ws.control("LIST_SUBSCRIPTIONS")
        await rest.limit("BUY", "1", "90.00")
        event = await ws.event()
        assert set(event) == {"lastUpdateId", "bids", "asks"}
        assert event["bids"][1] == ["90.00000000", "1.00000000"]


async def test_market_events_when_scripted_then_a_gap_appears_and_streams_can_be_cut():
    async with (
        trader() as (sim, clock, _, _),
        socket(f"{sim.stream_url}/ws/btcusdt@trade", clock) as ws,
    ):
        await ws.control("LIST_SUBSCRIPTIONS")
        sim.script_stream("market", "drop")
        sim.print_trade("BTCUSDT", "100.00")
        sim.print_trade("BTCUSDT", "101.00")
        assert (await ws.event())["t"] == 2
        sim.announce_shutdown()
        assert (await ws.event())["e"] == "serverShutdown"
        sim.disconnect_streams()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(ws.connection.recv(), PATIENCE_S)


async def test_control_frames_when_more_than_five_a_second_then_cut():
    async with trader() as (sim, clock, _, _), socket(f"{sim.stream_url}/ws", clock) as ws:
        for _ in range(5):
            await ws.control("LIST_SUBSCRIPTIONS")
        with pytest.raises(ConnectionClosed):
            await ws.control("LIST_SUBSCRIPTIONS")
