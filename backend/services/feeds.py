"""The newest price of each book that somebody follows: pushed by its source, never piled up.

A source without `watch` is asked once a second. Where a source is silent it is asked, and
a price that nobody vouches for any more is told as stale.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from backend.domain.clock import Clock
from backend.domain.errors import ExecError
from backend.domain.instrument import Instrument
from backend.domain.quote import Quote
from backend.services import Desk, log, market
from backend.services.bell import Bell
from backend.store.accounts import Account

Key = tuple[str, str]


@dataclass(slots=True)
class Patience:
    """How long a feed waits; in real seconds.

    Attributes:
        silent_s: without news, before the source is asked.
        unused_s: without anybody who looks, before the feed ends.
        ask_every_s: between two questions to a source that cannot be watched.
    """

    silent_s: float = 10.0
    unused_s: float = 60.0
    ask_every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a feed's quotes come from.

    Attributes:
        ask: returns the quote that stands now, or None.
        watch: yields each new quote; None: the source cannot.
    """

    ask: Callable[[], Awaitable[Quote | None]]
    watch: Callable[[], AsyncGenerator[Quote, None]] | None = None


class Feed(Bell):
    """One book's newest quote, for as long as somebody looks.

    Attributes:
        quote: None: there was none yet.
        stale: nobody vouches for it any more.
        version: raised with each news; 0: none yet.
        told_at: when the news came.
    """

    def __init__(
        self,
        instrument: Instrument,
        source: Source,
        clock: Clock,
        next_version: Callable[[], int],
        patience: Patience,
    ) -> None:
        super().__init__()
        self.instrument = instrument
        self.quote: Quote | None = None
        self.stale = False
        self.version = 0
        self.told_at: datetime = clock()
        self._source = source
        self._clock = clock
        self._next_version = next_version
        self._patience = patience
        self._over = asyncio.Event()
        self._heard_s = self._used_s = _now_s()

    def touch(self) -> None:
        """Note that somebody looks."""
        self._used_s = _now_s()

    async def run(self) -> None:
        """Follow the source until nobody looks any more."""
        following = asyncio.create_task(self._follow(), name="follow a price")
        try:
            while _now_s() - self._used_s < self._patience.unused_s:
                await asyncio.wait({following}, timeout=self._patience.silent_s)
                if following.done():
                    following.result()
                    return
                if _now_s() - self._heard_s >= self._patience.silent_s:
                    await self._ask()
        finally:
            self._over.set()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        first = await self._source.ask()
        if first is not None:
            self._take(first)
        if self._source.watch is not None:
            async with aclosing(self._source.watch()) as ticks:
                async for quote in ticks:
                    self._take(quote)
        while True:  # It cannot be watched, or not this book.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.ask_every_s):
                    await self._over.wait()
            quote_now = await self._source.ask()
            if quote_now is not None and self._is_fresh(quote_now):
                self._take(quote_now)

    async def _ask(self) -> None:
        quote = await self._source.ask()
        if quote is not None and self._is_fresh(quote):
            self._take(quote)
        else:
            self.doubt()

    def _is_fresh(self, quote: Quote) -> bool:
        return self._clock() - quote.as_of < timedelta(seconds=self._patience.silent_s)

    def _take(self, quote: Quote) -> None:
        self._heard_s = _now_s()
        if self.stale or quote != self.quote:
            self.quote, self.stale = quote, False
            self._tell()

    def doubt(self) -> None:
        """Tell, once, that the price is stale."""
        if not self.stale:
            self.stale = True
            self._tell()

    def _tell(self) -> None:
        self.version = self._next_version()
        self.told_at = self._clock()
        self.ring()


class Feeds:
    """The feeds of this process: one for each book, whoever follows it.

    Attributes:
        version: that of the latest news of any feed.
        patience: of the feeds that are opened from now on.
    """

    def __init__(self, desk: Desk) -> None:
        self.version = 0
        self.patience = Patience()
        self._desk = desk
        self._feeds: dict[Key, Feed] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    async def of(self, account: Account, symbol_text: str) -> Feed:
        """Return the feed of an instrument as the account sees it, opened the first time.

        Raises:
            Refused: `unknown_symbol`.
            ExchangeUnavailable: nothing is known of the exchange.
        """
        place = market.place_of(account)
        found = self._feeds.get((place, symbol_text))
        if found is None:
            known = await market.instrument(self._desk, account, symbol_text)
            found = self._feeds.get((place, known.symbol)) or self._open(place, known, account)
            self._feeds.setdefault((place, symbol_text), found)  # As it was written, too.
        found.touch()
        return found

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, place: str, known: Instrument, account: Account) -> Feed:
        source = _source(self._desk, account, known.symbol)
        feed = Feed(known, source, self._desk.clock, self._next_version, self.patience)
        key = (place, known.symbol)
        self._feeds[key] = feed
        self._tasks[key] = asyncio.create_task(feed.run(), name=f"feed {place} {known.symbol}")
        self._tasks[key].add_done_callback(partial(self._ended, key, feed))
        return feed

    def _ended(self, key: Key, feed: Feed, task: asyncio.Task[None]) -> None:
        """Forget a feed: whoever looks next opens another."""
        self._tasks.pop(key, None)
        self._feeds = {name: other for name, other in self._feeds.items() if other is not feed}
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("feed.failed", source=key[0], symbol=key[1], error=repr(error))
            feed.doubt()

    def _next_version(self) -> int:
        self.version += 1
        return self.version


def shown(feed: Feed, account: Account) -> dict[str, Any]:
    """Return what `get_price` answers, and whether it is stale; no prices before the first."""
    known = feed.instrument
    quote: Mapping[str, Any] = {"as_of": None}
    if feed.quote is not None:
        quote = market.shown_quote(feed.quote, known.price_decimals)
    return {
        "symbol": known.symbol,
        "account_id": account.id,
        "environment": account.environment,
        "exchange": account.exchange,
        **quote,
        "currency": known.quote,
        "stale": feed.stale,
    }


def _source(desk: Desk, account: Account, symbol: str) -> Source:
    public = market.prices(desk, account)
    watch = getattr(public, "watch", None)

    async def ask() -> Quote | None:
        if public is not None:
            return await public.quote(symbol)
        with suppress(ExecError):  # Nothing is known now; later it may be.
            return await market.quote(desk, account, symbol)
        return None

    return Source(ask, None if watch is None else partial(watch, symbol))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
