"""Plan, confirm, look up and cancel: the two-phase flow."""

from typing import Annotated

from fastmcp.tools import ToolResult, tool
from pydantic import Field

from mcp_server import answers
from mcp_server.backend_client import AnswerLost, NotReached, backend
from mcp_server.parsing import (
    Number,
    OptionalNumber,
    is_trade_id,
    number,
    optional_number,
    parse_action,
)
from mcp_server.tools import COMMIT, READ, RESERVE, TRADING, ask, output

# A plan is answered as the whole trade: a repeated request_id finds it in any state.
_TRADE = {
    "trade_id": "string",
    "status": "string",
    "environment": "string",
    "account_id": "string",
    "exchange": "string",
    "symbol": "string",
    "side": "string",
    "quantity": "number",
    "order_type": "string",
    "time_in_force": "string",
    "limit_price": "number?",
    "stop_price": "number?",
    "price": "number?",
    "total": "number?",
    "worst_price": "number?",
    "band_bps": "number?",
    "quote": "object?",
    "fee": "number?",
    "fee_currency": "string?",
    "reserved_buying_power": "number?",
    "reserved": "object?",
    "buying_power": "number?",
    "created_at": "string",
    "expires_at": "string?",
    "expires_in_s": "number?",
    "order_expires_at": "string?",
    "approval": "object?",
    "checks": "array?",
    "request_id": "string?",
    "filled_quantity": "number",
    "executed_price": "number?",
    "fills": "array",
    "order": "object?",
    "claimed_at": "string?",
    "finished_at": "string?",
    "reason": "string?",
    "next": "string?",
    "incident": "string?",
}
_RESULT = {
    "trade_id": "string",
    "status": "string",
    "environment": "string",
    "account_id": "string",
    "symbol": "string",
    "side": "string",
    "quantity": "number",
    "executed_price": "number?",
    "total": "number?",
    "executed_at": "string?",
    "new_balance": "number?",
    "new_position": "object?",
    "filled_quantity": "number?",
    "fee": "number?",
    "fee_currency": "string?",
    "exchange_order_id": "string?",
    "order_state": "string?",
    "cancelled_at": "string?",
    "released_buying_power": "number?",
    "released": "object?",
    "reason": "string?",
    "next": "string?",
    "incident": "string?",
}
_ORDER = {
    "trade_id": "string",
    "status": "string",
    "environment": "string",
    "account_id": "string",
    "exchange": "string",
    "symbol": "string",
    "side": "string",
    "quantity": "number",
    "order_type": "string",
    "time_in_force": "string",
    "limit_price": "number?",
    "stop_price": "number?",
    "state": "string",
    "exchange_order_id": "string?",
    "client_order_id": "string",
    "filled_quantity": "number",
    "remaining_quantity": "number?",
    "cancel_requested": "boolean",
    "sent_at": "string?",
    "updated_at": "string?",
    "executed_price": "number?",
    "fills": "array",
    "order_expires_at": "string?",
    "reason": "string?",
    "next": "string?",
}

TradeId = Annotated[str, Field(description="The trade_id from plan_trade.")]


@tool(
    title="Plan a trade",
    description=(
        "First half of every trade: check an order, lock its price and reserve buying power. "
        "Nothing is bought or sold. Show the operator every number, the environment and "
        "expires_at (60 s), then call execute_trade with their answer. Give request_id to make "
        "a repeat safe."
    ),
    annotations=RESERVE,
    tags=TRADING,
    output_schema=output("trade_id", "status", **_TRADE),
)
async def plan_trade(
    symbol: Annotated[str, Field(description="AAPL or BTC/USD; see list_markets.")],
    side: Annotated[str, Field(description="buy or sell.")],
    quantity: Annotated[Number, Field(description="Base units. A string keeps every digit.")],
    order_type: Annotated[str, Field(description="market, limit, stop or stop_limit.")] = "market",
    limit_price: OptionalNumber = None,
    stop_price: OptionalNumber = None,
    time_in_force: Annotated[
        str | None,
        Field(description="day, gtc, ioc or fok. Default: ioc for market, else gtc."),
    ] = None,
    account_id: str | None = None,
    request_id: Annotated[
        str | None, Field(description="Your own id: the same one answers the same trade.")
    ] = None,
) -> ToolResult:
    """Reserve buying power for an order and lock its price."""
    body = {
        "symbol": symbol,
        "side": side,
        "quantity": number("quantity", quantity),
        "order_type": order_type,
        "limit_price": optional_number("limit_price", limit_price),
        "stop_price": optional_number("stop_price", stop_price),
        "time_in_force": time_in_force,
        "account_id": account_id,
        "request_id": request_id,
    }
    return await ask("POST", "/trading/trades", body=body)


@tool(
    title="Confirm or cancel a trade",
    description=(
        "Second half of every trade: confirm a pending trade at its locked price, or cancel it "
        "and release the reserved buying power. Confirm only after the operator's explicit yes. "
        "If status is unknown or executing, call get_trade; never plan again."
    ),
    annotations=COMMIT,
    tags=TRADING,
    output_schema=output("trade_id", "status", **_RESULT),
)
async def execute_trade(
    trade_id: TradeId,
    action: Annotated[str, Field(description="confirm or cancel.")],
) -> ToolResult:
    """Confirm a pending trade, once, or cancel it."""
    confirming = parse_action(action) == "confirm"
    if not is_trade_id(trade_id):
        return answers.missing()
    if confirming:
        return await _confirm(trade_id)
    return await ask("DELETE", f"/trading/trades/{trade_id}")


async def _confirm(trade_id: str) -> ToolResult:
    try:
        reply = await backend().call("POST", f"/trading/trades/{trade_id}/confirm")
    except NotReached:
        return answers.not_reached(trade_id)
    except AnswerLost:
        return answers.unknown(trade_id)
    return answers.confirm_answer(reply, trade_id)


@tool(
    title="Look up a trade",
    description=(
        "Read one trade whole: the plan, its status, fills, reason and what to do next. Call it "
        "after an unknown or executing outcome, until the status is executed, failed, cancelled "
        "or expired."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("trade_id", "status", **_TRADE),
)
async def get_trade(trade_id: TradeId) -> ToolResult:
    """Return a trade with everything known about it."""
    if not is_trade_id(trade_id):
        return answers.missing()
    return await ask("GET", f"/trading/trades/{trade_id}")


@tool(
    title="List trades",
    description=(
        "List trades, newest first. Use it to find a trade whose id was lost, or what is still "
        "pending. Pass next_cursor as cursor for the next page; filters must stay the same."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("trades", trades="array", next_cursor="string?"),
)
async def list_trades(
    status: Annotated[
        str | None,
        Field(description="pending, executing, working, executed, cancelled, expired or failed."),
    ] = None,
    symbol: str | None = None,
    account_id: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> ToolResult:
    """Return a page of trades."""
    params = {
        "status": status,
        "symbol": symbol,
        "account_id": account_id,
        "limit": limit,
        "cursor": cursor,
    }
    return await ask("GET", "/trading/trades", params=params)


@tool(
    title="Look up an order",
    description=(
        "Read the order a confirmed trade became: its state at the exchange, filled quantity and "
        "fills. Use it to follow a working order. A trade that was never confirmed has no order."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("trade_id", **_ORDER),
)
async def get_order(trade_id: TradeId) -> ToolResult:
    """Return the order of a trade."""
    if not is_trade_id(trade_id):
        return answers.missing()
    return await ask("GET", f"/trading/orders/{trade_id}")


@tool(
    title="List orders",
    description=(
        "List orders, newest first; by default those still open at an exchange. Cancel one with "
        "cancel_order. Pass next_cursor as cursor for the next page."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("orders", orders="array", next_cursor="string?"),
)
async def list_orders(
    status: Annotated[str, Field(description="open, or one order state.")] = "open",
    symbol: str | None = None,
    account_id: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> ToolResult:
    """Return a page of orders."""
    params = {
        "status": status,
        "symbol": symbol,
        "account_id": account_id,
        "limit": limit,
        "cursor": cursor,
    }
    return await ask("GET", "/trading/orders", params=params)


@tool(
    title="Cancel an order",
    description=(
        "Ask the exchange to cancel a working order. It may still fill meanwhile: look with "
        "get_order until its state is final. For a plan not yet confirmed use execute_trade with "
        "action cancel instead."
    ),
    annotations=COMMIT,
    tags=TRADING,
    output_schema=output("trade_id", **_ORDER),
)
async def cancel_order(trade_id: TradeId) -> ToolResult:
    """Request the cancellation of the order of a trade."""
    if not is_trade_id(trade_id):
        return answers.missing()
    return await ask("DELETE", f"/trading/orders/{trade_id}")
