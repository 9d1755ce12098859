"""The simulator's payloads beside recorded ones: the same keys, the same types.

The recordings are not part of the repository; without them these tests are skipped.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.bitstamp_client import Client, Socket, socket, trading

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "bitstamp"
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the repository"),
]


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text(encoding="utf-8"))


def lines(name: str) -> list[Any]:
    text = (RECORDED / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def rest(path: str) -> Any:
    """The recorded answer of a call."""
    rows = recorded("rest_gct_mock.json") + recorded("rest_jkorf_endpoints.json")
    return next(row["response"] for row in rows if row["path"] == f"/api/v2/{path}")


def shape(value: Any) -> Any:
    """Keys and JSON types; integers and doubles are one type."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


async def private_frames(client: Client, line: Socket) -> list[Any]:
    token = await client.post("websockets_token/")
    for kind in ("my_orders", "my_trades"):
        await line.subscribe(f"private-{kind}_btcusd-{token['user_id']}", token["token"])
    await client.post("buy/market/btcusd/", amount="0.1")
    return await line.drain()


async def test_private_frames_have_the_recorded_shape_when_a_market_order_fills():
    order, trade = lines("ws_private_2026-09-15.jsonl")
    async with trading() as (sim, client, _), socket(sim) as line:
        frames = await private_frames(client, line)
    assert shape(frames[0]) == shape(order)
    assert shape(frames[1]) == shape(trade)


async def test_public_frames_have_the_recorded_shape_when_the_market_moves():
    frames = [row["msg"] for row in lines("ws_public_2022-01-05.jsonl") if row["dir"] == "server"]
    trade = next(frame for frame in frames if frame["event"] == "trade")
    data = next(f for f in frames if f["event"] == "data" and f["data"]["bids"])
    live = next(
        frame
        for frame in lines("ws_control_and_perp_2026-09-15.jsonl")
        if frame.get("channel", "").startswith("live_orders")
    )
    async with trading() as (sim, client, _), socket(sim) as line:
        kinds = ("live_trades", "diff_order_book", "live_orders")
        for kind in kinds:
            await line.subscribe(f"{kind}_btcusd")
        await client.post("sell/market/btcusd/", amount="0.1")
        mine: dict[str, Any] = {}
        for frame in await line.drain():
            mine.setdefault(frame["channel"].removesuffix("_btcusd"), frame)
    assert shape(mine["live_trades"]) == shape(trade)
    assert shape(mine["live_orders"]) == shape(live)
    book = mine["diff_order_book"]
    assert set(book["data"]) == set(data["data"])
    assert shape(book["data"]["bids"]) == shape(data["data"]["bids"])


async def test_control_frames_are_the_recorded_ones_when_provoked():
    known = lines("ws_control_and_perp_2026-09-15.jsonl")
    async with trading() as (sim, _, _), socket(sim) as line:
        answers = [
            await line.ask({"event": "bts:heartbeat"}),
            await line.ask("{"),
            await line.ask({"event": "bts:subscribe"}),
            await line.subscribe("live_trades_BTC/USD"),
            await line.subscribe("private-my_orders_btcusd-1"),
            await line.subscribe("order_book_btcusd-perp"),
        ]
        sim.stream.request_reconnect()
        answers.append(await line.next())
    for answer in answers:
        assert answer in known


async def test_recorded_markets_are_served_unchanged_when_given():
    rows = recorded("markets_sample.json")
    async with trading(markets=rows) as (_, client, _):
        assert await client.public("markets/") == rows
        for row in await client.public("markets/"):
            if row["market_type"] == "SPOT":
                order = await client.post(f"buy/{row['market_symbol']}/", amount="1", price="1")
                assert "Minimum order size" in order["response_explanation"]


async def test_rest_answers_have_the_recorded_keys_when_an_order_lives_and_dies():
    async with trading() as (_, client, _):
        mine: dict[str, Any] = {}
        order = await client.post("buy/btcusd/", amount="0.1", price="49000", client_order_id="c")
        mine["buy/btcusd/"] = order
        mine["open_orders/all/"] = (await client.post("open_orders/all/"))[0]
        mine["ticker/btcusd/"] = await client.public("ticker/btcusd/")
        mine["cancel_order/"] = await client.post("cancel_order/", id=order["id"])
        mine["websockets_token/"] = await client.post("websockets_token/")
        await client.post("sell/market/btcusd/", amount="0.1")
        mine["transactions/btcusd/"] = (await client.public("transactions/btcusd/"))[0]
        rows = await client.post("account_order_data/", market="btcusd", order_source="orderbook")
    mine["account_order_data/"] = rows[0]
    for path, answer in mine.items():
        known = rest(path)
        theirs = shape(known[0] if isinstance(known, list) else known)
        ours = shape(answer)
        assert set(theirs) - set(ours) <= {"limit_price", "stop_price"}, path
        common = theirs.keys() & ours.keys() - {"data"}
        assert {k: ours[k] for k in common} == {k: theirs[k] for k in common}, path


async def test_a_trade_row_has_the_recorded_keys_and_types_when_read():
    theirs = next(row for row in rest("user_transactions/") if row["type"] == "2")
    async with trading() as (_, client, _):
        await client.post("buy/market/btcusd/", amount="0.1")
        (ours,) = await client.post("user_transactions/")
    assert shape(ours) == shape(theirs)
    assert Decimal(ours["usd"]) < 0 < Decimal(ours["btc"])
