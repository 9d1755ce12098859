"""Which call is which: method, path, the operation's name in fault scripts, the right it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulators.bitstamp import account_api, order_api, public_api
from tests.simulators.bitstamp.calls import Call

ROOT = "/api/v2/"
_M = r"(?P<market>[^/]+)"
_SIDE = r"(?P<side>buy|sell)"


@dataclass(frozen=True, slots=True)
class Route:
    """One call. `right` is "" where it is public."""

    method: str
    path: re.Pattern[str]
    operation: str
    right: str
    handle: Callable[[Call], Any]


def _public(path: str, operation: str, handle: Callable[[Call], Any]) -> Route:
    return Route("GET", re.compile(ROOT + path), operation, "", handle)


def _post(path: str, operation: str, right: str, handle: Callable[[Call], Any]) -> Route:
    return Route("POST", re.compile(ROOT + path), operation, right, handle)


ROUTES = (
    _public("currencies/", "currencies", public_api.currencies),
    _public("markets/", "markets", public_api.markets),
    _public("trading-pairs-info/", "trading_pairs_info", public_api.trading_pairs_info),
    _public("ticker/", "ticker", public_api.tickers),
    _public(f"(?P<span>ticker|ticker_hour)/{_M}/", "ticker", public_api.ticker),
    _public(f"order_book/{_M}/", "order_book", public_api.order_book),
    _public(f"transactions/{_M}/", "transactions", public_api.transactions),
    _public(f"ohlc/{_M}/", "ohlc", public_api.ohlc),
    Route("GET", re.compile(f"{ROOT}my_markets/"), "my_markets", "read", account_api.my_markets),
    _post("account_balances/", "account_balances", "read", account_api.account_balances),
    _post(
        "account_balances/(?P<currency>[^/]+)/",
        "account_balances",
        "read",
        account_api.account_balances,
    ),
    _post(f"fees/trading/(?:{_M}/)?", "fees", "read", account_api.trading_fees),
    _post(
        f"user_transactions/(?:{_M}/)?", "user_transactions", "read", account_api.user_transactions
    ),
    _post("websockets_token/", "websockets_token", "read", account_api.websockets_token),
    _post("account_order_data/", "account_order_data", "read", account_api.account_order_data),
    _post("withdrawal-requests/", "withdrawal", "withdraw", account_api.withdrawal),
    _post("[a-z0-9]+_withdrawal/", "withdrawal", "withdraw", account_api.withdrawal),
    _post(f"{_SIDE}/market/{_M}/", "submit", "trade", order_api.place_market),
    _post(f"{_SIDE}/instant/{_M}/", "submit", "trade", order_api.place_instant),
    _post(f"{_SIDE}/{_M}/", "submit", "trade", order_api.place_limit),
    _post("order_status/", "order_status", "read", order_api.order_status),
    _post("open_orders/(?:all/)?", "open_orders", "read", order_api.open_orders),
    _post(f"open_orders/{_M}/", "open_orders", "read", order_api.open_orders),
    _post("cancel_order/", "cancel", "trade", order_api.cancel_order),
    _post(f"cancel_all_orders/(?:{_M}/)?", "cancel_all", "trade", order_api.cancel_all_orders),
    _post("replace_order/", "replace", "trade", order_api.replace_order),
)


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a request and the names in its path; None if there is none."""
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match and route.method == method:
            return route, {k: v for k, v in match.groupdict().items() if v is not None}
    return None
