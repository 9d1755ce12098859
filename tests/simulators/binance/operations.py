"""The operations of the exchange as data: REST route, WebSocket method, weight, parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import public, queries, trading
from .world import Call

Weight = int | Callable[[dict[str, str]], int]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    `security` is "none", "read" (signed) or "trade" (signed, key may trade); `kind` names it for
    scripted faults; `free` operations cost no weight when they succeed.
    """

    name: str
    handler: Callable[[Call], Any]
    weight: Weight
    params: tuple[str, ...] = ()
    security: str = "none"
    kind: str | None = None
    free: bool = False

    def cost(self, raw: dict[str, str]) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(raw)


_SYMBOLS = ("symbol", "symbols", "symbolStatus")
_IDS = ("symbol", "orderId", "origClientOrderId")
_SPAN = ("startTime", "endTime", "limit")


def _public(name: str, handler: Callable[[Call], Any], weight: Weight, *params: str) -> Operation:
    return Operation(name, handler, weight, params)


def _read(name: str, handler: Callable[[Call], Any], weight: Weight, *params: str) -> Operation:
    return Operation(name, handler, weight, params, "read", "query")


def _trade(
    name: str, handler: Callable[[Call], Any], kind: str, params: tuple[str, ...]
) -> Operation:
    return Operation(name, handler, 1, params, "trade", kind, free=True)


_INFO = ("permissions", "showPermissionSets")
OPERATIONS = {
    operation.name: operation
    for operation in (
        _public("ping", public.ping, 1),
        _public("time", public.server_time, 1),
        _public("exchangeInfo", public.exchange_info, 20, *_SYMBOLS, *_INFO),
        _public("executionRules", public.execution_rules, 40, *_SYMBOLS),
        _public("referencePrice", public.reference_price, 2, "symbol"),
        _public("depth", public.depth, public.depth_weight, "symbol", "limit", "symbolStatus"),
        _public("trades.recent", public.trades, 25, "symbol", "limit"),
        _public("trades.historical", public.trades, 25, "symbol", "limit", "fromId"),
        _public("trades.aggregate", public.agg_trades, 4, "symbol", "fromId", *_SPAN),
        _public("klines", public.klines, 2, "symbol", "interval", *_SPAN),
        _public("uiKlines", public.klines, 2, "symbol", "interval", *_SPAN),
        _public("avgPrice", public.average_price, 2, "symbol"),
        _public("ticker.24hr", public.ticker_day, public.ticker_day_weight, *_SYMBOLS, "type"),
        _public("ticker.price", public.ticker_price, public.ticker_weight(2, 4), *_SYMBOLS),
        _public("ticker.book", public.ticker_book, public.ticker_weight(2, 4), *_SYMBOLS),
        _trade("order.place", trading.place, "order", trading.NEW_ORDER),
        Operation(
            "order.test",
            trading.test,
            lambda raw: 20 if raw.get("computeCommissionRates") == "true" else 1,
            (*trading.NEW_ORDER, "computeCommissionRates"),
            "trade",
        ),
        _trade("order.cancel", trading.cancel, "cancel", trading.CANCEL),
        _trade("openOrders.cancelAll", trading.cancel_all, "cancel", ("symbol",)),
        _trade("order.cancelReplace", trading.replace, "order", trading.REPLACE),
        Operation("order.amend.keepPriority", trading.amend, 4, trading.AMEND, "trade", "amend"),
        _read("order.status", queries.order, 4, *_IDS),
        _read(
            "openOrders.status", queries.open_orders, lambda r: 6 if "symbol" in r else 80, "symbol"
        ),
        _read("allOrders", queries.all_orders, 20, "symbol", "orderId", *_SPAN),
        _read(
            "myTrades",
            queries.my_trades,
            queries.my_trades_weight,
            "symbol",
            "orderId",
            "fromId",
            *_SPAN,
        ),
        _read("account.status", queries.account, 20, "omitZeroBalances"),
        _read("account.commission", queries.commission, 20, "symbol"),
        _read("account.rateLimits.orders", queries.order_limits, 40),
        _read("myFilters", queries.my_filters, 40, "symbol"),
        _read("apiRestrictions", queries.restrictions, 1),
        _read("coins", queries.coins, 10),
    )
}

ROUTES = {
    ("GET", "/api/v3/ping"): "ping",
    ("GET", "/api/v3/time"): "time",
    ("GET", "/api/v3/exchangeInfo"): "exchangeInfo",
    ("GET", "/api/v3/executionRules"): "executionRules",
    ("GET", "/api/v3/referencePrice"): "referencePrice",
    ("GET", "/api/v3/depth"): "depth",
    ("GET", "/api/v3/trades"): "trades.recent",
    ("GET", "/api/v3/historicalTrades"): "trades.historical",
    ("GET", "/api/v3/aggTrades"): "trades.aggregate",
    ("GET", "/api/v3/klines"): "klines",
    ("GET", "/api/v3/uiKlines"): "uiKlines",
    ("GET", "/api/v3/avgPrice"): "avgPrice",
    ("GET", "/api/v3/ticker/24hr"): "ticker.24hr",
    ("GET", "/api/v3/ticker/price"): "ticker.price",
    ("GET", "/api/v3/ticker/bookTicker"): "ticker.book",
    ("POST", "/api/v3/order"): "order.place",
    ("POST", "/api/v3/order/test"): "order.test",
    ("GET", "/api/v3/order"): "order.status",
    ("DELETE", "/api/v3/order"): "order.cancel",
    ("GET", "/api/v3/openOrders"): "openOrders.status",
    ("DELETE", "/api/v3/openOrders"): "openOrders.cancelAll",
    ("POST", "/api/v3/order/cancelReplace"): "order.cancelReplace",
    ("PUT", "/api/v3/order/amend/keepPriority"): "order.amend.keepPriority",
    ("GET", "/api/v3/allOrders"): "allOrders",
    ("GET", "/api/v3/myTrades"): "myTrades",
    ("GET", "/api/v3/account"): "account.status",
    ("GET", "/api/v3/account/commission"): "account.commission",
    ("GET", "/api/v3/rateLimit/order"): "account.rateLimits.orders",
    ("GET", "/api/v3/myFilters"): "myFilters",
}
LIVE_ROUTES = {
    ("GET", "/sapi/v1/account/apiRestrictions"): "apiRestrictions",
    ("GET", "/sapi/v1/capital/config/getall"): "coins",
}
METHODS = frozenset(OPERATIONS) - set(LIVE_ROUTES.values())
