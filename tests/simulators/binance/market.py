"""What the public sees: trades, candles, averages, statistics, touch."""

import calendar
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from tests.simulators.matching import Book

from .instruments import Instrument
from .numbers import EIGHT, ZERO, floor, text

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MONDAY_MS = 4 * _UNITS_MS["d"]
DAY_MS = _UNITS_MS["d"]
_SHORT = ("1s", "1m", "3m", "5m", "15m", "30m")
_LONG = ("1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
INTERVALS = (*_SHORT, *_LONG)
Kline = list[Any]


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One public trade; trades of one taker order (`burst`) at one price share an aggregate id."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool
    burst: int
    aggregate_id: int


@dataclass(slots=True)
class Average:
    """The volume-weighted average price of the last minutes, kept up as trades come."""

    span_ms: int
    trades: deque[PublicTrade] = field(default_factory=deque)
    quantity: Decimal = ZERO
    quote: Decimal = ZERO

    def add(self, trade: PublicTrade) -> None:
        self.trades.append(trade)
        self.quantity += trade.quantity
        self.quote += trade.price * trade.quantity

    def value(self, now: int) -> Decimal | None:
        while self.trades and self.trades[0].time < now - self.span_ms:
            old = self.trades.popleft()
            self.quantity -= old.quantity
            self.quote -= old.price * old.quantity
        return self.quote / self.quantity if self.quantity else None


@dataclass(slots=True)
class Tape:
    """Everything public about one symbol."""

    trades: list[PublicTrade] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    averages: dict[int, Average] = field(default_factory=dict)
    klines: dict[str, list[Kline]] = field(default_factory=dict)
    reference: Decimal | None = None
    has_reference: bool = False
    reference_time: int = 0
    price_range: dict[str, str] = field(default_factory=dict)
    update_id: int = 0


class Market:
    """Public data of all symbols, by the engine's clock (ms)."""

    def __init__(
        self, clock: Callable[[], int], instruments: dict[str, Instrument], books: dict[str, Book]
    ) -> None:
        self._clock = clock
        self._instruments = instruments
        self._books = books
        self.tapes: defaultdict[str, Tape] = defaultdict(Tape)

    def record(
        self, symbol: str, price: Decimal, quantity: Decimal, buyer_is_maker: bool, burst: int
    ) -> PublicTrade:
        """Print one trade; its id follows the symbol's last one."""
        tape = self.tapes[symbol]
        last = tape.trades[-1] if tape.trades else None
        aggregate = last.aggregate_id if last else 0
        if last is None or (last.burst, last.price) != (burst, price):
            aggregate += 1
        trade_id = last.trade_id + 1 if last else 1
        trade = PublicTrade(
            trade_id, price, quantity, self._clock(), buyer_is_maker, burst, aggregate
        )
        tape.trades.append(trade)
        tape.times.append(trade.time)
        for average in tape.averages.values():
            average.add(trade)
        return trade

    def last(self, symbol: str) -> Decimal | None:
        """The last trade's price; before the first trade the middle of the touch."""
        tape = self.tapes[symbol]
        if tape.trades:
            return tape.trades[-1].price
        book = self._books[symbol]
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None:
            return bid or ask
        rule = self._instruments[symbol].rule("PRICE_FILTER")
        return floor((bid + ask) / 2, (rule and rule["tickSize"]) or EIGHT)

    def average(self, symbol: str, minutes: int) -> Decimal | None:
        """VWAP of the last minutes, None where nothing traded."""
        tape = self.tapes[symbol]
        if minutes not in tape.averages:
            tape.averages[minutes] = Average(minutes * _UNITS_MS["m"])
            for trade in tape.trades:
                tape.averages[minutes].add(trade)
        return tape.averages[minutes].value(self._clock())

    def filter_reference(self, symbol: str, minutes: int) -> Decimal | None:
        """The price that filters compare with: reference price, average, last trade."""
        tape = self.tapes[symbol]
        if tape.has_reference and tape.reference is not None:
            return tape.reference
        found = self.average(symbol, minutes) if minutes else None
        return self.last(symbol) if found is None else found

    def since(self, symbol: str, start: int, end: int | None = None) -> Sequence[PublicTrade]:
        """The trades of start <= time <= end."""
        tape = self.tapes[symbol]
        stop = len(tape.times) if end is None else bisect_left(tape.times, end + 1)
        return tape.trades[bisect_left(tape.times, start) : stop]

    def klines(
        self, symbol: str, interval: str, start: int | None, end: int | None, limit: int
    ) -> list[Kline]:
        """Candles, oldest first; the newest is open. From `start` if given, else the newest."""
        rows = list(self.tapes[symbol].klines.get(interval, []))
        rows += self._candles(symbol, interval, rows[-1][6] + 1 if rows else 0)
        rows = [row for row in rows if start is None or row[0] >= start]
        rows = [row for row in rows if end is None or row[0] <= end]
        return rows[:limit] if start is not None else rows[-limit:]

    def candle(self, symbol: str, interval: str, opened: int) -> Kline:
        """The candle of one opening time; without trades flat at the last price."""
        closes = close_time(opened, interval)
        trades = self.since(symbol, opened, closes)
        places = self._instruments[symbol].base_places
        if trades:
            return _kline(opened, closes, trades, places)
        flat, none, zero = text(self.last(symbol) or ZERO), text(ZERO, places), text(ZERO)
        return [opened, flat, flat, flat, flat, none, closes, zero, 0, none, zero, "0"]

    def _candles(self, symbol: str, interval: str, first: int) -> Iterator[Kline]:
        trades = self.since(symbol, first)
        if not trades:
            return
        opened = open_time(trades[0].time, interval)
        now = self._clock()
        while opened <= now:
            yield self.candle(symbol, interval, opened)
            opened = close_time(opened, interval) + 1


def open_time(time: int, interval: str) -> int:
    """When the candle that holds `time` opened; weeks open on Monday, months on the first."""
    if interval == "1M":
        day = datetime.fromtimestamp(time / 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000
    if interval == "1w":
        return time - (time - _MONDAY_MS) % (7 * DAY_MS)
    return time - time % _length_ms(interval)


def close_time(opened: int, interval: str) -> int:
    """The last millisecond of the candle that opened then."""
    if interval == "1M":
        day = datetime.fromtimestamp(opened / 1000, UTC)
        return opened + calendar.monthrange(day.year, day.month)[1] * DAY_MS - 1
    return opened + _length_ms(interval) - 1


def _length_ms(interval: str) -> int:
    if interval == "1w":
        return 7 * DAY_MS
    return int(interval[:-1]) * _UNITS_MS[interval[-1]]


def _kline(opened: int, closes: int, trades: Sequence[PublicTrade], places: int) -> Kline:
    prices = [trade.price for trade in trades]
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    return [
        opened,
        text(prices[0]),
        text(max(prices)),
        text(min(prices)),
        text(prices[-1]),
        text(volume(trades), places),
        closes,
        text(quote_volume(trades)),
        len(trades),
        text(volume(bought), places),
        text(quote_volume(bought)),
        "0",
    ]


def volume(trades: Iterable[PublicTrade]) -> Decimal:
    return sum((trade.quantity for trade in trades), ZERO)


def quote_volume(trades: Iterable[PublicTrade]) -> Decimal:
    return sum((trade.price * trade.quantity for trade in trades), ZERO)


def trade_row(trade: PublicTrade, places: int) -> dict[str, Any]:
    """A row of GET trades; quantities have `places` decimals."""
    return {
        "id": trade.trade_id,
        "price": text(trade.price),
        "qty": text(trade.quantity, places),
        "quoteQty": text(trade.price * trade.quantity),
        "time": trade.time,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregates(trades: Iterable[PublicTrade], places: int) -> list[dict[str, Any]]:
    """Trades of one taker order at one price, put together."""
    groups = [list(group) for _, group in groupby(trades, key=lambda trade: trade.aggregate_id)]
    return [
        {
            "a": group[0].aggregate_id,
            "p": text(group[0].price),
            "q": text(volume(group), places),
            "f": group[0].trade_id,
            "l": group[-1].trade_id,
            "T": group[0].time,
            "m": group[0].buyer_is_maker,
            "M": True,
        }
        for group in groups
    ]
