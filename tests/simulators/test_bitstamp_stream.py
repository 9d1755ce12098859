"""Bitstamp's WebSocket: acks, errors, tokens, frames, chains, and scripted faults."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.simulators.bitstamp_client import Client, socket, subscribe, summary, trading

pytestmark = pytest.mark.anyio
D = Decimal


def error(message: str, code: int | None = None) -> dict[str, Any]:
    return {"event": "bts:error", "channel": "", "data": {"code": code, "message": message}}


async def test_a_channel_is_acked_and_silent_when_its_symbol_is_unknown():
    async with trading() as (_, client, _), socket(client.sim) as line:
        ack = await line.subscribe("live_trades_nopeusd")
        assert ack["event"] == "bts:subscription_succeeded"
        await client.post("buy/market/btcusd/", amount="0.1")
        assert await line.drain() == []


@pytest.mark.parametrize(
    "channel", ["live_trades_BTCUSD", "live_trades_btc/usd", "LIVE_TRADES_btcusd", "quotes_btcusd"]
)
async def test_a_channel_is_invalid_when_its_spelling_is_wrong(channel: str):
    async with trading() as (sim, _, _), socket(sim) as line:
        assert await line.subscribe(channel) == error("Invalid channel provided.")


async def test_a_frame_is_refused_when_it_is_no_json_or_no_subscription():
    async with trading() as (sim, _, _), socket(sim) as line:
        assert await line.ask("{nope") == error("Incorrect JSON format.")
        for frame in ({"event": "bts:subscribe"}, {"event": "x", "data": {}}, [1]):
            assert await line.ask(frame) == error("Bad subscription string.")
        heartbeat = await line.ask({"event": "bts:heartbeat"})
        assert heartbeat == {
            "event": "bts:heartbeat",
            "channel": "",
            "data": {"status": "success"},
        }


async def test_nothing_comes_when_a_channel_was_unsubscribed():
    async with trading() as (_, client, _), socket(client.sim) as line:
        await line.subscribe("live_trades_btcusd")
        await client.post("buy/market/btcusd/", amount="0.1")
        assert len(await line.drain()) == 1
        frame = {"event": "bts:unsubscribe", "data": {"channel": "live_trades_btcusd"}}
        assert (await line.ask(frame))["event"] == "bts:unsubscription_succeeded"
        await client.post("buy/market/btcusd/", amount="0.1")
        assert await line.drain() == []


async def test_the_connection_closes_with_1009_when_a_client_frame_is_too_long():
    async with trading() as (sim, _, _), socket(sim) as line:
        assert (await line.ask("x" * 512))["event"] == "bts:error"
        with pytest.raises(ConnectionClosedError) as closed:
            await line.ask("x" * 513)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_the_connection_breaks_when_it_subscribes_a_1025th_time():
    async with trading() as (sim, _, _), socket(sim) as line:
        for number in range(1024):
            await line.subscribe(f"live_trades_c{number}usd")
        with pytest.raises(ConnectionClosedError) as closed:
            await line.subscribe("live_trades_btcusd")
        assert closed.value.rcvd is None


async def test_a_private_channel_is_refused_when_the_token_is_missing_or_anothers():
    async with trading() as (sim, client, _), socket(sim) as line:
        channel = f"private-my_orders_btcusd-{client.account.user_id}"
        refused = error("Connection is unauthorized.", 4009)
        assert await line.subscribe(channel) == refused
        assert await line.subscribe(channel, "x" * 32) == refused
        async with Client(sim, sim.add_account({})) as other:
            token = (await other.post("websockets_token/"))["token"]
        assert await line.subscribe(channel, token) == refused


async def test_a_token_is_good_for_60_s_and_several_channels_when_the_clock_moves():
    async with trading() as (sim, client, clock), socket(sim) as line:
        token = await client.post("websockets_token/")
        assert (len(token["token"]), token["valid_sec"]) == (32, 60)
        assert token["user_id"] == client.account.user_id
        clock.advance(59.999)
        for kind in ("my_orders", "my_trades"):
            channel = f"private-{kind}_btcusd-{token['user_id']}"
            ack = await line.subscribe(channel, token["token"])
            assert ack["event"] == "bts:subscription_succeeded"
        clock.advance(0.001)
        channel = f"private-my_orders_btcusd-perp-{token['user_id']}"
        answer = await line.subscribe(channel, token["token"])
        assert answer == error("Connection is unauthorized.", 4009)
        await client.post("buy/btcusd/", amount="0.1", price="49000")
        assert len(await line.drain()) == 1
        assert token["token"] not in repr(sim.requests)


async def test_an_order_frame_is_as_recorded_when_a_market_order_fills():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders", "my_trades")
        order = await client.post("buy/market/btcusd/", amount="0.1", client_order_id="m1")
        created, trade, deleted = await line.drain()
        assert created == {
            "data": {
                "id": order["id"],
                "id_str": order["id"],
                "order_type": 0,
                "order_subtype": 2,
                "datetime": "1789459694",
                "microtimestamp": "1789459694223000",
                "amount": 0.1,
                "amount_str": "0.10000000",
                "amount_traded": "0",
                "amount_at_create": "0.10000000",
                "price": 999999999,
                "price_str": "999999999",
                "is_liquidation": False,
                "trade_account_id": 0,
                "client_order_id": "m1",
            },
            "channel": f"private-my_orders_btcusd-{client.account.user_id}",
            "event": "order_created",
            "trade_account_id": 0,
            "event_id": created["event_id"],
            "pre_event_id": created["pre_event_id"],
            "order_source": "orderbook",
        }
        status = await client.status(id=order["id"])
        assert trade["data"] == {
            "id": status["transactions"][0]["tid"],
            "amount": "0.10000000",
            "price": "50000",
            "microtimestamp": "1789459694223000",
            "fee": "20.00000",
            "order_id": order["id"],
            "trade_account_id": 0,
            "side": "buy",
        }
        data = deleted["data"]
        assert (data["amount"], data["amount_str"], data["amount_traded"]) == (0, "0", "0.10000000")
        assert data["price"] == 50000


async def test_amount_traded_is_of_this_event_when_an_order_fills_in_slices():
    async with trading() as (sim, client, _), socket(sim) as line:
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"))
        await subscribe(line, client, "my_orders")
        await client.post("buy/btcusd/", amount="0.2", price="50002")
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"), levels=1)
        frames = await line.drain()
        assert summary(frames) == [
            ("order_created", "0", "0.20000000"),
            ("order_changed", "0.05000000", "0.15000000"),
            ("order_changed", "0.05000000", "0.10000000"),
            ("order_changed", "0.05000000", "0.05000000"),
            ("order_deleted", "0.05000000", "0"),
        ]
        assert {frame["data"]["amount_at_create"] for frame in frames} == {"0.20000000"}


@pytest.mark.parametrize(
    ("flag", "subtype"), [("ioc_order", 4), ("fok_order", 6), ("moc_order", 5)]
)
async def test_an_unfilled_end_shows_what_remained_when_time_in_force_ends_it(
    flag: str, subtype: int
):
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders")
        price = "50000" if flag == "moc_order" else "49999"
        await client.post("buy/btcusd/", amount="0.1", price=price, **{flag: "True"})
        frames = await line.drain()
        assert summary(frames) == [
            ("order_created", "0", "0.10000000"),
            ("order_deleted", "0", "0.10000000"),
        ]
        assert {frame["data"]["order_subtype"] for frame in frames} == {subtype}


async def test_own_events_chain_unbroken_when_others_trade_on_the_market():
    async with trading() as (sim, client, clock), socket(sim) as line:
        await subscribe(line, client, "my_orders")
        for number in range(4):
            await client.post("buy/btcusd/", amount="0.1", price=f"4900{number}")
            sim.set_touch("btcusd", D(49_990 + number), D(50_000 + number))
            clock.advance(1)
        await client.post("cancel_all_orders/")
        frames = await line.drain()
        ids = [frame["event_id"] for frame in frames]
        assert [frame["pre_event_id"] for frame in frames[1:]] == ids[:-1]
        assert ids == sorted(ids)
        assert ids[0].startswith("00065b81-0d69-fe98-")
        assert ids[0].endswith("000020")
        names = {"market": "btcusd", "order_source": "orderbook"}
        rows = await client.post("account_order_data/", **names, since_id=ids[2])
        assert [row["event_id"] for row in rows] == ids[2:]


async def test_own_frames_link_over_the_market_when_the_chain_is_the_markets():
    async with trading(own_chain=False) as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders")
        await line.subscribe("live_orders_btcusd")
        await client.post("buy/btcusd/", amount="0.1", price="49000")
        sim.set_touch("btcusd", D(49_991), D(50_001))
        await client.post("buy/btcusd/", amount="0.1", price="49000")
        frames = await line.drain()
        mine = [frame for frame in frames if frame["channel"].startswith("private")]
        public = [frame for frame in frames if frame["channel"].startswith("live")]
        assert mine[1]["pre_event_id"] != mine[0]["event_id"]
        ids = [frame["event_id"] for frame in public]
        assert [frame["pre_event_id"] for frame in public[1:]] == ids[:-1]
        assert mine[1]["pre_event_id"] == ids[-2]


async def test_public_orders_name_nobody_when_an_account_trades():
    async with trading() as (sim, client, _), socket(sim) as line:
        await line.subscribe("live_orders_btcusd")
        order = await client.post("buy/btcusd/", amount="0.1", price="49000", client_order_id="c")
        (frame,) = await line.drain()
        assert frame["data"]["id"] == int(order["id"])
        assert not {"client_order_id", "trade_account_id"} & set(frame["data"])
        assert "trade_account_id" not in frame


async def test_a_live_trade_is_as_recorded_when_orders_match():
    async with trading() as (sim, client, _), socket(sim) as line:
        await line.subscribe("live_trades_btcusd")
        order = await client.post("sell/market/btcusd/", amount="0.1")
        (frame,) = await line.drain()
        data = frame["data"]
        assert (frame["event"], frame["channel"]) == ("trade", "live_trades_btcusd")
        assert data == {
            "id": data["id"],
            "timestamp": "1789459694",
            "amount": 0.1,
            "amount_str": "0.10000000",
            "price": 49990,
            "price_str": "49990",
            "type": 1,
            "microtimestamp": "1789459694223000",
            "buy_order_id": data["buy_order_id"],
            "sell_order_id": int(order["id"]),
        }


async def test_books_come_whole_changed_and_detailed_when_an_order_rests_and_goes():
    async with trading() as (sim, client, _), socket(sim) as line:
        for kind in ("order_book", "diff_order_book", "detail_order_book"):
            ack = await line.subscribe(f"{kind}_btcusd")
            assert ack["event"] == "bts:subscription_succeeded"
        order = await client.post("buy/btcusd/", amount="0.1", price="49991")
        whole, diff, detail = await line.drain()
        assert whole["event"] == "data"
        assert whole["data"]["bids"][:2] == [["49991", "0.10000000"], ["49990", "10.00000000"]]
        assert (diff["data"]["bids"], diff["data"]["asks"]) == ([["49991", "0.10000000"]], [])
        assert detail["data"]["bids"][0] == ["49991", "0.10000000", order["id"]]
        stamp = int(diff["data"]["microtimestamp"])
        assert stamp == int(whole["data"]["microtimestamp"])
        await client.post("cancel_order/", id=order["id"])
        _, diff, _ = await line.drain()
        assert [(price, D(amount)) for price, amount in diff["data"]["bids"]] == [("49991", D(0))]
        assert int(diff["data"]["microtimestamp"]) > stamp


async def test_a_diffed_book_equals_the_rest_book_when_updates_are_applied():
    async with trading() as (sim, client, _), socket(sim) as line:
        await line.subscribe("diff_order_book_btcusd")
        first = await client.public("order_book/btcusd/")
        sides = {side: dict(first[side]) for side in ("bids", "asks")}
        for number in range(6):
            await client.post("buy/btcusd/", amount=f"0.{number + 1}", price=f"{49_996 + number}")
            sim.set_touch("btcusd", D(49_990 + number), D(50_000 + number), D(number + 1))
        for frame in await line.drain():
            assert int(frame["data"]["microtimestamp"]) > int(first["microtimestamp"])
            for side, levels in sides.items():
                for price, amount in frame["data"][side]:
                    levels[price] = amount
                    if not D(amount):
                        del levels[price]
        last = await client.public("order_book/btcusd/")
        assert sides == {side: dict(last[side]) for side in ("bids", "asks")}


async def test_a_self_trade_has_its_own_frame_and_no_trade_when_we_meet_ourselves():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_trades", "live_trades")
        sell = await client.post("sell/btcusd/", amount="0.1", price="49995")
        buy = await client.post("buy/btcusd/", amount="0.1", price="49995")
        (frame,) = await line.drain()
        assert frame["event"] == "self_trade"
        data = frame["data"]
        assert (data["buy_order_id"], data["sell_order_id"]) == (int(buy["id"]), int(sell["id"]))
        assert (data["buyers_trade_account_id"], data["sellers_trade_account_id"]) == (0, 0)
        assert "fee" not in data


async def test_a_replacement_is_told_as_deleted_and_replaced_when_it_happens():
    async with trading() as (sim, client, _), socket(sim) as line:
        old = await client.post("buy/btcusd/", amount="0.1", price="49000")
        await subscribe(line, client, "my_orders")
        await client.post("replace_order/", id=old["id"], amount="0.2", price="49000")
        deleted, replaced = await line.drain()
        assert (deleted["event"], deleted["data"]["id"]) == ("order_deleted", old["id"])
        assert replaced["event"] == "order_replaced"
        assert replaced["data"]["orig_order_id"] == old["id"]
        assert replaced["data"]["amount_str"] == "0.20000000"


@pytest.mark.parametrize("main_sees", [True, False])
async def test_a_sub_accounts_events_carry_its_number_when_the_main_user_listens(main_sees: bool):
    async with trading() as (sim, client, _), socket(sim) as line:
        sim.engine.feed.main_sees_subaccounts = main_sees
        sub = sim.add_account({"usd": D(10_000)}, parent=client.account)
        await subscribe(line, client, "my_orders")
        async with Client(sim, sub) as own:
            await subscribe(line, own, "my_orders")
            await own.post("buy/btcusd/", amount="0.1", price="49000")
        frames = await line.drain()
        users = [client.account.user_id, sub.user_id] if main_sees else [sub.user_id]
        assert sorted(int(f["channel"].rpartition("-")[2]) for f in frames) == users
        assert {frame["trade_account_id"] for frame in frames} == {sub.trade_account_id}


async def test_client_frames_are_noted_without_tokens_when_read_back():
    async with trading() as (sim, client, _), socket(sim) as line:
        await subscribe(line, client, "my_orders")
        seen = sim.requests[-1]
        channel = f"private-my_orders_btcusd-{client.account.user_id}"
        assert (seen.method, seen.path, seen.params) == (
            "WS",
            "bts:subscribe",
            {"channel": channel},
        )
