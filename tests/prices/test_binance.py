"""Live quotes of Binance, against the simulator's streams and REST."""

import asyncio
from itertools import count

import msgspec
import pytest
from websockets.asyncio.server import serve

from backend.prices import open_prices
from backend.prices.binance import (
    HOSTS,
    BinancePrices,
    Hosts,
    Touch,
    checked,
    decode_touch,
    open_source,
)
from tests.exchanges.binance_bench import eventually
from tests.exchanges.recorded import recorded
from tests.exchanges.scripted import START, D, FrozenClock
from tests.simulators.binance import Simulator
from tests.simulators.http import HttpServer, Reply

pytestmark = pytest.mark.anyio


class Desk:
    """The simulator and our prices of it."""

    def __init__(self):
        self.clock = FrozenClock()
        self.sim = Simulator(self.clock)
        self.depths = count(1)

    async def open(self):
        await self.sim.start()
        self.sim.set_touch("BTCUSDT", "50000", "50000.01")
        self.prices = open_source(f"{self.sim.rest_url} {self.sim.stream_url}", self.clock, 0)

    async def close(self):
        await self.prices.close()
        await self.sim.stop()

    @property
    def asked(self):
        return len([s for s in self.sim.requests if s.path == "/api/v3/ticker/bookTicker"])

    async def streamed(self, bid, ask):
        """Move the touch until the stream has brought it."""
        newest = self.prices._stream.newest

        def is_there():
            touch = newest.get("BTCUSDT")
            if touch is not None and touch[0] is not None and touch[0].ask == D(ask):
                return True
            # Told only when it changes, so each time another depth.
            self.sim.set_touch("BTCUSDT", bid, ask, D(next(self.depths)))
            return False

        await eventually(is_there)


@pytest.fixture
async def desk():
    built = Desk()
    await built.open()
    yield built
    await built.close()


async def test_the_first_quote_is_asked_for_and_the_next_ones_come_by_the_stream(desk):
    first = await desk.prices.quote("BTC/USDT")
    await desk.streamed("50001", "50001.01")
    second = await desk.prices.quote("BTC/USDT")

    assert (first.bid, first.ask, first.source) == (D(50_000), D("50000.01"), "binance")
    assert (second.bid, second.ask) == (D(50_001), D("50001.01"))
    assert (second.symbol, second.as_of) == ("BTC/USDT", desk.clock())
    assert desk.asked == 1


async def test_a_quote_of_two_seconds_ago_is_asked_for_again(desk):
    await desk.prices.quote("BTC/USDT")
    desk.clock.advance(2)
    kept = await desk.prices.quote("BTC/USDT")
    desk.clock.advance(0.001)
    fresh = await desk.prices.quote("BTC/USDT")

    assert kept.as_of == START
    assert fresh.as_of == desk.clock()
    assert desk.asked == 2


async def test_a_silent_stream_is_noticed(desk):
    desk.sim.script_stream("market", "silent")
    await desk.prices.quote("BTC/USDT")
    desk.sim.set_touch("BTCUSDT", "60000", "60000.01")
    desk.clock.advance(3)

    quote = await desk.prices.quote("BTC/USDT")

    assert quote.bid == D(60_000)


async def test_a_broken_stream_is_opened_again(desk):
    await desk.prices.quote("BTC/USDT")
    await desk.streamed("50001", "50001.01")
    desk.clock.advance(61)

    desk.sim.disconnect_streams()

    await desk.streamed("50002", "50002.01")


async def test_a_server_that_goes_away_is_left(desk):
    await desk.prices.quote("BTC/USDT")
    await desk.streamed("50001", "50001.01")
    before = desk.sim._streams.open_sockets()
    desk.clock.advance(61)

    desk.sim.announce_shutdown()

    await eventually(lambda: [s for s in desk.sim._streams.open_sockets() if s not in before])
    await desk.streamed("50002", "50002.01")


async def test_what_the_stream_brought_while_the_book_was_asked_is_newer(desk):
    streamed = Touch("BTCUSDT", D(60_000), D(1), D(60_001), D(1))

    await desk.prices.quote("BTC/USDT")
    desk.clock.advance(3)
    answered = asyncio.ensure_future(desk.prices.quote("BTC/USDT"))
    await asyncio.sleep(0)
    desk.prices._stream.newest["BTCUSDT"] = (streamed, desk.clock())

    assert (await answered).bid == D(60_000)


@pytest.mark.parametrize(
    "symbol", ["NOBODY/USDT", "AAPL", "", "/", "BTC/", "/USDT", "A/B/C", "a&b/c", "\ud800/USDT"]
)
async def test_what_has_no_book_has_no_quote_and_no_stream(desk, symbol):
    assert await desk.prices.quote(symbol) is None
    assert desk.prices._stream._task is None


async def test_a_symbol_in_another_script_has_a_quote(desk):
    desk.sim.set_touch("币安人生USDT", "0.1", "0.1001")

    quote = await desk.prices.quote("币安人生/USDT")

    assert (quote.symbol, quote.bid) == ("币安人生/USDT", D("0.1"))


async def test_an_empty_book_has_no_quote(desk):
    desk.sim.clear_quotes("BTCUSDT")

    assert await desk.prices.quote("BTC/USDT") is None


@pytest.mark.parametrize("word", ["html_502", "html_403", "truncated", "lose_request", "limited"])
async def test_without_an_answer_there_is_no_quote(desk, word):
    desk.sim.script("ticker.book", word)

    assert await desk.prices.quote("BTC/USDT") is None


@pytest.mark.parametrize(("word", "wait_s"), [("limited", 10), ("banned", 120), ("html_403", 60)])
async def test_when_told_to_wait_it_waits(desk, word, wait_s):
    desk.sim.script("ticker.book", word)
    await desk.prices.quote("BTC/USDT")

    desk.clock.advance(wait_s - 1)
    assert await desk.prices.quote("BTC/USDT") is None
    desk.clock.advance(1)
    assert await desk.prices.quote("BTC/USDT") is not None


async def test_without_room_in_the_limits_nothing_is_asked(desk):
    hosts = Hosts(desk.sim.rest_url, desk.sim.stream_url)
    prices = BinancePrices(hosts, desk.clock, may_ask=lambda: False)

    assert await prices.quote("BTC/USDT") is None
    assert desk.asked == 0
    await prices.close()


async def test_a_server_that_is_not_there_gives_no_quote(desk):
    prices = open_source("http://127.0.0.1:9 ws://127.0.0.1:9", desk.clock, 0)

    assert await prices.quote("BTC/USDT") is None
    await prices.close()


DEEP = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


def told(bid="1", ask="2", code="BTCUSDT"):
    return msgspec.json.encode({"s": code, "b": bid, "B": "1", "a": ask, "A": "1"})


@pytest.mark.parametrize(
    "frame",
    [DEEP, b'{"s":"\xff","b":"1"}', b'{"e":"\xff"}', b"<html>", told()[:-1]],
    ids=["deep", "not UTF-8", "an event not UTF-8", "HTML", "cut"],
)
async def test_a_frame_that_is_not_understood_breaks_the_connection_and_the_next_is_read(frame):
    clock = FrozenClock()
    opened = count(1)

    async def serve_one(socket):
        clock.advance(61)
        first = next(opened) == 1
        await socket.recv()
        await socket.send(frame if first else told())
        await socket.wait_closed()

    async with serve(serve_one, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        prices = open_source(f"http://127.0.0.1:9 ws://127.0.0.1:{port}", clock, 0)
        prices._stream.want("BTCUSDT")

        await eventually_read(prices)

        quote = await prices.quote("BTC/USDT")
        assert quote is not None
        assert quote.ask == D(2)
        await prices.close()


async def eventually_read(prices):
    async with asyncio.timeout(20):
        while "BTCUSDT" not in prices._stream.newest:
            assert not prices._stream._task.done()
            await asyncio.sleep(0)


@pytest.mark.parametrize("body", [DEEP, b'{"symbol":"\xff"}', b'{"symbol":1e99999999999999999999}'])
async def test_an_answer_that_is_not_understood_is_no_quote(body):
    async def answer(request):
        return Reply(200, body)

    server = HttpServer(answer)
    await server.start()
    prices = open_source(f"{server.url} ws://127.0.0.1:9", FrozenClock(), 0)

    assert await prices.quote("BTC/USDT") is None

    await prices.close()
    await server.stop()


async def test_being_told_to_wait_no_time_is_a_pause_too():
    asked = []

    async def answer(request):
        asked.append(request)
        return Reply(429, b"{}", {"Retry-After": "0"})

    server = HttpServer(answer)
    await server.start()
    clock = FrozenClock()
    prices = open_source(f"{server.url} ws://127.0.0.1:9", clock, 0)
    for seconds in (0, 0.9, 0.1):
        clock.advance(seconds)
        assert await prices.quote("BTC/USDT") is None

    assert len(asked) == 2
    await prices.close()
    await server.stop()


@pytest.mark.parametrize(("bid", "ask"), [("2", "1"), ("0", "1"), ("NaN", "1"), ("1", "1e999999")])
async def test_what_the_stream_tells_is_checked_before_it_is_kept(bid, ask):
    clock = FrozenClock()
    prices = open_source("http://127.0.0.1:9 ws://127.0.0.1:9", clock, 0)

    assert prices._stream._take(told())
    good = await prices.quote("BTC/USDT")
    assert prices._stream._take(told(bid, ask))

    assert good is not None
    assert (good.bid, good.ask) == (D(1), D(2))
    assert prices._stream.newest["BTCUSDT"] == (None, clock())
    assert await prices.quote("BTC/USDT") is None
    await prices.close()


@pytest.mark.parametrize(
    ("bid", "ask"),
    [("0", "1"), ("1", "0"), ("2", "1"), ("1", "1"), ("NaN", "1"), ("1", "NaN"), ("1", "Infinity")],
)
def test_a_crossed_or_one_sided_touch_is_no_quote(bid, ask):
    assert checked(Touch("BTCUSDT", D(bid), D(1), D(ask), D(1)), "BTC/USDT", START) is None


def test_a_side_on_which_nothing_stands_is_no_quote():
    assert checked(Touch("BTCUSDT", D(1), D(0), D(2), D(1)), "BTC/USDT", START) is None
    assert checked(Touch("BTCUSDT", D(1), D(1), D(2), D(0)), "BTC/USDT", START) is None
    assert checked(Touch("BTCUSDT", D(1), D(1), D(2), D(1)), "BTC/USDT", START) is not None


def test_recorded_touches_are_read_exactly():
    lines = recorded("binance/ws/cryptofeed_BINANCE.ws.1.0.txt").read_text().splitlines()[1:]
    frames = [msgspec.json.decode(line.partition(": ")[2]) for line in lines if line]
    touches = [f["data"] for f in frames if f["stream"].endswith("@bookTicker")]

    assert len(touches) > 10
    for told in touches:
        touch = decode_touch(msgspec.json.encode(told))
        assert (touch.code, touch.bid, touch.ask) == (told["s"], D(told["b"]), D(told["a"]))
        assert checked(touch, "X/Y", START) is not None


@pytest.mark.parametrize("argument", ["", "live", "testnet", "demo"])
async def test_each_environment_has_its_source(argument):
    prices = open_prices(f"binance:{argument}".rstrip(":"), FrozenClock())

    assert (prices.name, prices.replayable, list(prices.symbols)) == ("binance", False, [])
    assert prices.path("BTC/USDT", START, START) == ()
    assert isinstance(prices, BinancePrices)
    assert prices._hosts == HOSTS[argument or "live"]
    await prices.close()


@pytest.mark.parametrize(
    "argument",
    [
        "mainnet",
        "http://127.0.0.1:1",
        "https://api.binance.com wss://stream.binance.com:9443",
        "http://127.0.0.1:1 ws://10.0.0.1:2",
        "http://127.0.0.1 ws://127.0.0.1:2",
        "http://127.1:1 ws://127.0.0.1:2",
        "http://user@127.0.0.1:1 ws://127.0.0.1:2",
        "http://127.0.0.1:1 ws://127.0.0.1:2 more",
    ],
)
def test_s09_other_addresses_are_refused(argument):
    with pytest.raises(ValueError, match="binance"):
        open_prices(f"binance:{argument}", FrozenClock())
