"""What can be traded, read from the exchange's `currencies` and `markets` documents."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from backend.domain.errors import Refused
from backend.domain.exact_json import dumps
from backend.domain.instrument import Currency, Instrument, normalise_symbol
from backend.domain.money import round_down
from backend.exchanges import Metadata
from backend.exchanges.bitstamp.fields import number, read_json, text, unsigned
from backend.prices.bitstamp import code_of

# Spot markets name no largest quantity: this one is beyond any order, and a multiple of
# every step.
NO_MAXIMUM = Decimal(1_000_000_000)
_MOST_DECIMALS = 18


def document(currencies: bytes, markets: bytes) -> bytes:
    """Return both documents, whole, as one.

    Raises:
        ValueError: one of them is not a list.
    """
    for part in (currencies, markets):
        if not isinstance(read_json(part), list):
            raise ValueError("the exchange's list is not a list")
    return b'{"currencies":' + currencies + b',"markets":' + markets + b"}"


def read(content: bytes, as_of: datetime) -> Metadata:
    """Return the spot markets and the currencies.

    Raises:
        ValueError: not these documents, a malformed row, or no market in them.
    """
    try:
        found = read_json(content)
        currencies = [_currency(row) for row in found["currencies"]]
        rows = [row for row in found["markets"] if row["market_type"] == "SPOT"]
        instruments = [made for made in map(_instrument, rows) if made is not None]
        version = _version(found)
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the exchange's documents lack something: {error!r}"[:200]) from None
    if not instruments or not currencies:
        raise ValueError("the exchange's documents name nothing to trade")
    return Metadata(
        version=version,
        as_of=as_of,
        instruments={one.symbol: one for one in instruments},
        currencies={one.code: one for one in currencies},
    )


def _currency(row: Mapping[str, Any]) -> Currency:
    return Currency(
        code=text(row["currency"]).upper(),
        name=text(row["name"]),
        kind=text(row["type"]),
        decimals=_decimals(row["decimals"]),
        deposits=row.get("deposit") == "Enabled",
        withdrawals=row.get("withdrawal") == "Enabled",
    )


def _instrument(row: Mapping[str, Any]) -> Instrument | None:
    """Return one market, or None for one whose name we cannot spell."""
    base, quote = (text(row[f"{part}_currency"]).upper() for part in ("base", "counter"))
    code = text(row["market_symbol"])
    try:
        symbol = normalise_symbol(f"{base}/{quote}")
    except Refused:
        return None
    if code != code_of(symbol) or row["name"] != symbol:
        return None
    base_decimals, price_decimals = (
        _decimals(row[f"{part}_decimals"]) for part in ("base", "counter")
    )
    step = Decimal(1).scaleb(-base_decimals)
    tick = _optional(row, "tick_size") or Decimal(1).scaleb(-price_decimals)
    most = _optional(row, "maximum_order_amount")
    return Instrument(
        symbol=symbol,
        name=text(row.get("description") or symbol),
        base=base,
        quote=quote,
        tick_size=tick,
        step_size=step,
        min_quantity=_least(_optional(row, "minimum_order_amount"), step),
        max_quantity=NO_MAXIMUM if most is None else round_down(most, step),
        min_notional=unsigned(row["minimum_order_value"]),
        max_notional=_optional(row, "maximum_order_value"),
        price_decimals=price_decimals,
        quantity_decimals=base_decimals,
        session="continuous",
        version=_version(row),
        code=code,
        status=_status(row["trading"]),
    )


def _least(minimum: Decimal | None, step: Decimal) -> Decimal:
    return step if minimum is None else max(step, -round_down(-minimum, step))


def _optional(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a positive number; None where the row has none or a zero."""
    if row.get(name) is None:
        return None
    value = number(row[name])
    return value if value > 0 else None


def _status(trading: object) -> str:
    word = text(trading)
    return "trading" if word == "Enabled" else f"trading is {word.lower()}"


def _decimals(value: object) -> int:
    count = number(value)
    if count != int(count) or not 0 <= count <= _MOST_DECIMALS:
        raise ValueError("not a number of decimals")
    return int(count)


def _version(rules: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return a name for these rules that changes whenever anything in them does."""
    canonical = dumps(_sorted(rules))
    return sha256(canonical.encode()).hexdigest()[:12]


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value
