"""Trades and orders over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Answer, Call, Route
from backend.domain.instrument import normalise_symbol
from backend.domain.order import OrderState, OrderType, Side, TimeInForce
from backend.domain.trade import FailReason, TradeStatus
from backend.services import accounts, approval, execution, lookup, orders, risk, trading
from backend.services.trading import PlanRequest

_READ = ("read", "trade", "approve", "admin")
_LIMIT = Field("limit", "whole", "how many at most", default=20, most=100)
_CURSOR = Field("cursor", "whole", "next_cursor of the page before", most=10**11)
_ACCOUNT = Field("account_id", "text", "exchange:identifier; left out: all that you see")
_SYMBOL = Field("symbol", "text", "only this instrument")

PLAN = (
    Field("symbol", "text", "such as AAPL or BTC/USD", required=True),
    Field("side", "choice", "buy or sell", required=True, choices=tuple(Side)),
    Field("quantity", "number", "base units", required=True),
    Field("order_type", "choice", "default market", default="market", choices=tuple(OrderType)),
    Field("limit_price", "number", "for limit and stop_limit"),
    Field("stop_price", "number", "for stop and stop_limit"),
    Field(
        "time_in_force", "choice", "default ioc for market, else gtc", choices=tuple(TimeInForce)
    ),
    Field("account_id", "text", "exchange:identifier"),
    Field("request_id", "text", "yours; the same one answers the same trade"),
)


async def plan(call: Call) -> Answer:
    given = dict(call.fields)
    request = PlanRequest(
        **{
            **given,
            "side": Side(given["side"]),
            "order_type": OrderType(given["order_type"]),
            "time_in_force": TimeInForce(given["time_in_force"])
            if given["time_in_force"]
            else None,
        }
    )
    trade, new = await trading.plan(call.desk, call.caller, request)
    return Answer(201 if new else 200, trade)


async def list_trades(call: Call) -> Any:
    return await lookup.list_trades(
        call.desk,
        await _numbers(call),
        status=call.fields["status"],
        symbol=_symbol(call),
        limit=call.fields["limit"],
        before=call.fields["cursor"],
    )


async def get_trade(call: Call) -> Any:
    return await lookup.look_up(call.desk, call.caller, call.path["trade_id"])


async def confirm(call: Call) -> Answer:
    trade = await execution.confirm(call.desk, call.caller, call.path["trade_id"])
    status = trade["status"]
    if status == TradeStatus.EXECUTING:
        return Answer(202, trade)
    if status != TradeStatus.FAILED:
        return Answer(200, trade)
    return _failed(trade)


_FAILURES = {
    FailReason.REJECTED: (422, "exchange_rejected", "the exchange refused the order"),
    FailReason.NOT_SENT: (503, "exchange_unavailable", "the exchange was not reached"),
    FailReason.NOT_FILLED: (422, "not_filled", "the order ended with nothing filled"),
    FailReason.ORDER_CANCELLED: (422, "not_filled", "the order was cancelled, nothing filled"),
    FailReason.ORDER_EXPIRED: (422, "not_filled", "the order expired, nothing filled"),
    FailReason.ABSENT: (422, "not_filled", "the order never reached the exchange"),
}


def _failed(trade: dict[str, Any]) -> Answer:
    status, code, detail = _FAILURES[trade["reason"]]
    problem = {
        "code": code,
        "detail": f"{detail}; the reservation is released and a new plan_trade is safe",
        "trade_id": trade["trade_id"],
        "current_status": trade["status"],
        "reason": trade["reason"],
        "trade": trade,
    }
    return Answer(status, problem, problem=True)


async def cancel(call: Call) -> Any:
    return await trading.cancel(call.desk, call.caller, call.path["trade_id"])


async def approve(call: Call) -> Any:
    return await approval.approve(call.desk, call.caller, call.path["trade_id"])


async def reject(call: Call) -> Any:
    return await approval.reject(call.desk, call.caller, call.path["trade_id"])


async def settle(call: Call) -> Any:
    return await risk.settle_by_hand(
        call.desk,
        call.caller,
        call.path["trade_id"],
        call.fields["outcome"],
        call.fields["reason"],
    )


async def list_orders(call: Call) -> Any:
    return await orders.list_orders(
        call.desk,
        await _numbers(call),
        status=call.fields["status"],
        symbol=_symbol(call),
        limit=call.fields["limit"],
        before=call.fields["cursor"],
    )


async def get_order(call: Call) -> Any:
    return await orders.get_order(call.desk, call.caller, call.path["trade_id"])


async def cancel_order(call: Call) -> Answer:
    order = await orders.cancel_order(call.desk, call.caller, call.path["trade_id"])
    return Answer(202 if order["status"] == TradeStatus.EXECUTING else 200, order)


def _symbol(call: Call) -> str | None:
    text = call.fields["symbol"]
    return normalise_symbol(text) if text else None


async def _numbers(call: Call) -> list[int]:
    """Return which accounts a list covers: the named one, or all within reach."""
    account_id = call.fields["account_id"]
    if account_id is not None:
        return [(await accounts.find(call.desk, call.caller, account_id)).number]
    return [a.number for a in await accounts.reachable(call.desk, call.caller)]


_STATUSES = Field("status", "choice", "only in this status", choices=tuple(TradeStatus))
_STATES = Field(
    "status",
    "choice",
    "open (default), all, or an order state",
    default="open",
    choices=("open", "all", *(s for s in OrderState if s != "open")),
)
_OUTCOME = (
    Field("outcome", "choice", "what you found at the exchange", True, choices=("absent",)),
    Field("reason", "text", "for the audit", required=True),
)
_TRADES, _ORDERS = "/trading/trades", "/trading/orders"
_ONE = _TRADES + "/{trade_id}"

ROUTES = (
    Route("POST", _TRADES, ("trade",), plan, "Plan a trade", body=PLAN, statuses=(201, 200)),
    Route(
        "GET",
        _TRADES,
        _READ,
        list_trades,
        "List trades, newest first",
        query=(_STATUSES, _SYMBOL, _ACCOUNT, _LIMIT, _CURSOR),
    ),
    Route("GET", _ONE, _READ, get_trade, "Get the whole trade"),
    Route(
        "POST",
        _ONE + "/confirm",
        ("trade",),
        confirm,
        "Execute a pending trade, at most once",
        statuses=(200, 202, 422, 503),
    ),
    Route("DELETE", _ONE, ("trade", "approve"), cancel, "Cancel a pending trade", urgent=True),
    Route("POST", _ONE + "/approve", ("approve",), approve, "Approve exactly this plan"),
    Route("POST", _ONE + "/reject", ("approve",), reject, "Reject a pending plan", urgent=True),
    Route("POST", _ONE + "/settle", ("admin",), settle, "Settle by hand", body=_OUTCOME),
    Route(
        "GET",
        _ORDERS,
        _READ,
        list_orders,
        "List orders, newest first",
        query=(_STATES, _SYMBOL, _ACCOUNT, _LIMIT, _CURSOR),
    ),
    Route("GET", _ORDERS + "/{trade_id}", _READ, get_order, "Get the order of a trade"),
    Route(
        "DELETE",
        _ORDERS + "/{trade_id}",
        ("trade", "approve"),
        cancel_order,
        "Ask for the cancel of a live order",
        statuses=(200, 202),
        urgent=True,
    ),
)
