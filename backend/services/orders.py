"""Live orders: look at them, and ask for their cancel."""

from collections.abc import Sequence
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_row
from backend.domain.errors import NO_ANSWER, NotFound, Refused
from backend.domain.money import to_text
from backend.domain.trade import TradeStatus
from backend.exchanges import Exchange
from backend.services import Desk, views
from backend.services.execution import ANSWER_WITHIN_S, request_cancel, take_report
from backend.services.lookup import visible
from backend.store import audit, orders, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade


async def cancel_order(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Ask for the cancel of a live order. The flag stays until the order is final.

    Returns:
        the order; `cancel_requested` is true, and its state is what is known now.

    Raises:
        NotFound: no such trade within reach, or it never became an order.
        Refused: `order_not_open`, when the order is already final.
    """

    def body(tx: Transaction) -> tuple[Trade, Account]:
        trade, account = visible(tx, caller, trade_id)
        _flag_cancel(tx, trade, account, caller.principal)
        return trade, account

    trade, account = await desk.database.write(body)
    await ask_for_cancel(desk, account, trade)
    order = await desk.database.read(lambda tx: views.whole_order(tx, trades.get(tx, trade_id)))
    assert order is not None
    return order


async def ask_for_cancel(desk: Desk, account: Account, trade: Trade) -> None:
    """Ask the exchange to cancel a flagged order and look at it, for at most 10 s."""
    exchange = await desk.exchange(account)
    work = _cancel_and_look(desk, account, exchange, trade)
    await desk.tasks.see_through(work, f"cancel {trade.id}", ANSWER_WITHIN_S)


def _flag_cancel(tx: Transaction, trade: Trade, account: Account, actor: str) -> None:
    order = orders.find(tx, trade.id)
    if order is None:
        raise NotFound()
    if trade.status not in (TradeStatus.EXECUTING, TradeStatus.WORKING):
        raise Refused(
            f"the order is already {order.state}; nothing to cancel",
            "order_not_open",
            current_status=trade.status,
            trade_id=trade.id,
            trade=views.trade_view(tx, trade, account),
        )
    flag_cancel(tx, order, actor)


def flag_cancel(tx: Transaction, order: orders.OrderRow, actor: str) -> None:
    """Write down that this order shall be cancelled, once."""
    if order.cancel_requested_at is None:
        orders.update(tx, order.trade_id, cancel_requested_at=to_row(tx.now))
        audit.append(
            tx,
            "order.cancel_requested",
            actor,
            account=order.account,
            trade_id=order.trade_id,
            filled=to_text(order.filled_quantity),
        )


async def _cancel_and_look(desk: Desk, account: Account, exchange: Exchange, trade: Trade) -> None:
    order = await desk.database.read(lambda tx: orders.get(tx, trade.id))
    await request_cancel(exchange, trade.id, trade.symbol, order.exchange_order_id)
    try:
        found = await exchange.find(trade.id, trade.symbol, order.exchange_order_id)
    except NO_ANSWER:
        return  # No evidence: reconcile asks again.
    if found is not None:
        await take_report(desk, account, exchange, found, "look-up")


async def list_orders(
    desk: Desk,
    numbers: Sequence[int],
    *,
    status: str,
    symbol: str | None,
    limit: int,
    before: int | None,
) -> dict[str, Any]:
    """Return a page of orders, newest first. `status` is `open`, `all` or an order state."""

    def body(tx: Transaction) -> dict[str, Any]:
        found, following = orders.page(
            tx,
            numbers,
            live_only=status == "open",
            state=None if status in ("open", "all") else status,
            symbol=symbol,
            before=before,
            limit=limit,
        )
        return {
            "orders": [views.whole_order(tx, trades.get(tx, trade_id)) for trade_id in found],
            "next_cursor": None if following is None else str(following),
        }

    return await desk.database.read(body)


async def get_order(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Return the order of a trade.

    Raises:
        NotFound: no such trade, or it never became an order.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        trade, _ = visible(tx, caller, trade_id)
        order = views.whole_order(tx, trade)
        if order is None:
            raise NotFound()
        return order

    return await desk.database.read(body)
