"""Live quotes from Bitstamp's public order books: `bitstamp`, or `bitstamp:testnet`.

The socket's `order_book` channel tells the book on each change, `live_trades` the last
price; where it has told nothing for 2 s the book is asked for once over REST.
Two loopback addresses, REST and WebSocket, separated by a space, stand for a simulator.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.quote import Quote
from backend.prices._ticks import Ticks

SOURCE = "bitstamp"
FRESH = timedelta(seconds=2)
_STEADY = timedelta(seconds=10)
ANSWER_S = 3.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_SYMBOLS = 500  # Two channels each; a connection bears 1,024.
_RECONNECT = "bts:request_reconnect"
LEAST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one environment is: `https://…` or `http://…`, and `wss://…` or `ws://…`."""

    rest: str
    socket: str


# The sandbox is named in the exchange's specification; its socket is an assumption.
ADDRESSES = {
    "live": Addresses("https://www.bitstamp.net", "wss://ws.bitstamp.net"),
    "testnet": Addresses("https://sandbox.bitstamp.net", "wss://ws.sandbox.bitstamp.net"),
}


class _Level(msgspec.Struct, array_like=True):
    price: Decimal
    quantity: Decimal


class _Book(msgspec.Struct):
    bids: list[_Level]
    asks: list[_Level]
    microtimestamp: str


class _Trade(msgspec.Struct):
    price_str: Decimal


class _Frame(msgspec.Struct):
    event: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class _Touch:
    bid: Decimal
    ask: Decimal
    received: datetime
    told: datetime


_frame_of = msgspec.json.Decoder(_Frame).decode
_book_of = msgspec.json.Decoder(_Book).decode
_trade_of = msgspec.json.Decoder(_Trade).decode


def code_of(symbol: str) -> str:
    """Return the exchange's spelling of a symbol: `BTC/USD` is `btcusd`."""
    return symbol.replace("/", "").lower()


def addresses_of(argument: str) -> Addresses:
    """Return where `argument` points: "" is live, `testnet`, or two loopback addresses.

    Raises:
        ValueError: anything else.
    """
    name = argument or "live"
    return ADDRESSES[name] if name in ADDRESSES else simulator_at(*argument.split(" "))


def simulator_at(*addresses: str) -> Addresses:
    """Return where a simulator is.

    Raises:
        ValueError: not two addresses, or one that is not on this machine.
    """
    if len(addresses) != 2 or not all(map(wire.is_loopback, addresses)):
        raise ValueError(
            "bitstamp takes nothing, `testnet`, or the REST and WebSocket address of a "
            "simulator on this machine, separated by a space"
        )
    return Addresses(*addresses)


def pause_after(answer: wire.Answer) -> timedelta:
    """Return how long to send nothing after an HTTP 429, at least 1 s and at most 10 min."""
    told = answer.headers.get("retry-after", "")
    is_number = told.isascii() and told.isdigit() and len(told) <= 6
    asked = timedelta(seconds=int(told)) if is_number else LEAST_PAUSE
    return min(max(asked, LEAST_PAUSE), _LONGEST_PAUSE)


def open_source(argument: str, clock: Clock, seed: int) -> "BitstampPrices":
    """Return the quotes of one environment; nothing is opened before the first question."""
    name = f"{SOURCE}:{argument}" if argument else SOURCE
    return BitstampPrices(addresses_of(argument), clock, name=name)


class BitstampPrices:
    """Quotes of one environment; each symbol is subscribed to when it is first asked for.

    Args:
        spend: called before each REST request; raises RateLimited when there is no room.
        wait_until: told when the exchange wants no request before a moment.
    """

    replayable = False
    symbols: Sequence[str] = ()

    def __init__(
        self,
        addresses: Addresses,
        clock: Clock,
        spend: Callable[[], None] | None = None,
        wait_until: Callable[[datetime], None] | None = None,
        *,
        name: str = SOURCE,
    ) -> None:
        self.name = name
        self._addresses = addresses
        self._clock = clock
        self._spend = spend
        self._tell_pause = wait_until
        self._not_before: datetime | None = None
        self._client = wire.http_client(addresses.rest, ANSWER_S)
        self._touches: dict[str, _Touch] = {}
        self._last: dict[str, Decimal] = {}
        self._ticks = Ticks()
        self._stamps: dict[str, int] = {}  # Of one socket: what is older came too late.
        self._wanted: dict[str, None] = {}  # Codes, in the order they were asked for.
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch, at most 2 s after the exchange told it, or None."""
        code = code_of(symbol)
        await self._want(code)
        touch = self._touches.get(code)
        if touch is None or not timedelta() <= self._clock() - touch.received <= FRESH:
            touch = await self._ask(code)
        return self._quote(symbol, code, touch)

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return nothing: what nobody heard is gone."""
        return ()

    async def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield the touch at each change of the book, and at each trade."""
        code = code_of(symbol)

        def newest() -> Quote | None:
            return self._quote(symbol, code, self._touches.get(code))

        await self._want(code)
        async with aclosing(self._ticks.follow(code, newest)) as quotes:
            async for quote in quotes:
                yield quote

    def _quote(self, symbol: str, code: str, touch: _Touch | None) -> Quote | None:
        if touch is None:
            return None
        last = self._last.get(code, touch.bid)
        return Quote(symbol, touch.bid, touch.ask, last, touch.told, SOURCE)

    async def close(self) -> None:
        """End the stream and let go of connections."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        await self._client.aclose()

    # --- the question over REST ---

    async def _ask(self, code: str) -> _Touch | None:
        if self._not_before is not None and self._clock() < self._not_before:
            return None
        try:
            if self._spend is not None:
                self._spend()
            answer = await wire.request(self._client, "GET", f"/api/v2/order_book/{code}/")
        except (ExchangeUnavailable, OutcomeUnknown, RateLimited):
            return None
        if answer.status == 429:
            self._wait(pause_after(answer))
        if answer.status != 200:
            return None
        return self._take_book(code, answer.body)

    def _wait(self, pause: timedelta) -> None:
        self._not_before = self._clock() + pause
        if self._tell_pause is not None:
            self._tell_pause(self._not_before)

    # --- the stream ---

    async def _want(self, code: str) -> None:
        if code in self._wanted or len(self._wanted) >= _MOST_SYMBOLS:
            return
        self._wanted[code] = None
        if self._reader is None:
            self._reader = asyncio.create_task(self._follow(), name="bitstamp prices")
        elif self._socket is not None:
            with suppress(ExchangeUnavailable, OutcomeUnknown):  # The reader sees it break too.
                await _subscribe(self._socket, code)

    async def _follow(self) -> None:
        """Keep a socket open; where none stays open, come back after longer pauses."""
        while True:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=0.5, max=30),
                retry=retry_if_exception_type((ExchangeUnavailable, OutcomeUnknown)),
            ):
                with attempt:
                    await self._listen()

    async def _listen(self) -> None:
        """Take frames of one socket until the exchange asks for another, or it breaks.

        Raises:
            ExchangeUnavailable, OutcomeUnknown: it did not open, or broke soon.
        """
        socket = await wire.open_socket(self._addresses.socket)
        opened = self._clock()
        self._stamps.clear()
        try:
            self._socket = socket
            for code in list(self._wanted):
                await _subscribe(socket, code)
            async for message in socket:
                if self._take(message):
                    return
        except (ConnectionClosed, UnicodeDecodeError, RecursionError):
            pass  # As bad as the quiet end that is dealt with below.
        finally:
            self._socket = None
            await socket.close()
        if self._clock() - opened < _STEADY:
            raise ExchangeUnavailable("the socket broke soon after it was opened")

    def _take(self, message: str | bytes) -> bool:
        """Take one frame; return whether the exchange asks to come back on a new socket.

        Raises:
            UnicodeDecodeError, RecursionError: it is garbled: the connection is of no use.
        """
        with suppress(msgspec.DecodeError):  # What is not understood is no quote.
            frame = _frame_of(message)
            kind, _, code = frame.channel.rpartition("_")
            if kind == "order_book" and frame.event == "data":
                self._take_book(code, frame.data, streamed=True)
                self._ticks.came(code)
            elif kind == "live_trades" and frame.event == "trade":
                self._take_trade(code, frame.data)
                self._ticks.came(code)
            return frame.event == _RECONNECT
        return False

    def _take_trade(self, code: str, data: msgspec.Raw) -> None:
        price = _trade_of(data).price_str
        if price.is_finite() and price > 0:
            self._last[code] = price

    def _take_book(
        self, code: str, body: bytes | msgspec.Raw, *, streamed: bool = False
    ) -> _Touch | None:
        """Keep the touch of a book; a crossed or one-sided one has none."""
        before = self._touches.pop(code, None)
        try:
            book = _book_of(body)
            stamp = int(book.microtimestamp)
            told = _EPOCH + timedelta(microseconds=stamp)
        except (ValueError, OverflowError, RecursionError):  # DecodeError is a ValueError.
            return None
        if streamed and stamp < self._stamps.get(code, 0) and before is not None:
            self._touches[code] = before
            return before
        if streamed:
            self._stamps[code] = stamp
        if not book.bids or not book.asks:
            return None
        bid, ask = book.bids[0].price, book.asks[0].price
        if not (bid.is_finite() and ask.is_finite() and 0 < bid < ask):
            return None
        now = self._clock()
        touch = _Touch(bid, ask, now, min(now, told))
        self._touches[code] = touch
        return touch


async def _subscribe(socket: ClientConnection, code: str) -> None:
    for channel in (f"order_book_{code}", f"live_trades_{code}"):
        frame = {"event": "bts:subscribe", "data": {"channel": channel}}
        await wire.send_text(socket, json.dumps(frame))
