"""Live public quotes of Binance Spot: `binance`, `binance:testnet` or `binance:demo`.

The touch of a book comes by the public stream, asked for when a symbol is first wanted. Where
the stream has brought nothing for 2 s, the book is asked over REST, once. The stream tells no
last trade, so the bid stands for it. `binance:REST STREAMS` names two addresses on loopback.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import NamedTuple
from urllib.parse import quote as percent_encoded

import httpx
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.domain.quote import Quote
from backend.prices._ticks import Ticks

_FRESH_FOR = timedelta(seconds=2)
_ZERO_TIME = timedelta()
_REST_ANSWER_S = 2.0
_BACKOFF_S_MAX = 30
_STEADY_AFTER = timedelta(seconds=60)
_WAIT = timedelta(seconds=60)
_WAIT_AT_LEAST = timedelta(seconds=1)

# No price is outside of these; one with a huge exponent would fill the memory when shown.
_LEAST, _MOST = Decimal("1e-18"), Decimal("1e18")

# The exchange allows five messages a second, and 1024 streams, per connection.
_BETWEEN_MESSAGES_S = 0.25
_STREAMS_AT_MOST = 1000


class Hosts(NamedTuple):
    """Where the public side of one environment answers."""

    rest: str
    streams: str


HOSTS: Mapping[str, Hosts] = {
    "live": Hosts("https://api.binance.com", "wss://stream.binance.com:9443"),
    "testnet": Hosts("https://testnet.binance.vision", "wss://stream.testnet.binance.vision"),
    "demo": Hosts("https://demo-api.binance.com", "wss://demo-stream.binance.com"),
}


def simulated_hosts(rest: str, streams: str) -> Hosts:
    """Return addresses that are on this machine.

    Raises:
        ValueError: one is not.
    """
    for address in (rest, streams):
        if not wire.is_loopback(address):
            raise ValueError("a simulator's address must be http or ws on a loopback address")
    return Hosts(rest.rstrip("/"), streams.rstrip("/"))


def open_source(argument: str, clock: Clock, seed: int) -> "BinancePrices":
    """Return the live quotes of the environment that `argument` names; "" is live.

    Raises:
        ValueError: no such environment, or addresses that are not two on loopback.
    """
    text = argument.strip() or "live"
    if text in HOSTS:
        return BinancePrices(HOSTS[text], clock)
    parts = text.split()
    if len(parts) != 2:
        raise ValueError(f"binance is live, testnet or demo, was {text[:40]!r}")
    return BinancePrices(simulated_hosts(*parts), clock)


class Touch(msgspec.Struct, gc=False):
    """Best bid and ask with what stands there, as the stream tells them; 0: an empty side."""

    code: str = msgspec.field(name="s")
    bid: Decimal = msgspec.field(name="b")
    bid_quantity: Decimal = msgspec.field(name="B")
    ask: Decimal = msgspec.field(name="a")
    ask_quantity: Decimal = msgspec.field(name="A")
    update: int = msgspec.field(name="u", default=0)


class AskedTouch(msgspec.Struct):
    """The same, as REST tells it."""

    code: str = msgspec.field(name="symbol")
    bid: Decimal = msgspec.field(name="bidPrice")
    bid_quantity: Decimal = msgspec.field(name="bidQty")
    ask: Decimal = msgspec.field(name="askPrice")
    ask_quantity: Decimal = msgspec.field(name="askQty")


class _Control(msgspec.Struct):
    """What is on the stream besides touches."""

    id: int | None = None
    kind: str = msgspec.field(name="e", default="")
    event: dict[str, object] | None = None


decode_touch = msgspec.json.Decoder(Touch).decode
_decode_asked = msgspec.json.Decoder(AskedTouch).decode
_decode_control = msgspec.json.Decoder(_Control).decode


# What decoding what a stranger sent may raise.
_NOT_UNDERSTOOD = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


def is_whole(touch: Touch | AskedTouch) -> bool:
    """Say whether both sides are there, do not cross, and are numbers."""
    try:
        prices_are = _LEAST <= touch.bid < touch.ask <= _MOST
    except InvalidOperation:  # Not a number at all.
        return False
    return bool(prices_are and touch.bid_quantity and touch.ask_quantity)


def checked(touch: Touch | AskedTouch, symbol: str, as_of: datetime) -> Quote | None:
    """Return the quote, or None: a side is empty, they cross, or a price is no number."""
    return _quote(touch if is_whole(touch) else None, symbol, as_of)


def _quote(whole: Touch | AskedTouch | None, symbol: str, as_of: datetime) -> Quote | None:
    if whole is None:
        return None
    return Quote(symbol, whole.bid, whole.ask, whole.bid, as_of, "binance")


class BinancePrices:
    """Quotes of one environment's books.

    Args:
        may_ask: takes the room for one REST request; says whether there was any.
    """

    name = "binance"
    replayable = False
    symbols: Sequence[str] = ()

    def __init__(
        self, hosts: Hosts, clock: Clock, may_ask: Callable[[], bool] = lambda: True
    ) -> None:
        self._hosts = hosts
        self._clock = clock
        self._may_ask = may_ask
        self._not_before: datetime | None = None
        self._client: httpx.AsyncClient | None = None
        self._stream = _Stream(hosts.streams, clock)

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch, at most 2 s old, or None: no such book, one-sided, or no answer."""
        code = _code(symbol)
        if code is None:
            return None
        newest = self._stream.newest.get(code)
        if newest is not None and _ZERO_TIME <= self._clock() - newest[1] <= _FRESH_FOR:
            return _quote(newest[0], symbol, newest[1])
        return await self._asked(symbol, code)

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return nothing: what was not asked for is not kept."""
        return ()

    async def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield the touch at each change that the stream tells, for a book that exists."""
        code = _code(symbol)
        if code is None:
            return

        def newest() -> Quote | None:
            touch = self._stream.newest.get(code)
            return None if touch is None else _quote(touch[0], symbol, touch[1])

        self._stream.want(code)
        async with aclosing(self._stream.ticks.follow(code, newest)) as quotes:
            async for quote in quotes:
                yield quote

    async def close(self) -> None:
        """End the stream and let go of connections."""
        await self._stream.close()
        if self._client is not None:
            await self._client.aclose()

    async def _asked(self, symbol: str, code: str) -> Quote | None:
        if self._is_silenced() or not self._may_ask():
            return None
        if self._client is None:
            self._client = wire.http_client(self._hosts.rest, _REST_ANSWER_S)
        target = f"/api/v3/ticker/bookTicker?symbol={percent_encoded(code, errors='replace')}"
        before = self._stream.newest.get(code)
        try:
            answer = await wire.request(self._client, "GET", target)
        except (ExchangeUnavailable, OutcomeUnknown):
            return None
        if answer.status != 200:
            self._heed(answer)
            return None
        try:
            touch = _decode_asked(answer.body)
            whole = touch if is_whole(touch) else None
        except _NOT_UNDERSTOOD:
            return None
        # A stream of a name that nobody has stays silent for ever: only what exists is asked for.
        self._stream.want(code)
        newest = self._stream.newest.get(code)
        if newest is None or newest is before:
            newest = whole, self._clock()
            self._stream.newest[code] = newest
        return _quote(newest[0], symbol, newest[1])

    def _is_silenced(self) -> bool:
        return self._not_before is not None and self._clock() < self._not_before

    def _heed(self, answer: wire.Answer) -> None:
        if answer.status in (403, 418, 429):
            text = answer.headers.get("retry-after", "")
            told = text.isascii() and text.isdigit() and len(text) < 7
            wait = max(timedelta(seconds=int(text)), _WAIT_AT_LEAST) if told else _WAIT
            self._not_before = self._clock() + wait


class _Stream:
    """One connection to the market streams, as long as something is wanted.

    Attributes:
        newest: each book's last touch and when it came; None: it was crossed or one-sided.
        ticks: who watches it.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = f"{url}/ws"
        self._clock = clock
        self._wanted: dict[str, None] = {}
        self._more = asyncio.Event()
        self._closing = asyncio.Event()
        self._ids = count(1)
        self._task: asyncio.Task[None] | None = None
        self.newest: dict[str, tuple[Touch | AskedTouch | None, datetime]] = {}
        self.ticks = Ticks()
        self._updates: dict[str, int] = {}

    def want(self, code: str) -> None:
        """Ask for one book's touch from now on."""
        if code in self._wanted or len(self._wanted) >= _STREAMS_AT_MOST or self._closing.is_set():
            return
        self._wanted[code] = None
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the connection."""
        self._closing.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(ExchangeUnavailable),
                wait=wait_random_exponential(max=_BACKOFF_S_MAX),
            )
            async for attempt in retrying:
                with attempt:
                    await self._connection()

    async def _connection(self) -> None:
        """Read one connection to its end.

        Raises:
            ExchangeUnavailable: it did not open, or was over so soon that the next waits.
        """
        opened_at = self._clock()
        socket = await wire.open_socket(self._url)
        self._updates.clear()  # A test exchange that was reset counts anew.
        asking = asyncio.create_task(self._subscribe(socket))
        try:
            with suppress(ConnectionClosed):
                while self._take(await socket.recv(decode=False)):
                    pass
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await socket.close()
        if self._clock() - opened_at < _STEADY_AFTER:
            raise ExchangeUnavailable("the stream was over soon")

    def _take(self, frame: bytes) -> bool:
        """Keep one message; say whether the connection goes on."""
        try:
            touch = decode_touch(frame)
            if touch.update < self._updates.get(touch.code, 0):
                return True  # A newer one came before it.
            self._updates[touch.code] = touch.update
            self.newest[touch.code] = touch if is_whole(touch) else None, self._clock()
            self.ticks.came(touch.code)
        except msgspec.ValidationError:
            return not _is_shutdown(frame)
        except _NOT_UNDERSTOOD:
            return False
        return True

    async def _subscribe(self, socket: ClientConnection) -> None:
        asked: set[str] = set()
        while True:
            self._more.clear()
            new = [code for code in self._wanted if code not in asked]
            if new:
                asked.update(new)
                await self._ask_for(socket, new)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_BETWEEN_MESSAGES_S):
                        await self._closing.wait()
            await self._more.wait()

    async def _ask_for(self, socket: ClientConnection, codes: list[str]) -> None:
        params = [f"{code.lower()}@bookTicker" for code in codes]
        request = {"method": "SUBSCRIBE", "params": params, "id": next(self._ids)}
        with suppress(ExchangeUnavailable, OutcomeUnknown):
            await wire.send_text(socket, msgspec.json.encode(request).decode())


def _is_shutdown(frame: bytes) -> bool:
    try:
        told = _decode_control(frame)
    except msgspec.ValidationError:
        return False
    except _NOT_UNDERSTOOD:
        return True
    return "serverShutdown" in (told.kind, (told.event or {}).get("e"))


def _code(symbol: str) -> str | None:
    base, slash, quote = symbol.partition("/")
    return base + quote if slash and base and quote and "/" not in quote else None
