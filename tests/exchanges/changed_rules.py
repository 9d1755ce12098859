"""Recorded rules, changed at random into others that the exchange's documents allow."""

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from random import Random

from tests.exchanges.recorded_markets import Row

Filters = dict[str, Row]


def change(row: Row, times: int, random: Random) -> Row:
    """Return a symbol of exchangeInfo with `times` changes."""
    row = copy.deepcopy(row)
    if times:
        # Most recorded ones are the same in this, and it hides all else.
        row["status"] = "TRADING"
    for _ in range(times):
        random.choice(_CHANGES)(row, random)
    return row


def change_market(row: Row, random: Random) -> Row:
    """Return a row of `markets`, every other one with limits that are documented."""
    return row | random.choice([{}, *_MARKET_CHANGES, {}])


def as_document(rows: list[Row]) -> str:
    """Return exchangeInfo with these symbols."""
    return json.dumps({"rateLimits": [], "exchangeFilters": [], "symbols": rows})


_MARKET_CHANGES: list[Row] = [
    {"tick_size": "0.25"},
    {"minimum_order_amount": "0.00150000", "maximum_order_amount": "10.00000000"},
    {"maximum_order_value": "500000.00000000"},
    {"minimum_order_amount": "1.00000000", "maximum_order_value": "5000.5"},
    {"trading": "Disabled"},
]


def _rule(row: Row, name: str) -> Row:
    for one in row["filters"]:
        if one["filterType"] == name:
            return dict(one)
    return {"filterType": name}


def _set(row: Row, name: str, **fields: object) -> None:
    found = _rule(row, name) | fields
    row["filters"] = [one for one in row["filters"] if one["filterType"] != name] + [found]


def _switch_off(row: Row, random: Random) -> None:
    name, *fields = random.choice(
        [
            ("PRICE_FILTER", "minPrice"),
            ("PRICE_FILTER", "maxPrice"),
            ("PRICE_FILTER", "tickSize"),
            ("PRICE_FILTER", "minPrice", "maxPrice", "tickSize"),
            ("LOT_SIZE", "maxQty"),
            ("LOT_SIZE", "minQty"),
            ("LOT_SIZE", "stepSize"),
        ]
    )
    _set(row, name, **dict.fromkeys(fields, "0.00000000"))


def _take_away(row: Row, random: Random) -> None:
    names = ("PRICE_FILTER", "LOT_SIZE", "NOTIONAL", "MIN_NOTIONAL", "PERCENT_PRICE_BY_SIDE")
    name = random.choice(names)
    row["filters"] = [one for one in row["filters"] if one["filterType"] != name]


def _odd_bounds(row: Row, random: Random) -> None:
    step = Decimal(_rule(row, "LOT_SIZE").get("stepSize", "1")) or Decimal(1)
    _set(row, "LOT_SIZE", minQty=f"{step * Decimal('2.5'):f}", maxQty=f"{step * 10001 / 2:f}")


def _odd_tick(row: Row, random: Random) -> None:
    tick = Decimal(_rule(row, "PRICE_FILTER").get("tickSize", "1")) or Decimal("0.01")
    _set(row, "PRICE_FILTER", tickSize=f"{tick * random.choice((5, 25)):f}")


def _notionals(row: Row, random: Random) -> None:
    applies = {"applyMinToMarket": True, "applyMaxToMarket": False, "avgPriceMins": 5}
    _set(row, "NOTIONAL", minNotional="1.5", maxNotional="20000.00000000", **applies)
    if random.random() < 0.5:
        _set(row, "MIN_NOTIONAL", minNotional="20", applyToMarket=False, avgPriceMins=0)


def _bands(row: Row, random: Random) -> None:
    minutes = random.choice((0, 5))
    if random.random() < 0.5:
        _set(row, "PERCENT_PRICE", multiplierUp="1.1", multiplierDown="0.85", avgPriceMins=minutes)
        return
    bid = {"bidMultiplierUp": "1.1", "bidMultiplierDown": "0.8"}
    ask = {"askMultiplierUp": "1.2", "askMultiplierDown": "0.9"}
    _set(row, "PERCENT_PRICE_BY_SIDE", **bid, **ask, avgPriceMins=minutes)


def _status(row: Row, random: Random) -> None:
    row["status"] = random.choice(("HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY", "NEW_WORD"))


def _permissions(row: Row, random: Random) -> None:
    sets = ([["TRD_GRP_009"]], [["SPOT"], ["TRD_GRP_009", "SPOT"]], [["SPOT"], ["LEVERAGED"]])
    row["permissions"], row["permissionSets"] = [], random.choice(sets)


def _types(row: Row, random: Random) -> None:
    row["orderTypes"] = ["LIMIT", "MARKET"]


def _counts(row: Row, random: Random) -> None:
    if random.random() < 0.5:
        _set(row, "MAX_NUM_ALGO_ORDERS", maxNumAlgoOrders=0)
    else:
        _set(row, "MAX_NUM_ORDERS", maxNumOrders=0)


def _position(row: Row, random: Random) -> None:
    _set(row, "MAX_POSITION", maxPosition=random.choice(("0.5", "10.00000000", "1000000")))


_CHANGES: list[Callable[[Row, Random], None]] = [
    *(_switch_off, _take_away, _odd_bounds, _odd_tick, _notionals, _bands, _bands),
    *(_status, _permissions, _types, _counts, _position),
]
