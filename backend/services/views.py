"""How trades and orders look to the outside: one place for every key and its order."""

from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.money import ZERO, padded, shown
from backend.domain.order import FINAL, Fill, OrderState, Side
from backend.domain.trade import TradeStatus
from backend.store import accounts, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow
from backend.store.trades import Trade

NEXT = {
    TradeStatus.PENDING: "execute_trade with confirm or cancel before expires_at",
    TradeStatus.EXECUTING: "get_trade until the status is final; do not plan again",
    TradeStatus.WORKING: "get_trade to follow it, cancel_order to stop it",
    TradeStatus.EXECUTED: "portfolio_status shows the result",
    TradeStatus.CANCELLED: "plan_trade again if the order is still wanted",
    TradeStatus.EXPIRED: "plan_trade again at the current price",
    TradeStatus.FAILED: "read reason; a new plan_trade is safe",
}


def money(value: Decimal) -> Decimal:
    """Return an amount of money as it is shown: at least two decimals, never rounded."""
    return padded(value, 2)


def trade_view(tx: Transaction, trade: Trade, account: Account | None = None) -> dict[str, Any]:
    """Return the whole trade: the plan's keys first, then what became of it."""
    account = account or accounts.by_number(tx, trade.account)
    order = orders.find(tx, trade.id)
    view = _plan_part(tx, trade, account)
    view.update(_outcome_part(tx, trade, order))
    return view


def _plan_part(tx: Transaction, trade: Trade, account: Account) -> dict[str, Any]:
    decimals = trade.price_decimals
    reserved = {h.currency: h.reserved for h in ledger.holds(tx, trade.id)}
    view: dict[str, Any] = {
        "trade_id": trade.id,
        "status": trade.status,
        "environment": account.environment,
        "account_id": account.id,
        "exchange": account.exchange,
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": padded(trade.quantity, 0),
        "order_type": trade.order_type,
        "time_in_force": trade.time_in_force,
        "limit_price": _price(trade.limit_price, decimals),
        "stop_price": _price(trade.stop_price, decimals),
        "price": padded(trade.price, decimals),
        "total": money(trade.price * trade.quantity),
        "worst_price": padded(trade.worst_price, decimals),
        "band_bps": padded(trade.band_bps, 0),
        "quote": trade.quote,
        "fee": money(trade.fee),
        "fee_currency": trade.fee_currency,
        "reserved_buying_power": money(reserved.get(trade.quote_currency, ZERO)),
        "buying_power": money(trade.buying_power),
        "created_at": to_et(trade.created_at),
        "expires_at": to_et(trade.expires_at),
        "expires_in_s": max(int((trade.expires_at - tx.now).total_seconds()), 0),
        "approval": _approval(trade),
        "checks": trade.checks,
    }
    if trade.side is Side.SELL:
        view["reserved"] = {"currency": trade.base, "quantity": padded(trade.quantity, 0)}
    if trade.order_expires_at:
        view["order_expires_at"] = to_et(trade.order_expires_at)
    if trade.request_id:
        view["request_id"] = trade.request_id
    return view


def _price(value: Decimal | None, decimals: int) -> Decimal | None:
    return None if value is None else padded(value, decimals)


def _approval(trade: Trade) -> dict[str, Any]:
    if not trade.approval_required:
        return {"required": False}
    approval: dict[str, Any] = {"required": True, "approved": trade.approved_by is not None}
    if trade.approved_by and trade.approved_at:
        approval.update(by=trade.approved_by, at=to_et(trade.approved_at))
    else:
        approval["how"] = f"an operator runs: exec-mcp approve {trade.id}"
    return approval


def _outcome_part(tx: Transaction, trade: Trade, order: OrderRow | None) -> dict[str, Any]:
    filled = order.filled_quantity if order else ZERO
    booked = orders.fills(tx, trade.id) if filled else []
    view: dict[str, Any] = {
        "filled_quantity": padded(filled, 0),
        "executed_price": average_price(order, trade.price_decimals),
        "fills": [fill_view(fill, trade.price_decimals) for fill in booked],
        "order": order_view(trade, order) if order else None,
        "claimed_at": to_et(trade.claimed_at) if trade.claimed_at else None,
        "finished_at": to_et(trade.finished_at) if trade.finished_at else None,
        "reason": trade.reason,
        "next": NEXT[trade.status],
    }
    if trade.incident:
        view["incident"] = trade.incident
    return view


def average_price(order: OrderRow | None, decimals: int) -> Decimal | None:
    """Return the average price of what was filled, None when nothing was."""
    if order is None or not order.filled_quantity:
        return None
    return shown(order.filled_notional / order.filled_quantity, decimals)


def fill_view(fill: Fill, decimals: int) -> dict[str, Any]:
    """Return the JSON object of one fill."""
    return {
        "fill_id": fill.exchange_fill_id,
        "quantity": padded(fill.quantity, 0),
        "price": padded(fill.price, decimals),
        "fee": money(fill.fee),
        "fee_currency": fill.fee_currency,
        "liquidity": fill.liquidity,
        "executed_at": to_et(fill.executed_at),
    }


def order_view(trade: Trade, order: OrderRow) -> dict[str, Any]:
    """Return the order's own state."""
    return {
        "state": order.state,
        "exchange_order_id": order.exchange_order_id,
        "client_order_id": order.trade_id,
        "filled_quantity": padded(order.filled_quantity, 0),
        "remaining_quantity": padded(
            ZERO if order.state in FINAL else trade.quantity - order.filled_quantity, 0
        ),
        "cancel_requested": order.cancel_requested_at is not None,
        "sent_at": None if order.state is OrderState.NOT_SENT else to_et(order.sign_time),
        "updated_at": to_et(order.updated_at),
    }


def whole_order(tx: Transaction, trade: Trade) -> dict[str, Any] | None:
    """Return an order as `get_order` and `list_orders` show it; None when there is none."""
    order = orders.find(tx, trade.id)
    if order is None:
        return None
    account = accounts.by_number(tx, trade.account)
    return {
        "trade_id": trade.id,
        "status": trade.status,
        "environment": account.environment,
        "account_id": account.id,
        "exchange": account.exchange,
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": padded(trade.quantity, 0),
        "order_type": trade.order_type,
        "time_in_force": trade.time_in_force,
        "limit_price": _price(trade.limit_price, trade.price_decimals),
        "stop_price": _price(trade.stop_price, trade.price_decimals),
        **order_view(trade, order),
        "executed_price": average_price(order, trade.price_decimals),
        "fills": [fill_view(f, trade.price_decimals) for f in orders.fills(tx, trade.id)],
        "order_expires_at": to_et(trade.order_expires_at) if trade.order_expires_at else None,
        "reason": trade.reason,
        "next": NEXT[trade.status],
    }


def load(tx: Transaction, trade_id: str) -> dict[str, Any]:
    """Return the whole view of a trade that is known to exist."""
    return trade_view(tx, trades.get(tx, trade_id))


def confirmed(tx: Transaction, trade: Trade, account: Account, order: OrderRow) -> dict[str, Any]:
    """Return what a confirm answers: the outcome, the new balance and the new position."""
    booked = orders.fills(tx, trade.id)
    position = ledger.position(tx, trade.account, trade.symbol)
    average = position.avg_price
    cash = ledger.funds(tx, trade.account, trade.quote_currency)
    executed_at = booked[-1].executed_at if booked else None
    view: dict[str, Any] = {
        "trade_id": trade.id,
        "status": trade.status,
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": padded(trade.quantity, 0),
        "executed_price": average_price(order, trade.price_decimals),
        "total": money(order.filled_notional),
        "executed_at": to_et(executed_at) if executed_at else None,
        "new_balance": money(cash.total),
        "new_position": {
            "symbol": trade.symbol,
            "quantity": padded(position.quantity, 0),
            "avg_price": shown(average, trade.price_decimals) if average is not None else None,
        },
        "environment": account.environment,
        "account_id": account.id,
        "filled_quantity": padded(order.filled_quantity, 0),
        "fee": money(sum((f.fee for f in booked), ZERO)),
        "fee_currency": booked[0].fee_currency if booked else trade.fee_currency,
        "exchange_order_id": order.exchange_order_id,
        "order_state": order.state,
        "reason": trade.reason,
        "next": NEXT[trade.status],
    }
    if trade.incident:
        view["incident"] = trade.incident
    return view
