"""Signed reads: orders, trades, account, limits, what a key may do."""

from typing import Any

from .accounts import account_view, coin_views, commission_view, restrictions_view
from .errors import ApiError
from .trading import read_ids
from .world import Call

_DAY_MS = 86_400_000
_TRADE_KEYS = ("orderId", "startTime", "endTime", "fromId")
_TRADE_COMBINATIONS: tuple[set[str], ...] = (
    set(),
    {"orderId"},
    {"startTime"},
    {"endTime"},
    {"fromId"},
    {"startTime", "endTime"},
    {"orderId", "fromId"},
)


def order(call: Call) -> dict[str, Any]:
    """GET order."""
    symbol = call.symbol()
    order_id, client_id = read_ids(call.params)
    world = call.world
    found = world.reads.find(call.caller.uid, symbol, order_id, client_id)
    if found is None:
        raise ApiError(-2013, "Order does not exist.")
    if None not in (order_id, client_id) and world.engine.views.shown_id(found) != client_id:
        raise ApiError(-2039, "Client order ID is not correct for this order ID.")
    return world.engine.views.queried(found)


def open_orders(call: Call) -> list[dict[str, Any]]:
    """GET openOrders, of one symbol or of all."""
    symbol = call.symbol() if "symbol" in call.params else None
    found = call.world.reads.open_orders(call.caller.uid, symbol)
    return [call.world.engine.views.queried(item) for item in found]


def all_orders(call: Call) -> list[dict[str, Any]]:
    """GET allOrders."""
    params, symbol = call.params, call.symbol()
    start, end, first = params.time("startTime"), params.time("endTime"), params.integer("orderId")
    _check_span(start, end)
    limit = params.limit(500, 1000)
    found = [
        item
        for item in call.world.reads.orders("allOrders", call.caller.uid, symbol)
        if (first is None or item.order_id >= first)
        and (start is None or item.time >= start)
        and (end is None or item.time <= end)
    ]
    from_oldest = first is not None or start is not None
    chosen = found[:limit] if from_oldest else found[-limit:]
    return [call.world.engine.views.queried(item) for item in chosen]


def my_trades(call: Call) -> list[dict[str, Any]]:
    """GET myTrades in one of the allowed combinations."""
    params, symbol = call.params, call.symbol()
    if {name for name in _TRADE_KEYS if name in params} not in _TRADE_COMBINATIONS:
        raise ApiError(-1128, "Combination of optional parameters invalid.")
    start, end = params.time("startTime"), params.time("endTime")
    _check_span(start, end)
    first, order_id = params.integer("fromId"), params.integer("orderId")
    limit = params.limit(500, 1000)
    found = [
        fill
        for fill in call.world.reads.fills(call.caller.uid, symbol)
        if (order_id is None or fill.order_id == order_id)
        and (first is None or fill.trade_id >= first)
        and (start is None or fill.time >= start)
        and (end is None or fill.time <= end)
    ]
    from_oldest = not {"orderId", "startTime", "fromId"}.isdisjoint(params.raw)
    chosen = found[:limit] if from_oldest else found[-limit:]
    return [call.world.engine.views.trade(fill) for fill in chosen]


def my_trades_weight(raw: dict[str, str]) -> int:
    return 5 if "orderId" in raw else 20


def account(call: Call) -> dict[str, Any]:
    """GET account."""
    omit = call.params.flag("omitZeroBalances", False)
    return account_view(call.caller, call.world.reads.balances(call.caller), omit)


def commission(call: Call) -> dict[str, Any]:
    """GET account/commission."""
    return commission_view(call.caller, call.symbol())


def order_limits(call: Call) -> list[dict[str, Any]]:
    """GET rateLimit/order."""
    call.caller.count.roll(call.world.now())
    return [window.counted() for window in call.caller.count.windows]


def my_filters(call: Call) -> dict[str, Any]:
    """GET myFilters: the only place that shows MAX_ASSET."""
    instrument = call.world.instruments[call.symbol()]
    assets = {instrument.base, instrument.quote}
    return {
        "exchangeFilters": exchange_filter_rows(call),
        "symbolFilters": instrument.row()["filters"],
        "assetFilters": [
            {"filterType": "MAX_ASSET", "asset": asset, "limit": format(limit, ".8f")}
            for asset, limit in call.caller.max_asset.items()
            if asset in assets
        ],
    }


def exchange_filter_rows(call: Call) -> list[dict[str, Any]]:
    """The account-wide filters as exchangeInfo shows them."""
    fields = {
        "EXCHANGE_MAX_NUM_ORDERS": "maxNumOrders",
        "EXCHANGE_MAX_NUM_ALGO_ORDERS": "maxNumAlgoOrders",
    }
    given = call.world.exchange_filters.items()
    return [{"filterType": name, fields[name]: limit} for name, limit in given]


def restrictions(call: Call) -> dict[str, Any]:
    """GET /sapi/v1/account/apiRestrictions."""
    return restrictions_view(call.caller, call.caller_key)


def coins(call: Call) -> list[dict[str, Any]]:
    """GET /sapi/v1/capital/config/getall."""
    listed = {a for item in call.world.instruments.values() for a in (item.base, item.quote)}
    return coin_views(call.caller, sorted(listed))


def _check_span(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and end - start > _DAY_MS:
        text = "Lookup interval is too big. More than 24 hours between startTime and endTime."
        raise ApiError(-1127, text)
