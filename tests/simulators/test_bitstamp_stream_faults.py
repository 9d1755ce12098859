"""What can go wrong with Bitstamp's socket on purpose."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp_client import socket, subscribe, summary, trading

pytestmark = pytest.mark.anyio
D = Decimal


async def test_dust_is_left_as_recorded_when_a_market_order_ends_so():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders")
        sim.faults.next("submit", faults.dust(), faults.created_empty())
        await client.post("buy/market/btcusd/", amount="0.00038667", client_order_id="d")
        frames = await line.drain()
        assert summary(frames) == [
            ("order_created", "0", "0.00038667"),
            ("order_changed", "0.00038666", "0.00000001"),
            ("order_deleted", "0", "0.00000001"),
        ]
        assert frames[-1]["data"]["amount"] == 1e-08
        assert (await client.status(client_order_id="d"))["amount_remaining"] == "0.00000001"
        await client.post("buy/market/btcusd/", amount="0.1")
        created = (await line.drain())[0]["data"]
        assert (created["amount"], created["amount_at_create"]) == (0, "0")


async def test_the_end_comes_before_its_trades_when_the_channels_are_out_of_step():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders", "my_trades")
        sim.faults.next("submit", faults.trades_last())
        await client.post("buy/market/btcusd/", amount="0.1")
        await client.post("buy/market/btcusd/", amount="0.1")
        names = [frame["event"] for frame in await line.drain()]
        assert names[:3] == ["order_created", "order_deleted", "trade"]
        assert names[3:] == ["order_created", "trade", "order_deleted"]
        order = await client.post("buy/btcusd/", amount="0.1", price="49995")
        sim.engine.feed.trades_last = True
        sim.set_touch("btcusd", D(49_000), D(49_001))
        names = [f["event"] for f in await line.drain() if order["id"] in json.dumps(f)]
        assert names == ["order_created", "order_deleted", "trade"]


async def test_frames_are_dropped_doubled_or_all_silent_when_scripted():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders", "my_trades")
        sim.stream.drop_next("private-my_trades")
        sim.stream.double_next("private-my_orders", 2)
        await client.post("buy/market/btcusd/", amount="0.1")
        names = [frame["event"] for frame in await line.drain()]
        assert names == ["order_created"] * 2 + ["order_deleted"] * 2
        sim.stream.is_silent = True
        await client.post("buy/market/btcusd/", amount="0.1")
        assert await line.drain() == []
        sim.stream.is_silent = False
        await client.post("buy/market/btcusd/", amount="0.1")
        assert len(await line.drain()) == 3


async def test_clients_are_asked_to_reconnect_closed_or_cut_when_scripted():
    async with trading() as (sim, _, _):
        async with socket(sim) as line:
            await line.drain()
            sim.stream.request_reconnect()
            frame = await line.next()
            assert frame == {"event": "bts:request_reconnect", "channel": "", "data": None}
            await sim.stream.disconnect(4000)
            with pytest.raises(ConnectionClosedError) as closed:
                await line.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4000
        async with socket(sim) as line:
            await line.drain()
            assert sim.stream.connections == [set()]
            sim.stream.abort()
            with pytest.raises(ConnectionClosedError):
                await line.next()


async def test_stopping_is_clean_when_a_client_is_still_connected():
    async with trading() as (sim, _, _), socket(sim) as line:
        await line.subscribe("live_trades_btcusd")
        await sim.stop()
        with pytest.raises(ConnectionClosedOK, match="1001"):
            await line.next()
        assert sim.stream.connections == []
