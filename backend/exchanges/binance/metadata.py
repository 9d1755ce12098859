"""exchangeInfo: what can be traded under which rules."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from backend.domain.instrument import Currency, Instrument, PriceBand
from backend.domain.money import ZERO, round_down, round_up, stored
from backend.domain.order import OrderType
from backend.exchanges import Metadata

Filters = Mapping[str, Mapping[str, Any]]

# What each of our order types is sent as.
_SENT_AS = {
    "LIMIT": (OrderType.MARKET, OrderType.LIMIT),
    "STOP_LOSS_LIMIT": (OrderType.STOP, OrderType.STOP_LIMIT),
}
# Its maximum moves every day, and it is about orders we never send.
_NOT_OURS = "MARKET_LOT_SIZE"
_NO_LIMIT = Decimal(10) ** 18
_COUNT_AT_MOST = 10**9
_DECIMALS_AT_MOST = 30

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_MALFORMED = (
    msgspec.DecodeError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def read_metadata(content: bytes, as_of: datetime) -> Metadata:
    """Return what an exchangeInfo answer says.

    Raises:
        ValueError: it is not one, or it lists nothing.
    """
    try:
        document = _decode(content)
        rows = document["symbols"]
        whole = {one["filterType"]: one for one in document.get("exchangeFilters", ())}
        made = (_instrument(row, whole) for row in rows)
        instruments = {found.symbol: found for found in made}
        currencies = _currencies(rows)
        versions = sorted(found.version for found in instruments.values())
        version = _version([versions, sorted((c.code, c.decimals) for c in currencies.values())])
    except _MALFORMED as error:
        raise ValueError(f"exchangeInfo is malformed ({type(error).__name__})") from None
    if not instruments:
        raise ValueError("exchangeInfo lists no instrument")
    return Metadata(version, as_of, instruments, currencies)


def own_rules(instrument: Instrument, content: bytes) -> Instrument:
    """Return the rules with what a myFilters answer adds to them for one account.

    Raises:
        ValueError: it is not one.
    """
    try:
        document = _decode(content)
        whole = {one["filterType"]: one for one in document["exchangeFilters"]}
        limits = {
            one["asset"]: stored(one["limit"])
            for one in document["assetFilters"]
            if one["filterType"] == "MAX_ASSET"
        }
        orders, stops = _account_counts(whole)
    except _MALFORMED as error:
        raise ValueError(f"myFilters is malformed ({type(error).__name__})") from None
    most = min(limits.get(instrument.base, _NO_LIMIT), instrument.max_quantity)
    notionals = [
        n for n in (limits.get(instrument.quote), instrument.max_notional) if n is not None
    ]
    return replace(
        instrument,
        max_quantity=round_down(most, instrument.step_size),
        max_notional=min(notionals, default=None),
        account_max_orders=orders,
        account_max_stops=stops,
    )


def _account_counts(whole: Filters) -> tuple[int | None, int | None]:
    return (
        _count(whole, "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders"),
        _count(whole, "EXCHANGE_MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders"),
    )


def _instrument(row: Mapping[str, Any], whole: Filters) -> Instrument:
    filters = {one["filterType"]: one for one in row["filters"]}
    filters.pop(_NOT_OURS, None)
    base, quote, code = (_text(row[name]) for name in ("baseAsset", "quoteAsset", "symbol"))
    tick, low, high = _prices(row, filters)
    step, least, most = _quantities(row, filters)
    min_notional, max_notional = _notionals(filters)
    account_orders, account_stops = _account_counts(whole)
    return Instrument(
        symbol=f"{base}/{quote}",
        name=f"{base} / {quote}",
        base=base,
        quote=quote,
        tick_size=tick,
        step_size=step,
        min_quantity=least,
        max_quantity=most,
        min_notional=min_notional,
        max_notional=max_notional,
        price_decimals=_decimals(tick),
        quantity_decimals=_decimals(step),
        session="continuous",
        version=_version({**row, "filters": filters}),
        code=code,
        status=_status(row),
        min_price=low,
        max_price=high,
        price_band=_band(filters),
        max_open_orders=_count(filters, "MAX_NUM_ORDERS", "maxNumOrders"),
        max_stop_orders=_count(filters, "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders"),
        account_max_orders=account_orders,
        account_max_stops=account_stops,
        max_position=_given(filters.get("MAX_POSITION", {}), "maxPosition"),
        order_types=_order_types(row),
        permissions=_permissions(row),
    )


def _prices(
    row: Mapping[str, Any], filters: Filters
) -> tuple[Decimal, Decimal | None, Decimal | None]:
    rule = filters.get("PRICE_FILTER", {})
    tick = _given(rule, "tickSize") or _unit(row.get("quotePrecision", 8))
    return tick, _given(rule, "minPrice"), _given(rule, "maxPrice")


def _quantities(row: Mapping[str, Any], filters: Filters) -> tuple[Decimal, Decimal, Decimal]:
    rule = filters.get("LOT_SIZE", {})
    step = _given(rule, "stepSize") or _unit(row["baseAssetPrecision"])
    least = round_up(_given(rule, "minQty") or step, step)
    return step, least, round_down(_given(rule, "maxQty") or _NO_LIMIT, step)


def _notionals(filters: Filters) -> tuple[Decimal, Decimal | None]:
    whole, old = filters.get("NOTIONAL", {}), filters.get("MIN_NOTIONAL", {})
    least = max(_given(whole, "minNotional") or ZERO, _given(old, "minNotional") or ZERO)
    return least, _given(whole, "maxNotional")


def _band(filters: Filters) -> PriceBand | None:
    """Return the band that is left where there is one for both sides, one by side, or both."""
    bands = []
    if (sides := filters.get("PERCENT_PRICE_BY_SIDE")) is not None:
        bands.append(
            PriceBand(
                buy_up=stored(sides["bidMultiplierUp"]),
                buy_down=stored(sides["bidMultiplierDown"]),
                sell_up=stored(sides["askMultiplierUp"]),
                sell_down=stored(sides["askMultiplierDown"]),
                minutes=_whole(sides["avgPriceMins"], _COUNT_AT_MOST),
            )
        )
    if (both := filters.get("PERCENT_PRICE")) is not None:
        up, down = stored(both["multiplierUp"]), stored(both["multiplierDown"])
        minutes = _whole(both["avgPriceMins"], _COUNT_AT_MOST)
        bands.append(PriceBand(up, down, up, down, minutes))
    if len(bands) < 2:
        return bands[0] if bands else None
    return PriceBand(
        buy_up=min(band.buy_up for band in bands),
        buy_down=max(band.buy_down for band in bands),
        sell_up=min(band.sell_up for band in bands),
        sell_down=max(band.sell_down for band in bands),
        minutes=bands[0].minutes,
    )


def _status(row: Mapping[str, Any]) -> str:
    status: str = row["status"]
    if status == "TRADING":
        return "trading" if row.get("isSpotTradingAllowed", True) else "no_spot_trading"
    return status.lower()


def _order_types(row: Mapping[str, Any]) -> frozenset[str]:
    taken = row["orderTypes"]
    return frozenset(ours.value for sent in _SENT_AS if sent in taken for ours in _SENT_AS[sent])


def _permissions(row: Mapping[str, Any]) -> tuple[frozenset[str], ...]:
    sets = row.get("permissionSets") or [row.get("permissions") or []]
    return tuple(frozenset(one) for one in sets if one)


def _currencies(rows: list[Mapping[str, Any]]) -> dict[str, Currency]:
    found: dict[str, Currency] = {}
    for row in rows:
        for side, decimals in (("base", "baseAssetPrecision"), ("quote", "quoteAssetPrecision")):
            code = row[f"{side}Asset"]
            if code not in found:
                found[code] = Currency(
                    code, decimals=_whole(row.get(decimals, 8), _DECIMALS_AT_MOST)
                )
    return found


def _given(rule: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a filter's number; None where it is 0, which switches the rule off."""
    value = stored(rule.get(name, "0"))
    if value < 0:
        raise ValueError(f"{name} is below zero")
    return value or None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a name")
    return value


def _count(filters: Filters, name: str, field: str) -> int | None:
    rule = filters.get(name, {})
    # Years ago the count of open orders went by another name.
    value = rule.get(field, rule.get("limit"))
    return None if value is None else _whole(value, _COUNT_AT_MOST)


def _whole(value: Any, most: int) -> int:
    # A huge exponent would become a number that fills the memory.
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError("not a whole number")
    return value


def _unit(decimals: Any) -> Decimal:
    return Decimal(1).scaleb(-_whole(decimals, _DECIMALS_AT_MOST))


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _version(rules: Any) -> str:
    return hashlib.sha256(_encode(rules)).hexdigest()[:12]
