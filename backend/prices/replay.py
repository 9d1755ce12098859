"""Recorded prices, replayed in a loop: `replay:FILE` or `replay:SYMBOL=FILE,…`.

The clock is mapped onto the recording: seconds since the Unix epoch, modulo the
recording's length, so any process agrees. Within a bar the price walks open, low
and high (low first when it closed higher), close, a quarter of the bar each.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from backend.domain.clock import Clock, to_et
from backend.domain.errors import Refused
from backend.domain.instrument import normalise_symbol
from backend.domain.money import round_down, round_up
from backend.domain.quote import Quote
from backend.prices._market import EPOCH, PATH_LIMIT, tick_size
from backend.prices._recording import Bar, Ohlc, read_bars, symbol_of
from backend.prices._ticks import each_second

_MICROSECOND = timedelta(microseconds=1)


class Point(NamedTuple):
    """One price of the walk: it stands from `offset` until the next point.

    Attributes:
        offset: microseconds since the recording's first bar.
        source: the file and the bar's own time.
    """

    offset: int
    bid: Decimal
    ask: Decimal
    source: str


class Loop:
    """One symbol's recording, as a loop of points.

    Attributes:
        length: microseconds, from the first bar to the end of the last.
    """

    def __init__(self, symbol: str, recording: Sequence[tuple[str, Bar]]) -> None:
        self.symbol = symbol
        tick = tick_size(symbol)
        starts = [bar.start for _, bar in recording]
        span = _usual_span(starts)
        first = starts[0]
        self.length = (starts[-1] - first) // _MICROSECOND + span
        self.points = [
            Point((bar.start - first) // _MICROSECOND + leg * span // 4, bid, ask, source)
            for name, bar in recording
            for source in (f"replay:{name}@{to_et(bar.start)}",)
            for leg, (bid, ask) in enumerate(_walk(bar, tick))
        ]
        self._offsets = [point.offset for point in self.points]

    def at(self, moment: datetime) -> Quote:
        """Return the quote that stands at `moment`."""
        offset = _since_epoch(moment) % self.length
        return self._quote(self.points[bisect_right(self._offsets, offset) - 1], moment)

    def between(self, start: datetime, end: datetime) -> list[Quote]:
        """Return the walk after `start` up to and with `end`, oldest first.

        A long one is thinned: of each stretch the lowest ask and the highest bid
        stay. After two whole loops nothing new can come, and only `end` follows.
        """
        first, last = _since_epoch(start), _since_epoch(end)
        covered = min(last, first + 2 * self.length)
        walk = self._walked(first, covered)
        if covered < last:
            walk.append((last, self.points[bisect_right(self._offsets, last % self.length) - 1]))
        return [
            self._quote(point, EPOCH + moment * _MICROSECOND) for moment, point in _thinned(walk)
        ]

    def _walked(self, first: int, last: int) -> list[tuple[int, Point]]:
        walk: list[tuple[int, Point]] = []
        for turn in range(first // self.length, last // self.length + 1):
            base = turn * self.length
            low = bisect_right(self._offsets, first - base)
            high = bisect_right(self._offsets, last - base)
            walk += [(base + point.offset, point) for point in self.points[low:high]]
        return walk

    def _quote(self, point: Point, moment: datetime) -> Quote:
        return Quote(self.symbol, point.bid, point.ask, point.bid, moment, point.source)


class ReplayPrices:
    """Quotes from recordings.

    Attributes:
        symbols: what was recorded.
    """

    replayable = True

    def __init__(self, name: str, clock: Clock, loops: Sequence[Loop]) -> None:
        self.name = name
        self.symbols = tuple(loop.symbol for loop in loops)
        self._clock = clock
        self._loops = {loop.symbol: loop for loop in loops}

    async def quote(self, symbol: str) -> Quote | None:
        """Return what the recording shows at the clock's now, or None if not recorded."""
        loop = self._loops.get(symbol)
        return None if loop is None else loop.at(self._clock())

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return every change of price after `start` up to and with `end`; lows and highs stay."""
        loop = self._loops.get(symbol)
        return () if loop is None else tuple(loop.between(start, end))

    def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield the quote at each new second of the clock."""
        return each_second(lambda: self.quote(symbol), self._clock)

    async def close(self) -> None:
        """Hold nothing, so let go of nothing."""


def open_source(argument: str, clock: Clock, seed: int) -> ReplayPrices:
    """Return the recordings that `argument` names.

    Raises:
        ValueError: no file, or one that cannot be read as a recording.
    """
    recordings: dict[str, list[tuple[str, Bar]]] = {}
    for part in argument.split(","):
        symbol, path = _named(part.strip())
        bars = [(path.name, bar) for bar in read_bars(path)]
        recordings.setdefault(symbol, []).extend(bars)
    return ReplayPrices(
        f"replay:{argument}",
        clock,
        [Loop(symbol, _in_order(symbol, recordings[symbol])) for symbol in recordings],
    )


def _named(part: str) -> tuple[str, Path]:
    left, equals, right = part.partition("=")
    if equals and not _file(part).exists():
        try:
            return normalise_symbol(left), _file(right)
        except Refused as error:
            raise ValueError(f"{left!r} is not a symbol") from error
    path = _file(part)
    return symbol_of(path), path


def _file(text: str) -> Path:
    if not text:
        raise ValueError("no file named")
    return Path(text).expanduser()


def _in_order(symbol: str, recording: list[tuple[str, Bar]]) -> list[tuple[str, Bar]]:
    """Return several files of one symbol, such as days, as one recording."""
    ordered = sorted(recording, key=lambda entry: entry[1].start)
    for (one, bar), (other, following) in zip(ordered, ordered[1:], strict=False):
        if following.start == bar.start:
            raise ValueError(f"{one} and {other} both have {symbol} at {to_et(bar.start)}")
    return ordered


def _usual_span(starts: Sequence[datetime]) -> int:
    """Return the microseconds of one bar: the commonest distance; a minute for a lone one."""
    spans = Counter((b - a) // _MICROSECOND for a, b in zip(starts, starts[1:], strict=False))
    return spans.most_common(1)[0][0] if spans else 60_000_000


def _walk(bar: Bar, tick: Decimal) -> list[tuple[Decimal, Decimal]]:
    """Return the four touches of a bar, on tick outward, bid below ask."""
    ask = bar.ask or bar.bid
    rose = bar.bid.close > bar.bid.open
    touches = []
    for bid_price, ask_price in zip(_legs(bar.bid, rose), _legs(ask, rose), strict=True):
        low = round_down(bid_price, tick)
        high = low + tick if bar.ask is None else round_up(ask_price, tick)
        touches.append((low, max(high, low)))
    return touches


def _legs(side: Ohlc, rose: bool) -> tuple[Decimal, ...]:
    middle = (side.low, side.high) if rose else (side.high, side.low)
    return (side.open, *middle, side.close)


def _since_epoch(moment: datetime) -> int:
    return (moment - EPOCH) // _MICROSECOND


def _thinned(walk: list[tuple[int, Point]]) -> list[tuple[int, Point]]:
    """Return at most `PATH_LIMIT` points: of each stretch its extremes, in their order."""
    if len(walk) <= PATH_LIMIT:
        return walk
    stretch = -(-len(walk) * 2 // PATH_LIMIT)
    kept: list[tuple[int, Point]] = []
    for i in range(0, len(walk), stretch):
        part = walk[i : i + stretch]
        extremes = {min(part, key=lambda e: e[1].ask), max(part, key=lambda e: e[1].bid)}
        kept += sorted(extremes, key=lambda e: e[0])
    return kept
