"""Sources that tell each new price by themselves; to who comes late only the newest."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from backend.prices import binance, bitstamp, open_prices
from backend.prices._ticks import Ticks
from backend.testing import FrozenClock
from backend.testing.prices import ChosenPrices
from tests.exchanges.scripted import FrozenClock as ExchangeClock
from tests.simulators.binance import Simulator as BinanceSimulator
from tests.simulators.bitstamp import Simulator as BitstampSimulator

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


async def following(quotes: Any) -> Any:
    async with asyncio.timeout(5):
        return await anext(quotes)


# --- the exchanges' streams ---


@pytest.fixture(params=["binance", "bitstamp"])
async def streamed(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Yield a source at its simulator, and how to move the book there."""
    if request.param == "binance":
        clock = ExchangeClock()
        sim = BinanceSimulator(clock)
        await sim.start()
        sim.set_touch("BTCUSDT", "100", "101")
        source: Any = binance.open_source(f"{sim.rest_url} {sim.stream_url}", clock, 0)
        yield source, "BTC/USDT", lambda bid, ask: sim.set_touch("BTCUSDT", bid, ask)
        await source.close()
        await sim.stop()
    else:
        async with BitstampSimulator(ExchangeClock()) as other:
            other.set_touch("btcusd", D(100), D(101))
            source = bitstamp.open_source(f"{other.rest_url} {other.ws_url}", other.clock, 0)
            yield source, "BTC/USD", lambda bid, ask: other.set_touch("btcusd", D(bid), D(ask))
            await source.close()


async def test_each_change_of_a_book_is_told(streamed: Any) -> None:
    source, symbol, move = streamed
    assert await source.quote(symbol) is not None  # So it exists.
    quotes = source.watch(symbol)

    seen = [(await following(quotes)).bid]
    for bid in (200, 300):
        moved = asyncio.create_task(until_told(move, bid))
        while seen[-1] != bid:
            seen.append((await following(quotes)).bid)
        moved.cancel()
        await asyncio.gather(moved, return_exceptions=True)
    await quotes.aclose()

    assert seen[0] == 100
    assert seen == sorted(seen)


async def until_told(move: Any, bid: int) -> None:
    """Move the book until somebody subscribed: what nobody asked for is not sent."""
    ask = bid + 1
    while True:
        move(str(bid), str(ask))
        ask += 1
        await asyncio.sleep(0.01)


def frame(update: int, bid: str) -> bytes:
    told = {"u": update, "s": "BTCUSDT", "b": bid, "B": "1", "a": "900", "A": "1"}
    return msgspec.json.encode(told)


async def test_a_binance_touch_that_comes_after_a_newer_one_is_left_out(clock: Any) -> None:
    stream = binance._Stream("ws://127.0.0.1:1", clock)
    for update, bid in ((7, "107"), (6, "106"), (8, "108"), (8, "109")):
        assert stream._take(frame(update, bid))

    touch, _ = stream.newest["BTCUSDT"]
    assert touch is not None
    assert touch.bid == 109


async def test_a_bitstamp_book_that_comes_after_a_newer_one_is_left_out(clock: Any) -> None:
    source = bitstamp.BitstampPrices(bitstamp.ADDRESSES["live"], clock)
    for stamp, bid in (("7", "107"), ("6", "106")):
        book = {"bids": [[bid, "1"]], "asks": [["900", "1"]], "microtimestamp": stamp}
        told = {"event": "data", "channel": "order_book_btcusd", "data": book}
        source._take(msgspec.json.encode(told))
    await source.close()

    assert source._touches["btcusd"].bid == 107


# --- the others ---


async def test_a_late_reader_is_told_only_the_newest(clock: Any) -> None:
    prices = ChosenPrices(clock)
    quotes = prices.watch("X")
    prices.set("X", "1")
    assert (await following(quotes)).bid == 1
    for price in range(2, 100):
        prices.set("X", price, price)

    assert (await following(quotes)).bid == 99
    await quotes.aclose()


async def test_a_watcher_that_left_is_forgotten() -> None:
    ticks = Ticks()
    quotes = ticks.follow("X", lambda: None)
    waiting = asyncio.ensure_future(anext(quotes))
    await asyncio.sleep(0)
    assert ticks._waiting
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await quotes.aclose()

    assert not ticks._waiting


async def test_a_simulated_price_is_told_at_each_second_of_the_clock(clock: Any) -> None:
    source: Any = open_prices("simulated", clock, 1)
    clock.advance(0.999_99)
    quotes = source.watch("AAPL")

    first = await following(quotes)
    clock.advance(1)
    second = await following(quotes)
    await quotes.aclose()

    assert second.as_of - first.as_of == timedelta(seconds=1)


async def test_what_has_no_price_is_not_watched(clock: Any) -> None:
    source: Any = open_prices("simulated", clock, 1)
    others: Any = open_prices("binance", clock)

    assert [quote async for quote in source.watch("NOPE")] == []
    assert [quote async for quote in others.watch("AAPL")] == []
    await others.close()
