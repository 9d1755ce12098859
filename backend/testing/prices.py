"""Prices that a test chooses, with a memory of what stood when."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from backend.domain.clock import Clock
from backend.domain.quote import Prices, Quote
from backend.prices._ticks import Ticks

Price = Decimal | str | int


class _Change(NamedTuple):
    """What was chosen at one instant: `quote` None is no quote; `stale`: it ages."""

    at: datetime
    quote: Quote | None
    stale: bool = False


class ChosenPrices:
    """A price source that says what it was told, replayable.

    Each change stands from the clock's instant at which it was made. Resting orders meet
    it when time passes: set a price, then advance.

    Args:
        otherwise: prices of every symbol that was never set; without it there are none.
        listed: symbols that can be traded although no price was set yet.
    """

    name = "chosen"

    def __init__(
        self, clock: Clock, otherwise: Prices | None = None, listed: Iterable[str] = ()
    ) -> None:
        self._clock = clock
        self._otherwise = otherwise
        self._listed = set(listed)
        self._changes: dict[str, list[_Change]] = {}
        self._ticks = Ticks()
        self.replayable = otherwise is None or otherwise.replayable

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return what can be traded beside the embedded catalogue; read when a server starts."""
        others = getattr(self._otherwise, "symbols", ())
        return tuple(sorted({*self._listed, *self._changes, *others}))

    def set(
        self,
        symbol: str,
        bid: Price | None = None,
        ask: Price | None = None,
        last: Price | None = None,
    ) -> Quote:
        """Let `symbol` have these prices from now on; what is left out stays as it was.

        Prices are in the quote currency. Of a symbol without a quote, one price is enough:
        it stands for those left out.

        Raises:
            TypeError: a float; ValueError: no price at all, one not above 0, or bid > ask.
        """
        before = self._now(symbol)
        given = [exact(price) for price in (bid, ask, last) if price is not None]
        if not given:
            raise ValueError(f"choose at least one price of {symbol}")
        quote = Quote(
            symbol,
            exact(bid) if bid is not None else before.bid if before else given[0],
            exact(ask) if ask is not None else before.ask if before else given[0],
            exact(last) if last is not None else before.last if before else given[0],
            self._clock(),
            self.name,
        )
        if quote.bid > quote.ask:
            raise ValueError(f"the bid {quote.bid} of {symbol} is above the ask {quote.ask}")
        self._add(symbol, _Change(quote.as_of, quote))
        return quote

    def remove(self, symbol: str) -> None:
        """Let `symbol` have no quote from now on."""
        self._add(symbol, _Change(self._clock(), None))

    def freeze(self, symbol: str) -> None:
        """Let the quote of `symbol` grow old from now on, until it is set again.

        Raises:
            ValueError: it has no quote.
        """
        quote = self._now(symbol)
        if quote is None:
            raise ValueError(f"{symbol} has no quote that could grow old")
        self._add(symbol, _Change(quote.as_of, quote, stale=True))

    async def quote(self, symbol: str) -> Quote | None:
        """Return what was chosen, as of now; as of the moment it was frozen if it was."""
        if symbol in self._changes or self._otherwise is None:
            return self._now(symbol)
        return await self._otherwise.quote(symbol)

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return every change after `start` up to `end`, and what stands at `end`."""
        if symbol not in self._changes:
            return self._otherwise.path(symbol, start, end) if self._otherwise else ()
        changes = [c for c in self._changes[symbol] if c.at <= end]
        path = [c.quote for c in changes if c.quote and not c.stale and c.at > start]
        standing = changes[-1] if changes else None
        if standing and standing.quote and not standing.stale and standing.at < end:
            path.append(replace(standing.quote, as_of=end))
        return path

    async def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield each quote that is set; of a symbol that never was, what the others tell."""
        watch = getattr(self._otherwise, "watch", None)
        if symbol in self._changes or watch is None:
            told = self._ticks.follow(symbol, lambda: self._now(symbol))
        else:
            told = watch(symbol)
        async with aclosing(told) as quotes:
            async for quote in quotes:
                yield quote

    async def close(self) -> None:
        """Do nothing: other servers of the home go on to ask. Whoever made it lets it go."""

    def _now(self, symbol: str) -> Quote | None:
        changes = self._changes.get(symbol)
        if not changes or changes[-1].quote is None or changes[-1].stale:
            return changes[-1].quote if changes else None
        return replace(changes[-1].quote, as_of=self._clock())

    def _add(self, symbol: str, change: _Change) -> None:
        self._changes.setdefault(symbol, []).append(change)
        if not change.stale:
            self._ticks.came(symbol)


def exact(price: Price) -> Decimal:
    """Return a price above 0 without a float between.

    Raises:
        TypeError: a float or anything else; ValueError: not above 0.
    """
    if isinstance(price, bool) or not isinstance(price, Decimal | str | int):
        raise TypeError(f"write a price as text or Decimal, was {price!r}")
    value = Decimal(price)
    if not value.is_finite() or value <= 0:
        raise ValueError(f"a price must be above 0, was {price}")
    return value
