"""A market that needs nothing: prices are a pure function of seed, symbol and second.

Value noise over ten octaves, each four times slower than the one before; an
octave's amplitude is what the annual volatility makes of its period. Integers only.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from math import isqrt
from typing import NamedTuple

from backend.domain.clock import Clock
from backend.domain.quote import Quote
from backend.prices._market import EPOCH, LISTINGS, Listing, epoch_second, whole_seconds
from backend.prices._ticks import each_second

_PERIODS_S = tuple(4**k for k in range(1, 11))  # 4 s to 12 days.
_YEAR_S = 365 * 86_400
_BILLION = 10**9
_MASK = 2**64 - 1


class Touch(NamedTuple):
    """One second's prices."""

    bid: Decimal
    ask: Decimal
    last: Decimal


class SimulatedPrices:
    """Quotes of everything in the catalogue, at all hours.

    Attributes:
        symbols: what it can price.
    """

    name = "simulated"
    replayable = True
    symbols = tuple(LISTINGS)

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._walks = {symbol: _Walk(listing, seed) for symbol, listing in LISTINGS.items()}

    async def quote(self, symbol: str) -> Quote | None:
        """Return the quote at the clock's now, or None for an unknown symbol."""
        if (walk := self._walks.get(symbol)) is None:
            return None
        now = self._clock()
        return Quote(symbol, *walk.touch(epoch_second(now)), now, self.name)

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return one quote per second after `start` up to `end`; at most 3,600."""
        if (walk := self._walks.get(symbol)) is None:
            return ()
        return tuple(
            Quote(symbol, *walk.touch(s), EPOCH + timedelta(seconds=s), self.name)
            for s in whole_seconds(start, end)
        )

    def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield the quote at each new second of the clock."""
        return each_second(lambda: self.quote(symbol), self._clock)

    async def close(self) -> None:
        """Hold nothing, so let go of nothing."""


def open_source(argument: str, clock: Clock, seed: int) -> SimulatedPrices:
    """Return the simulated market; it takes no argument."""
    if argument:
        raise ValueError(f"simulated takes no argument, was {argument!r}")
    return SimulatedPrices(clock, seed)


class _Walk:
    """The noise of one symbol."""

    def __init__(self, listing: Listing, seed: int) -> None:
        base = listing.symbol.partition("/")[0]  # BTC/USD and BTC/USDT move together.
        digest = blake2b(f"{seed}:{base}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big")
        self._tick_size = listing.tick_size
        self._level = int(listing.level / listing.tick_size)
        self._spread = int(listing.spread_bps * 100)
        # volatility x sqrt(period / year), in billionths of the level.
        self._amplitudes = tuple(
            listing.volatility_pct * isqrt(period * 10**14 // _YEAR_S) for period in _PERIODS_S
        )
        # Per octave, the cell that was asked for last: neighbours in time share it.
        self._cells = [(-1, 0, 0)] * len(_PERIODS_S)
        self._recent: tuple[int, Touch] | None = None

    def touch(self, second: int) -> Touch:
        if self._recent is None or self._recent[0] != second:
            self._recent = (second, self._computed(second))
        return self._recent[1]

    def _computed(self, second: int) -> Touch:
        mid = self._level * (_BILLION + self._deviation(second))  # In billionths of a tick.
        half = mid * self._spread // 2_000_000
        bid = (mid - half) // _BILLION
        ask = max(-((-mid - half) // _BILLION), bid + 1)
        last = min(max((mid + _BILLION // 2) // _BILLION, bid), ask)
        tick = self._tick_size
        return Touch(bid * tick, ask * tick, last * tick)

    def _deviation(self, second: int) -> int:
        total = 0
        for octave, period in enumerate(_PERIODS_S):
            index, within = divmod(second, period)
            cell = self._cells[octave]
            if cell[0] != index:
                cell = (index, self._noise(octave, index), self._noise(octave, index + 1))
                self._cells[octave] = cell
            value = cell[1] + (cell[2] - cell[1]) * within // period
            total += self._amplitudes[octave] * value >> 31
        return total

    def _noise(self, octave: int, index: int) -> int:
        """Return a whole number in [-2^31, 2^31): SplitMix64 of the lattice point."""
        x = (self._key + (index * 16 + octave) * 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & _MASK
        return ((x ^ x >> 31) >> 32) - 2**31
