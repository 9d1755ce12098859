"""Values as Bitstamp spells them: ids as numbers or text, times without a zone.

Each raises ValueError for what it is not; nothing passes through a float.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.exact_json import loads
from backend.domain.order import Side

Row = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,20}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES = {"0": Side.BUY, "1": Side.SELL, "buy": Side.BUY, "sell": Side.SELL}
_LONGEST = 200


def read_json(content: str | bytes) -> Any:
    """Return what the exchange wrote, numbers as Decimal."""
    try:
        return loads(content if isinstance(content, str) else content.decode("utf-8"))
    except (ArithmeticError, RecursionError):  # A number or a depth that nobody means.
        raise ValueError("not JSON that can be read") from None


def rows(value: object) -> list[Row]:
    """Return a list of objects: anything else is not an empty one."""
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return value
    raise ValueError("not a list of rows")


def number(value: object) -> Decimal:
    """Return an amount or a price: a JSON number, or text."""
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 40:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise ValueError("not a number")


def unsigned(value: object) -> Decimal:
    """Return an amount or a price that cannot be below zero."""
    found = number(value)
    if found < 0:
        raise ValueError("a number below zero")
    return found


def text(value: object) -> str:
    """Return an id or a name."""
    if isinstance(value, Decimal) and _is_whole(value):
        value = format(value, "f")
    if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable():
        return value
    raise ValueError("not a text")


def optional_text(value: object) -> str:
    """Return the same, "" where there is none."""
    return "" if value is None or value == "" else text(value)


def id_in(content: object, *names: str) -> str:
    """Return the first id that stands under one of these names, "" where none does."""
    if isinstance(content, dict):
        for name in names:
            with suppress(ValueError):
                return text(content.get(name))
    return ""


def side(value: object) -> Side:
    """Return the side of an order or a trade: 0 or `buy`, 1 or `sell`."""
    found = _SIDES.get(text(value))
    if found is None:
        raise ValueError("not a side")
    return found


def moment(value: object) -> datetime:
    """Return the time of a REST reply: UTC without saying so, in either precision."""
    parsed = datetime.fromisoformat(text(value))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def micro_moment(value: object) -> datetime:
    """Return the time of a `microtimestamp`."""
    digits = text(value)
    if not _WHOLE.fullmatch(digits):
        raise ValueError("not a microtimestamp")
    try:
        return _EPOCH + timedelta(microseconds=int(digits))
    except OverflowError:
        raise ValueError("not a microtimestamp") from None


def _is_whole(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= 0 and value.adjusted() < _LONGEST
