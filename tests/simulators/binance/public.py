"""Unsigned reads: instruments, books, trades, candles, tickers."""

import json
from collections.abc import Callable
from typing import Any

from .errors import ApiError
from .instruments import Instrument
from .market import (
    DAY_MS,
    INTERVALS,
    PublicTrade,
    aggregates,
    quote_volume,
    trade_row,
    volume,
)
from .numbers import ZERO, text
from .queries import exchange_filter_rows
from .world import Call

_WEIGHT_STEPS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


def ping(call: Call) -> dict[str, Any]:
    return {}


def server_time(call: Call) -> dict[str, Any]:
    return {"serverTime": call.world.now()}


def exchange_info(call: Call) -> dict[str, Any]:
    """GET exchangeInfo by symbol, symbols, permissions or status."""
    params = call.params
    show = params.flag("showPermissionSets", True)
    rows = [item.row(show) for item in _asked(call) if _permitted(call, item)]
    return {
        "timezone": "UTC",
        "serverTime": call.world.now(),
        "rateLimits": call.world.limits.rows(),
        "exchangeFilters": exchange_filter_rows(call),
        "symbols": rows,
    }


def _permitted(call: Call, instrument: Instrument) -> bool:
    given = call.params.optional("permissions")
    if given is None:
        return True
    wanted = set(_listed(given, "permissions") if given.startswith("[") else [given])
    return any(wanted & set(group) for group in instrument.permission_sets)


def _listed(value: str, name: str) -> list[str]:
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return found


def _asked(call: Call) -> list[Instrument]:
    """The instruments of symbol, symbols or all, of one status where asked."""
    params, world = call.params, call.world
    status = params.optional("symbolStatus")
    if "symbol" in params and "symbols" in params:
        raise ApiError(-1128, "Combination of optional parameters invalid.")
    if "symbol" in params:
        one = world.instrument(call.symbol())
        if status not in (None, one.status):
            text_ = "The symbol's status does not match the requested symbolStatus."
            raise ApiError(-1220, text_)
        return [one]
    found = list(world.instruments.values())
    if "symbols" in params:
        found = [world.instrument(name) for name in _listed(params.required("symbols"), "symbols")]
    return [item for item in found if status in (None, item.status)]


def _one_or_many(call: Call, view: Callable[[Call, str], Any]) -> Any:
    rows = [view(call, item.symbol) for item in _asked(call)]
    return rows[0] if "symbol" in call.params else rows


def execution_rules(call: Call) -> dict[str, Any]:
    """GET executionRules."""

    def rules(symbol: str) -> list[dict[str, Any]]:
        given = call.world.engine.market.tapes[symbol].price_range
        return [{"ruleType": "PRICE_RANGE", **given}] if given else []

    rows = [{"symbol": item.symbol, "rules": rules(item.symbol)} for item in _asked(call)]
    return {"symbolRules": rows}


def reference_price(call: Call) -> dict[str, Any]:
    """GET referencePrice; -2043 where none was ever set."""
    symbol = call.symbol()
    tape = call.world.engine.market.tapes[symbol]
    if not tape.has_reference:
        raise ApiError(-2043, "This symbol doesn't have a reference price.")
    price = None if tape.reference is None else text(tape.reference)
    return {"symbol": symbol, "referencePrice": price, "timestamp": tape.reference_time}


def depth(call: Call) -> dict[str, Any]:
    """GET depth."""
    symbol = call.symbol()
    _asked(call)
    return depth_view(call, symbol, call.params.limit(100, 5000))


def depth_view(call: Call, symbol: str, limit: int) -> dict[str, Any]:
    engine, instrument = call.world.engine, call.world.instruments[symbol]

    def side(name: str) -> list[list[str]]:
        levels = engine.books[symbol].levels(name, limit)
        return [[text(price), text(size, instrument.base_places)] for price, size in levels]

    update = engine.market.tapes[symbol].update_id
    return {"lastUpdateId": update, "bids": side("buy"), "asks": side("sell")}


def depth_weight(raw: dict[str, str]) -> int:
    limit = raw.get("limit", "100")
    asked = int(limit) if limit.isdecimal() else 100
    return next((weight for top, weight in _WEIGHT_STEPS if asked <= top), 250)


def trades(call: Call) -> list[dict[str, Any]]:
    """GET trades, and historicalTrades with fromId."""
    symbol = call.symbol()
    tape = call.world.engine.market.tapes[symbol].trades
    places = call.world.instruments[symbol].base_places
    limit, first = call.params.limit(500, 1000), call.params.integer("fromId")
    if first is None:
        return [trade_row(trade, places) for trade in tape[-limit:]]
    return [trade_row(trade, places) for trade in tape if trade.trade_id >= first][:limit]


def agg_trades(call: Call) -> list[dict[str, Any]]:
    """GET aggTrades."""
    params, symbol = call.params, call.symbol()
    places = call.world.instruments[symbol].base_places
    rows = aggregates(call.world.engine.market.tapes[symbol].trades, places)
    first, start, end = params.integer("fromId"), params.time("startTime"), params.time("endTime")
    if first is not None and (start is not None or end is not None):
        raise ApiError(-1128, "Combination of optional parameters invalid.")
    rows = [row for row in rows if first is None or row["a"] >= first]
    rows = [row for row in rows if start is None or row["T"] >= start]
    rows = [row for row in rows if end is None or row["T"] <= end]
    limit = params.limit(500, 1000)
    return rows[-limit:] if first is None and start is None else rows[:limit]


def klines(call: Call) -> list[list[Any]]:
    """GET klines."""
    params, symbol = call.params, call.symbol()
    interval = params.choice("interval", INTERVALS, ApiError(-1120, "Invalid interval."))
    start, end = params.time("startTime"), params.time("endTime")
    market = call.world.engine.market
    return market.klines(symbol, interval, start, end, params.limit(500, 1000))


def average_price(call: Call) -> dict[str, Any]:
    """GET avgPrice."""
    symbol, market = call.symbol(), call.world.engine.market
    price = market.average(symbol, 5) or market.last(symbol) or ZERO
    tape = market.tapes[symbol]
    return {"mins": 5, "price": text(price), "closeTime": tape.times[-1] if tape.times else 0}


def ticker_price(call: Call) -> Any:
    def view(call: Call, symbol: str) -> dict[str, str]:
        return {"symbol": symbol, "price": text(call.world.engine.market.last(symbol) or ZERO)}

    return _one_or_many(call, view)


def ticker_book(call: Call) -> Any:
    return _one_or_many(call, book_view)


def book_view(call: Call, symbol: str) -> dict[str, str]:
    """The touch; an empty side is zero."""
    places = call.world.instruments[symbol].base_places
    book = call.world.engine.books[symbol]
    bid = next(iter(book.levels("buy", 1)), (ZERO, ZERO))
    ask = next(iter(book.levels("sell", 1)), (ZERO, ZERO))
    return {
        "symbol": symbol,
        "bidPrice": text(bid[0]),
        "bidQty": text(bid[1], places),
        "askPrice": text(ask[0]),
        "askQty": text(ask[1], places),
    }


def ticker_day(call: Call) -> Any:
    """GET ticker/24hr, FULL or MINI."""
    kind = call.params.optional("type") or "FULL"
    if kind not in ("FULL", "MINI"):
        raise ApiError(-1130, "Data sent for parameter 'type' is not valid.")
    view = _full_day if kind == "FULL" else _mini_day
    return _one_or_many(call, view)


def ticker_weight(single: int, all_: int) -> Callable[[dict[str, str]], int]:
    return lambda raw: single if "symbol" in raw else all_


def ticker_day_weight(raw: dict[str, str]) -> int:
    if "symbol" in raw:
        return 2
    count = raw["symbols"].count(",") + 1 if "symbols" in raw else 101
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _last_day(call: Call, symbol: str) -> tuple[int, list[PublicTrade]]:
    now = call.world.now()
    return now, list(call.world.engine.market.since(symbol, now - DAY_MS))


def _mini_day(call: Call, symbol: str) -> dict[str, Any]:
    now, seen = _last_day(call, symbol)
    prices = [trade.price for trade in seen] or [call.world.engine.market.last(symbol) or ZERO]
    return {
        "symbol": symbol,
        "openPrice": text(prices[0]),
        "highPrice": text(max(prices)),
        "lowPrice": text(min(prices)),
        "lastPrice": text(prices[-1]),
        "volume": text(volume(seen), call.world.instruments[symbol].base_places),
        "quoteVolume": text(quote_volume(seen)),
        "openTime": now - DAY_MS,
        "closeTime": now,
        "firstId": seen[0].trade_id if seen else -1,
        "lastId": seen[-1].trade_id if seen else -1,
        "count": len(seen),
    }


def _full_day(call: Call, symbol: str) -> dict[str, Any]:
    mini = _mini_day(call, symbol)
    _, seen = _last_day(call, symbol)
    first = seen[0].price if seen else ZERO
    change = seen[-1].price - first if seen else ZERO
    traded = volume(seen)
    before = text(first)
    touch = {key: value for key, value in book_view(call, symbol).items() if key != "symbol"}
    return {
        **mini,
        "priceChange": text(change),
        "priceChangePercent": text(change / first * 100 if first else ZERO, 3),
        "weightedAvgPrice": text(quote_volume(seen) / traded if traded else ZERO),
        "prevClosePrice": before,
        "lastQty": text(
            seen[-1].quantity if seen else ZERO, call.world.instruments[symbol].base_places
        ),
        **touch,
    }
