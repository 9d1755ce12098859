"""Bitstamp's public calls, and the rate limit that counts every call."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.simulators.bitstamp.markets import spot_row
from tests.simulators.bitstamp_client import code_of, trading

pytestmark = pytest.mark.anyio


async def test_markets_list_spot_rows_without_maxima_when_read():
    async with trading() as (_, client, _):
        rows = {row["market_symbol"]: row for row in await client.public("markets/")}
        assert rows["btcusd"]["counter_decimals"] == 0
        assert "maximum_order_amount" not in rows["btcusd"]
        assert rows["btcusd-perp"]["market_type"] == "PERPETUAL"


async def test_markets_are_the_given_rows_when_a_test_brings_its_own():
    row = spot_row("ETH", "EUR", 8, 2, "10.00") | {"unheard_of": "kept"}
    async with trading(markets=[row, spot_row("BTC", "USD", 8, 0, "10")]) as (_, client, _):
        assert (await client.public("markets/"))[0] == row


async def test_currencies_and_old_pairs_agree_with_the_markets_when_read():
    async with trading() as (_, client, _):
        currencies = {row["currency"]: row for row in await client.public("currencies/")}
        assert currencies["USD"]["type"] == "fiat"
        assert currencies["BTC"]["networks"][0]["network"] == "bitcoin"
        pairs = {row["url_symbol"]: row for row in await client.public("trading-pairs-info/")}
        assert pairs["btcusd"]["minimum_order"] == "10 USD"
        assert "btcusd-perp" not in pairs


async def test_a_ticker_shows_the_touch_and_the_days_trades_when_there_were_some():
    async with trading() as (_, client, _):
        await client.post("buy/market/btcusd/", amount="0.1")
        await client.post("sell/market/btcusd/", amount="0.1")
        row = await client.public("ticker/btcusd/")
        assert (row["bid"], row["ask"]) == ("49990", "50000")
        assert (row["last"], row["high"], row["low"]) == ("49990", "50000", "49990")
        assert (row["volume"], row["vwap"], row["side"]) == ("0.20000000", "49995", "1")
        assert row["percent_change_24"] == "-0.02"
        everything = {row["market"]: row for row in await client.public("ticker/")}
        assert everything["BTC/USD"]["last"] == "49990"
        assert (await client.public("ticker_hour/btcusd/"))["last"] == "49990"


async def test_a_ticker_is_refused_when_any_parameter_is_given():
    async with trading() as (_, client, _):
        for path in ("ticker/btcusd/", "ticker/"):
            assert code_of(await client.public(path, "?step=60")) == "400.018"


async def test_a_market_is_not_found_when_its_name_is_unknown():
    async with trading() as (_, client, _):
        for path in ("ticker/nopeusd/", "order_book/nopeusd/", "transactions/nopeusd/"):
            assert code_of(await client.public(path)) == "404.003"
            assert client.last.status_code == 404
        assert "<html>" in await client.public("nothing_here/")
        assert client.last.status_code == 404


async def test_a_book_groups_prices_when_asked_and_names_orders_when_asked():
    async with trading() as (_, client, _):
        order = await client.post("buy/btcusd/", amount="0.5", price="49990")
        grouped = await client.public("order_book/btcusd/")
        assert grouped["bids"][0] == ["49990", "10.50000000"]
        assert grouped["asks"][0] == ["50000", "10.00000000"]
        single = await client.public("order_book/btcusd/", "?group=0")
        assert single["bids"][:2] == [["49990", "10.00000000"], ["49990", "0.50000000"]]
        named = await client.public("order_book/btcusd/", "?group=2")
        assert named["bids"][1] == ["49990", "0.50000000", order["id"]]
        assert int(named["microtimestamp"]) > int(grouped["microtimestamp"])
        assert code_of(await client.public("order_book/btcusd/", "?group=3")) == "400.001"


async def test_transactions_cover_the_period_when_time_passes():
    async with trading() as (_, client, clock):
        await client.post("buy/market/btcusd/", amount="0.1")
        clock.advance(61)
        await client.post("sell/market/btcusd/", amount="0.2")
        rows = await client.public("transactions/btcusd/")
        assert [(row["type"], row["price"]) for row in rows] == [("1", "49990"), ("0", "50000")]
        minute = await client.public("transactions/btcusd/", "?time=minute")
        assert [row["amount"] for row in minute] == ["0.20000000"]
        assert code_of(await client.public("transactions/btcusd/", "?time=year")) == "400.001"


async def test_bars_have_no_gaps_when_minutes_pass_without_a_trade():
    async with trading() as (_, client, clock):
        clock.advance(-14)
        await client.post("buy/market/btcusd/", amount="0.1")
        clock.advance(120)
        await client.post("sell/market/btcusd/", amount="0.2")
        bars = (await client.public("ohlc/btcusd/", "?step=60&limit=10"))["data"]["ohlc"]
        assert [bar["close"] for bar in bars] == ["50000", "50000", "49990"]
        assert [bar["volume"] for bar in bars] == ["0.10000000", "0.00000000", "0.20000000"]
        first = int(bars[0]["timestamp"])
        assert [int(bar["timestamp"]) - first for bar in bars] == [0, 60, 120]
        query = f"?step=60&limit=1&start={first}"
        assert (await client.public("ohlc/btcusd/", query))["data"]["ohlc"] == bars[:1]
        query += f"&end={first + 60}"
        assert (await client.public("ohlc/btcusd/", query))["data"]["ohlc"] == bars[1:2]
        query = "?step=60&limit=1&exclude_current_candle=true"
        assert (await client.public("ohlc/btcusd/", query))["data"]["ohlc"] == bars[1:2]
        assert code_of(await client.public("ohlc/btcusd/", "?step=61&limit=1")) == "400.001"


async def test_calls_are_refused_when_over_400_in_a_second():
    async with trading() as (sim, client, clock):
        sim.limits.per_second = 5
        for _ in range(5):
            assert "bid" in await client.public("ticker/btcusd/")
        assert code_of(await client.public("ticker/btcusd/")) == "400.002"
        assert client.last.status_code == 200
        sim.limits.status = 429
        assert code_of(await client.post("account_balances/")) == "400.002"
        assert client.last.status_code == 429
        clock.advance(1)
        assert "bid" in await client.public("ticker/btcusd/")


async def test_calls_are_refused_when_over_the_ten_minute_limit():
    async with trading() as (sim, client, clock):
        sim.limits.per_ten_minutes = 3
        assert (sim.limits.per_second, sim.limits.status) == (400, 200)
        for _ in range(3):
            clock.advance(60)
            assert "bid" in await client.public("ticker/btcusd/")
        clock.advance(60)
        assert code_of(await client.public("ticker/btcusd/")) == "400.002"
        clock.advance(600)
        assert "bid" in await client.public("ticker/btcusd/")


async def test_a_market_row_changes_when_the_exchange_changes_its_rules():
    async with trading() as (sim, client, _):
        sim.change_market("btcusd", counter_decimals=2, minimum_order_value="25")
        rows = {row["market_symbol"]: row for row in await client.public("markets/")}
        assert rows["btcusd"]["minimum_order_value"] == "25"
        small = await client.post("buy/btcusd/", amount="0.0004", price="49000.55")
        assert small["reason"] == {"__all__": ["Minimum order size is 25 USD."]}
        order = await client.post("buy/btcusd/", amount="0.001", price="49000.55")
        assert order["price"] == "49000.55"


async def test_the_touch_moves_and_keeps_its_depth_when_the_maker_is_set():
    async with trading() as (sim, _, _):
        sim.set_touch("btcusd", Decimal(51_000), Decimal(51_010), Decimal(1), levels=2)
        book = sim.books["btcusd"]
        assert book.levels("buy", 9) == [
            (Decimal(51_000), Decimal(1)),
            (Decimal(50_999), Decimal(1)),
        ]
        assert book.levels("sell", 9) == [
            (Decimal(51_010), Decimal(1)),
            (Decimal(51_011), Decimal(1)),
        ]
        assert sim.orders == []
