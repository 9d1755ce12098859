"""Live Bitstamp quotes against the simulator: from the stream while it tells, else asked once."""

import asyncio
import json
from decimal import Decimal as D

import pytest
from websockets.asyncio.server import serve

from backend.domain.errors import RateLimited
from backend.prices.bitstamp import (
    ADDRESSES,
    BitstampPrices,
    addresses_of,
    code_of,
    open_source,
    pause_after,
)
from backend.wire import Answer
from tests.exchanges.scripted import START, FrozenClock
from tests.simulators.bitstamp import Simulator, faults
from tests.simulators.bitstamp.faults import Fault
from tests.simulators.http import Reply

pytestmark = pytest.mark.anyio
BOOK = "/api/v2/order_book/btcusd/"


@pytest.fixture
async def sim():
    async with Simulator(FrozenClock()) as started:
        started.set_touch("btcusd", D(49_990), D(50_000))
        yield started


class Heard(BitstampPrices):
    """Lets a test wait for what the stream tells."""

    def __init__(self, addresses, clock):
        super().__init__(addresses, clock)
        self.frames: asyncio.Queue[str] = asyncio.Queue()

    def _take(self, message):
        result = super()._take(message)
        self.frames.put_nowait(message)
        return result

    async def hear(self, event, channel):
        async with asyncio.timeout(5):
            while (frame := json.loads(await self.frames.get()))["channel"] != channel:
                pass
        assert frame["event"] == event

    async def subscribed(self, code="btcusd"):
        await self.hear("bts:subscription_succeeded", f"live_trades_{code}")


@pytest.fixture
async def prices(sim):
    source = Heard(addresses_of(f"{sim.rest_url} {sim.ws_url}"), sim.clock)
    yield source
    await source.close()


def asked(sim):
    return sum(seen.path == BOOK for seen in sim.requests)


async def test_the_first_quote_is_asked_for_and_the_next_ones_are_told(sim, prices):
    first = await prices.quote("BTC/USD")
    await prices.subscribed()
    sim.set_touch("btcusd", D(50_100), D(50_110))
    await prices.hear("data", "order_book_btcusd")

    second = await prices.quote("BTC/USD")

    assert (first.bid, first.ask, first.source) == (D(49_990), D(50_000), "bitstamp")
    assert (second.bid, second.ask, second.symbol) == (D(50_100), D(50_110), "BTC/USD")
    assert second.as_of == START  # Ours: the simulator's stamps run a little ahead.
    assert asked(sim) == 1


async def test_a_quote_that_is_older_than_two_seconds_is_asked_for_once(sim, prices):
    await prices.quote("BTC/USD")
    sim.clock.advance(2)
    await prices.quote("BTC/USD")
    assert asked(sim) == 1
    sim.clock.advance(1)

    quote = await prices.quote("BTC/USD")

    assert asked(sim) == 2
    assert quote.as_of == sim.clock()


@pytest.mark.parametrize("seconds", [-1, -3600])
async def test_a_quote_from_before_the_clock_was_put_back_is_asked_for_anew(sim, prices, seconds):
    await prices.quote("BTC/USD")
    sim.clock.advance(seconds)

    quote = await prices.quote("BTC/USD")

    assert asked(sim) == 2
    assert quote.as_of == sim.clock()


async def test_the_exchanges_time_counts_where_it_is_older(sim, prices):
    later = BitstampPrices(prices._addresses, FrozenClock(START.replace(minute=5)))

    quote = await later.quote("BTC/USD")
    await later.close()

    assert quote is not None
    assert START <= quote.as_of < START.replace(second=1)


@pytest.mark.parametrize(
    "book",
    [
        {"bids": [["50000", "1"]], "asks": [["49990", "1"]]},
        {"bids": [["50000", "1"]], "asks": [["50000", "1"]]},
        {"bids": [], "asks": [["50000", "1"]]},
        {"bids": [["50000", "1"]], "asks": []},
        {"bids": [["0", "1"]], "asks": [["50000", "1"]]},
        {"bids": [["NaN", "1"]], "asks": [["50000", "1"]]},
        {"bids": [["1", "1"]], "asks": [["2", "1"]], "microtimestamp": "soon"},
        {"bids": "none"},
        {"bids": [["sNaN", "1"]], "asks": [["50000", "1"]]},
        {"bids": [["1e99999999999999999999", "1"]], "asks": [["50000", "1"]]},
        {"bids": [["1", "1"]], "asks": [["2", "1"]], "microtimestamp": "9" * 5000},
        {},
    ],
)
async def test_a_book_without_a_touch_is_no_quote_and_forgets_the_last_one(sim, prices, book):
    await prices.quote("BTC/USD")
    frame = {
        "event": "data",
        "channel": "order_book_btcusd",
        "data": {"microtimestamp": "1"} | book,
    }

    prices._take(json.dumps(frame))

    sim.faults.next("order_book", faults.html_502(False))
    assert await prices.quote("BTC/USD") is None


@pytest.mark.parametrize("fault", [faults.html_502(False), faults.lose_request()])
async def test_no_answer_is_no_quote(sim, prices, fault):
    sim.faults.next("order_book", fault)

    assert await prices.quote("BTC/USD") is None


async def test_an_unknown_symbol_has_no_quote(sim, prices):
    assert await prices.quote("DOGE/XAU") is None


async def test_the_last_price_is_that_of_the_newest_trade(sim, prices):
    await prices.quote("BTC/USD")
    frame = {"event": "trade", "channel": "live_trades_btcusd", "data": {"price_str": "49995"}}

    prices._take(json.dumps(frame))

    assert (await prices.quote("BTC/USD")).last == D(49_995)


@pytest.mark.parametrize("message", ["", "[]", "null", '{"event": 1}', '{"event":"x","data":7}'])
async def test_a_frame_that_is_not_understood_changes_nothing(sim, prices, message):
    await prices.quote("BTC/USD")

    assert prices._take(message) is False
    assert (await prices.quote("BTC/USD")).bid == D(49_990)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "message",
    [
        b'{"event":"\xff"}',
        b'{"event":"data","channel":"order_book_btcusd","data":' + DEEP + b"}",
        b'{"event":"trade","channel":"live_trades_btcusd","data":{"price_str":"\xff"}}',
    ],
    ids=["no text", "too deep", "no text inside"],
)
async def test_a_garbled_frame_breaks_the_connection_and_the_stream_comes_back(message):
    second = asyncio.Event()
    waiting = [message]

    async def garble(socket):
        await socket.recv()
        if not waiting:
            second.set()
        else:
            await socket.send(waiting.pop())
        await socket.wait_closed()

    async with serve(garble, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        source = BitstampPrices(
            addresses_of(f"http://127.0.0.1:1 ws://127.0.0.1:{port}"), FrozenClock()
        )
        await source.quote("BTC/USD")
        async with asyncio.timeout(5):
            await second.wait()
        await source.close()


@pytest.mark.parametrize("body", [b"\xff", DEEP, b'{"bids":' + DEEP + b"}"])
async def test_a_garbled_answer_is_no_quote(sim, prices, body):
    sim.faults.next("order_book", Fault(page=Reply(200, body)))

    assert await prices.quote("BTC/USD") is None


async def test_a_pause_that_the_exchange_asks_for_is_made(sim, prices):
    sim.faults.next("order_book", Fault(page=Reply(429, b"", {"Retry-After": "600"})))
    for _ in range(3):
        assert await prices.quote("BTC/USD") is None
    assert asked(sim) == 1

    sim.clock.advance(600)

    assert await prices.quote("BTC/USD") is not None


@pytest.mark.parametrize(
    ("told", "pause_s"),
    [("7", 7), ("0", 1), ("", 1), ("soon", 1), ("-5", 1), ("\u00b2", 1), ("999999", 600)],
)
def test_a_pause_is_one_second_at_least_and_ten_minutes_at_most(told, pause_s):
    assert pause_after(Answer(429, {"retry-after": told}, b"")).total_seconds() == pause_s
    assert pause_after(Answer(429, {"retry-after": "9" * 5000}, b"")).total_seconds() == 1


@pytest.mark.parametrize("how", ["asked", "closed", "cut"])
async def test_the_stream_comes_back_by_itself(sim, prices, how):
    await prices.quote("BTC/USD")
    await prices.subscribed()

    if how == "asked":
        sim.stream.request_reconnect()
    elif how == "closed":
        await sim.stream.disconnect()
    else:
        sim.stream.abort()

    await prices.subscribed()
    sim.set_touch("btcusd", D(50_100), D(50_110))
    await prices.hear("data", "order_book_btcusd")
    assert (await prices.quote("BTC/USD")).ask == D(50_110)


async def test_a_symbol_that_is_asked_for_later_joins_the_same_connection(sim, prices):
    await prices.quote("BTC/USD")
    await prices.subscribed()
    sim.set_touch("ethusd", D(2999), D(3000))

    await prices.quote("ETH/USD")
    await prices.subscribed("ethusd")

    assert len(sim.stream.connections) == 1


async def test_without_room_in_the_limits_there_is_no_quote(sim):
    def spend():
        raise RateLimited("no room")

    source = BitstampPrices(addresses_of(f"{sim.rest_url} {sim.ws_url}"), sim.clock, spend)
    assert await source.quote("BTC/USD") is None
    await source.close()
    assert asked(sim) == 0


def test_the_argument_names_an_environment_or_two_addresses_on_this_machine():
    assert addresses_of("") is ADDRESSES["live"]
    assert addresses_of("testnet") is ADDRESSES["testnet"]
    assert addresses_of("http://127.0.0.1:1 ws://[::1]:2").socket == "ws://[::1]:2"


@pytest.mark.parametrize(
    "argument",
    [
        "demo",
        "https://example.org wss://example.org",
        "http://127.0.0.1:1",
        "http://127.0.0.1:1 ws://example.org:2",
        "http://localhost:1 ws://localhost:2",
    ],
)
def test_any_other_argument_is_refused(argument):
    with pytest.raises(ValueError, match="testnet"):
        open_source(argument, FrozenClock(), 0)


@pytest.mark.parametrize("argument", ["", "testnet", "http://127.0.0.1:1 ws://127.0.0.1:2"])
async def test_it_keeps_the_name_that_chose_it(argument):
    source = open_source(argument, FrozenClock(), 0)
    await source.close()

    assert source.name == f"bitstamp:{argument}".rstrip(":")


def test_a_symbol_is_spelt_as_the_exchange_does_and_has_no_past():
    assert code_of("BTC/USDT") == "btcusdt"
    assert BitstampPrices.replayable is False
