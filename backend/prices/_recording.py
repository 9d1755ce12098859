"""Recorded market data, read from a file: bars or quotes, CSV or JSON.

A file is understood by its column names, so other symbols and days of the same
form work. The forms stand in `kb/prices.md`.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from backend.domain.clock import ET
from backend.domain.money import parse_positive
from backend.prices._times import moment_of, parsed

_OHLC = ("open", "high", "low", "close")
_TIMES = ("time", "timestamp", "datetime", "date", "open_time")
_BINANCE = ("time", *_OHLC, "volume")
_SCALED = "_x10000"
_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)", re.ASCII)
_QUOTES = ("USDT", "BUSD", "USDC", "USD", "EUR", "BTC")


class Ohlc(NamedTuple):
    """Open, high, low and close of one side."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Bar(NamedTuple):
    """One bar.

    Attributes:
        start: aware UTC.
        ask: None where the recording has trades only.
    """

    start: datetime
    bid: Ohlc
    ask: Ohlc | None


def read_bars(path: Path) -> list[Bar]:
    """Return the bars of a recording, oldest first.

    Raises:
        ValueError: unreadable, empty or malformed; names the file and the line.
    """
    bars: list[Bar] = []
    standing: dict[str, Ohlc] = {}
    for line, cells in _rows(path):
        try:
            bar = _bar(cells, path.name, standing)
            if bar is not None and bars and bar.start <= bars[-1].start:
                raise ValueError(f"{bar.start.isoformat()} is not after the line before")
        except ValueError as error:
            raise ValueError(f"{path.name} line {line}: {error}") from error
        if bar is not None:
            bars.append(bar)
    if not bars:
        raise ValueError(f"{path.name} line 1: no bars and no quotes in it")
    return bars


def symbol_of(path: Path) -> str:
    """Return the symbol that a file name tells: `spy_20230803_quote.csv` is SPY.

    A word of five or more letters that ends in a known quote currency is split
    there: BTCUSDT is BTC/USDT.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if word]
    for word in words:
        for quote in _QUOTES:
            base = word.upper().removesuffix(quote)
            if len(word) >= 5 and 2 <= len(base) < len(word):
                return f"{base}/{quote}"
    if not words or not words[0].isascii() or not words[0].isalpha():
        raise ValueError(f"{path.name}: no symbol in the file name; write SYMBOL={path.name}")
    return words[0].upper()


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line (or JSON entry) number and cells by column name."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} line 1: cannot be read: {error}") from error
    rows = _json_rows(text, path.name) if text.lstrip().startswith("[") else _csv_rows(text)
    return iter(rows)


def _json_rows(text: str, name: str) -> Iterable[tuple[int, Mapping[str, str]]]:
    try:
        entries = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise ValueError(f"{name} line {line}: not JSON: {error}") from error
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, list) or len(entry) < 5:
            raise ValueError(f"{name} line {number}: entry {number} is not a list of a bar")
        yield number, dict(zip(_BINANCE, map(str, entry), strict=False))


def _csv_rows(text: str) -> Iterable[tuple[int, Mapping[str, str]]]:
    columns: Sequence[str] = ()
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            names = [cell.strip().lower() for cell in cells]
            has_header = not names[0].isdigit()
            columns = names if has_header else _BINANCE
            if has_header:
                continue
        # A missing cell is an empty one, and `_bar` says what it lacks.
        yield number, dict(zip(columns, (cell.strip() for cell in cells), strict=False))


def _bar(cells: Mapping[str, str], name: str, standing: dict[str, Ohlc]) -> Bar | None:
    start = _start(cells, name)
    prefixed = any(column.startswith("bid_open") for column in cells)
    if prefixed:
        bid, ask = _side(cells, "bid_", standing), _side(cells, "ask_", standing)
        # Before both sides have been seen there is no quote.
        return Bar(start, bid, ask) if bid and ask else None
    if "bid" in cells:
        bid_price, ask_price = _number(cells, "bid"), _number(cells, "ask")
        if ask_price < bid_price:
            raise ValueError(f"ask must be at least bid {bid_price}, was {ask_price}")
        return Bar(start, _flat(bid_price), _flat(ask_price))
    if "open" not in cells and f"open{_SCALED}" not in cells and "price" in cells:
        return Bar(start, _flat(_number(cells, "price")), None)
    return Bar(start, _ohlc(cells, ""), None)


def _side(cells: Mapping[str, str], prefix: str, standing: dict[str, Ohlc]) -> Ohlc | None:
    """Return one side of a quote bar; an empty one stands where it stood."""
    own = [text for column, text in cells.items() if column.startswith(prefix)]
    if not any(text.strip("0") for text in own):
        return standing.get(prefix)
    side = _ohlc(cells, prefix)
    standing[prefix] = _flat(side.close)
    return side


def _ohlc(cells: Mapping[str, str], prefix: str) -> Ohlc:
    bar = Ohlc(*(_number(cells, prefix + name) for name in _OHLC))
    if bar.low > min(bar) or bar.high < max(bar):
        raise ValueError(f"low {bar.low} and high {bar.high} must bound open and close")
    return bar


def _flat(price: Decimal) -> Ohlc:
    return Ohlc(price, price, price, price)


def _number(cells: Mapping[str, str], name: str) -> Decimal:
    scaled = cells.get(name + _SCALED)
    text = cells.get(name) if scaled is None else scaled
    if text is None:
        raise ValueError(f"no {name}")
    value = parse_positive(text)
    if value is None:
        raise ValueError(f"{name} must be a number above 0 in plain digits, was {text[:40]!r}")
    return value if scaled is None else value.scaleb(-4)


def _start(cells: Mapping[str, str], name: str) -> datetime:
    if (text := cells.get("ms_since_midnight_ny")) is not None:
        midnight = datetime(*_date_in(name), tzinfo=ET)
        # Wall-clock arithmetic: the exchange's day has its own hours on a day of change.
        return (midnight + timedelta(milliseconds=_whole(text))).astimezone(UTC)
    if (text := cells.get("ms_since_midnight_utc")) is not None:
        return datetime(*_date_in(name), tzinfo=UTC) + timedelta(milliseconds=_whole(text))
    if (text := cells.get("datetime_ny")) is not None:
        return parsed(text).replace(tzinfo=ET).astimezone(UTC)
    for column in _TIMES:
        if (text := cells.get(column)) is not None:
            return moment_of(text)
    raise ValueError(f"no column with the time; one of {', '.join(_TIMES)}")


def _date_in(name: str) -> tuple[int, int, int]:
    found = _DATE.search(name)
    if found is None:
        raise ValueError("times count from midnight, and the file name has no date (yyyymmdd)")
    year, month, day = found.groups()
    return int(year), int(month), int(day)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"milliseconds since midnight must be a whole number, was {text[:40]!r}")
    return int(text)
