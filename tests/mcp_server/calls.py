"""One call of each tool: what is given, what the backend must see, what it answers."""

from dataclasses import dataclass, field
from typing import Any

from tests.mcp_server.fake_backend import TRADE_ID

_PLAN = {
    "trade_id": TRADE_ID,
    "status": "pending",
    "environment": "paper",
    "account_id": "paper:main",
    "exchange": "paper",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": 10,
    "order_type": "limit",
    "time_in_force": "gtc",
    "limit_price": 215.4,
    "stop_price": None,
    "price": 215.4,
    "expires_at": "2026-05-26T10:15:41-04:00",
    "checks": [],
}
_EXECUTED = {
    "trade_id": TRADE_ID,
    "status": "working",
    "executed_price": None,
    "new_position": None,
}


@dataclass(frozen=True)
class Call:
    """`arguments` lead to `method path?params` with `body`; `answer` is a valid result."""

    arguments: dict[str, Any]
    method: str
    path: str
    answer: dict[str, Any]
    params: dict[str, str] = field(default_factory=dict)
    body: Any = None


CALLS = {
    "plan_trade": Call(
        {
            "symbol": "AAPL",
            "side": "buy",
            "quantity": 10,
            "order_type": "limit",
            "limit_price": 215.4,
            "time_in_force": "gtc",
            "account_id": "paper:main",
            "request_id": "r1",
        },
        "POST",
        "/api/v1/trading/trades",
        _PLAN,
        body={
            "symbol": "AAPL",
            "side": "buy",
            "quantity": 10,
            "order_type": "limit",
            "limit_price": "215.4",
            "time_in_force": "gtc",
            "account_id": "paper:main",
            "request_id": "r1",
        },
    ),
    "execute_trade": Call(
        {"trade_id": TRADE_ID, "action": "confirm"},
        "POST",
        f"/api/v1/trading/trades/{TRADE_ID}/confirm",
        _EXECUTED,
    ),
    "get_trade": Call(
        {"trade_id": TRADE_ID},
        "GET",
        f"/api/v1/trading/trades/{TRADE_ID}",
        _PLAN | {"fills": [], "order": None, "reason": None, "next": None},
    ),
    "list_trades": Call(
        {"status": "pending", "symbol": "BTC/USD", "account_id": "paper:main", "cursor": "c"},
        "GET",
        "/api/v1/trading/trades",
        {"trades": [_PLAN], "next_cursor": None},
        params={
            "status": "pending",
            "symbol": "BTC/USD",
            "account_id": "paper:main",
            "limit": "20",
            "cursor": "c",
        },
    ),
    "get_order": Call(
        {"trade_id": TRADE_ID},
        "GET",
        f"/api/v1/trading/orders/{TRADE_ID}",
        {"trade_id": TRADE_ID, "state": "open", "filled_quantity": 0},
    ),
    "list_orders": Call(
        {},
        "GET",
        "/api/v1/trading/orders",
        {"orders": [], "next_cursor": "n"},
        params={"status": "open", "limit": "20"},
    ),
    "cancel_order": Call(
        {"trade_id": TRADE_ID},
        "DELETE",
        f"/api/v1/trading/orders/{TRADE_ID}",
        {"trade_id": TRADE_ID, "state": "open", "cancel_requested": True},
    ),
    "portfolio_status": Call(
        {"account_id": "paper:main"},
        "GET",
        "/api/v1/portfolio",
        {"account_id": "paper:main", "balance": 99840.12, "equity": None, "positions": []},
        params={"account_id": "paper:main"},
    ),
    "list_accounts": Call(
        {"exchange": "paper"},
        "GET",
        "/api/v1/accounts",
        {"accounts": [{"account_id": "paper:main"}]},
        params={"exchange": "paper"},
    ),
    "get_account_info": Call(
        {"account_id": "paper:main", "symbol": "AAPL"},
        "GET",
        "/api/v1/accounts/paper:main",
        {"account_id": "paper:main", "instruments": [], "instrument_count": 5},
        params={"symbol": "AAPL"},
    ),
    "list_markets": Call(
        {"exchange": "paper", "query": "apple"},
        "GET",
        "/api/v1/markets",
        {"markets": [], "next_cursor": None},
        params={"exchange": "paper", "query": "apple", "limit": "50"},
    ),
    "get_market": Call(
        {"symbol": "BTC/USD", "account_id": "paper:main"},
        "GET",
        "/api/v1/markets/BTC/USD",
        {"symbol": "BTC/USD", "tick_size": 0.01, "max_notional": None},
        params={"account_id": "paper:main"},
    ),
    "list_currencies": Call({}, "GET", "/api/v1/currencies", {"currencies": [{"currency": "USD"}]}),
    "get_price": Call(
        {"symbol": "AAPL"},
        "GET",
        "/api/v1/prices/AAPL",
        {"symbol": "AAPL", "bid": 215.38, "ask": 215.4},
    ),
    "risk_status": Call(
        {},
        "GET",
        "/api/v1/risk/status",
        {"account_id": "paper:main", "checks": [], "kill_switches": []},
    ),
    "engage_kill_switch": Call(
        {"reason": "the operator said stop"},
        "POST",
        "/api/v1/risk/kill-switch",
        {"scope": "account", "engaged": True},
        body={"reason": "the operator said stop", "scope": "account", "cancel_orders": True},
    ),
}
