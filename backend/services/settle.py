"""Settle: book what an exchange says of an order, however often and in whatever order.

One function takes every piece of news: the answer to a submit, an event of the
private stream, a look-up, an operator's word. It is idempotent. Fills are booked in any
state; an order ends for us only when the exchange says so and the booked fills add up to
its final quantity (Law 6).

| news                        | durable before        | if we die here        | twice, late      |
|-----------------------------|-----------------------|-----------------------|------------------|
| accepted, filled            | order `sending`       | looked up by our id   | fills are unique |
| rejected                    | order `sending`       | looked up: absent     | no legal edge    |
| nothing left the machine    | order `sending`       | looked up: absent     | no legal edge    |
| no answer                   | order `sending`       | looked up             | stays `unknown`  |
| fill after a terminal state | fills, terminal state | same news comes again | fills are unique |
| live after `absent`         | `absent`              | same news comes again | cancelled again  |
"""

from dataclasses import dataclass

from backend.database import Transaction
from backend.domain import ledger as arithmetic
from backend.domain.clock import to_row
from backend.domain.money import to_text
from backend.domain.order import FINAL, Fill, OrderReport, OrderState, TimeInForce
from backend.domain.trade import FailReason, TradeStatus
from backend.store import accounts, audit, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow
from backend.store.trades import Trade

_NOT_THERE = frozenset({OrderState.ABSENT, OrderState.NOT_SENT, OrderState.REJECTED})
_FAILED_AS = {
    OrderState.REJECTED: FailReason.REJECTED,
    OrderState.NOT_SENT: FailReason.NOT_SENT,
    OrderState.ABSENT: FailReason.ABSENT,
    OrderState.CANCELLED: FailReason.ORDER_CANCELLED,
    OrderState.EXPIRED: FailReason.ORDER_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What a piece of news leaves to do.

    Attributes:
        changed: anything was written.
        fills_missing: the exchange reports more filled than we have booked: fetch them.
        cancel_now: the order lives although we had ended it: cancel it at once.
    """

    changed: bool = False
    fills_missing: bool = False
    cancel_now: bool = False


def is_news(tx: Transaction, report: OrderReport) -> bool:
    """Say whether settling this report could change anything: spares the writer's lock."""
    order = orders.find(tx, report.client_order_id)
    if order is None:
        return False
    if order.filled_quantity < report.filled_quantity or order.not_found:
        return True
    if order.state in FINAL and order.state not in _NOT_THERE and not report.fills:
        return False
    booked = {f.exchange_fill_id: f for f in orders.fills(tx, order.trade_id)}
    if any(booked.get(fill.exchange_fill_id) != fill for fill in report.fills):
        return True
    return order.state is not report.state and (
        order.state not in FINAL or order.state in _NOT_THERE
    )


def report(tx: Transaction, account: Account, news: OrderReport, source: str) -> Settled:
    """Settle what the exchange reports of one order of ours.

    An order of our form without a row of ours is foreign: nothing is attached.

    Args:
        source: `submit`, `stream`, `look-up`: for the audit.
    """
    order = orders.find(tx, news.client_order_id)
    if order is None or order.account != account.number:
        return Settled()
    trade = trades.get(tx, order.trade_id)
    same = (news.symbol, news.side) == (trade.symbol, trade.side)
    if same and news.quantity < trade.quantity:
        # Some exchanges add an order up from its parts, and a part may lag behind the rest.
        return Settled()
    if not same or news.quantity != trade.quantity:
        incident(tx, account, trade, "the exchange has another order under its id")
        return Settled(True)
    new_fills = [fill for fill in news.fills if _book(tx, account, trade, fill)]
    order = orders.absorb(tx, order, news, new_fills)
    if new_fills and order.filled_quantity > trade.quantity:
        incident(tx, account, trade, "more was filled than was ordered")
    told = trade.quantity if news.state is OrderState.FILLED else order.reported_quantity
    missing = order.filled_quantity < max(told, order.reported_quantity)
    if order.state in FINAL:
        return _after_the_end(tx, account, trade, order, news, source, new_fills, missing)
    moved, status = _advance(tx, trade, order, news, missing)
    if new_fills or moved:
        # An end lets go what the exchange had locked: what it holds is asked for again.
        ended = bool(new_fills) or moved in FINAL
        touch = accounts.touch_postings if ended else accounts.touch_ledger
        touch(tx, account.number)
        _audit(tx, account, source, order, moved, status, news, new_fills)
    return Settled(bool(new_fills or moved), fills_missing=missing)


def rejected(tx: Transaction, account: Account, trade_id: str, code: str) -> None:
    """End an order that the exchange refused, by a code of its closed list."""
    _never_lived(tx, account, trade_id, OrderState.REJECTED, code)


def not_sent(tx: Transaction, account: Account, trade_id: str, why: str) -> None:
    """End an order of which no byte left."""
    _never_lived(tx, account, trade_id, OrderState.NOT_SENT, why)


def absent(tx: Transaction, account: Account, trade_id: str, evidence: str) -> None:
    """End an order that is proven not to exist at the exchange."""
    unknown(tx, account, trade_id, "no answer")
    _never_lived(tx, account, trade_id, OrderState.ABSENT, evidence)


def unknown(
    tx: Transaction,
    account: Account,
    trade_id: str,
    why: str,
    exchange_order_id: str | None = None,
) -> None:
    """Write down that nobody answered. The hold stays; reconcile looks it up.

    Args:
        exchange_order_id: where the answer named it, though it proved nothing else.
    """
    named = {"exchange_order_id": exchange_order_id} if exchange_order_id else {}
    if orders.move(tx, trade_id, OrderState.UNKNOWN, **named):
        accounts.touch_ledger(tx, account.number)
        audit.append(
            tx, "order.unknown", "system", account=account.number, trade_id=trade_id, why=why
        )


def _never_lived(
    tx: Transaction, account: Account, trade_id: str, state: OrderState, why: str
) -> None:
    order = orders.get(tx, trade_id)
    # Fills outweigh any word: an order with fills did live.
    if order.filled_quantity or not orders.move(tx, trade_id, state, exchange_code=why[:200]):
        return
    _finish(tx, trades.get(tx, trade_id), order, state)
    accounts.touch_postings(tx, account.number)
    audit.append(
        tx, f"order.{state}", "system", account=account.number, trade_id=trade_id, why=why[:200]
    )


def _book(tx: Transaction, account: Account, trade: Trade, fill: Fill) -> bool:
    """Book one fill once. Returns whether it was new."""
    known = orders.add_fill(tx, account.number, trade.id, fill)
    if known is not None:
        if known["trade_id"] != trade.id:
            incident(tx, account, trade, f"fill {fill.exchange_fill_id} is another order's too")
        elif not orders.same_fill(known, fill):
            incident(tx, account, trade, f"fill {fill.exchange_fill_id} came with other numbers")
        return False
    moved = arithmetic.movements(fill, trade.base, trade.quote_currency)
    short = ledger.post(tx, account.number, trade.id, fill.exchange_fill_id, moved)
    held = ledger.position(tx, account.number, trade.symbol)
    after = held.after(fill, trade.base, trade.quote_currency)
    ledger.set_position(tx, account.number, trade.symbol, after)
    if short:
        incident(tx, account, trade, f"the fill left the account short of {', '.join(short)}")
    return True


def _advance(
    tx: Transaction, trade: Trade, order: OrderRow, news: OrderReport, missing: bool
) -> tuple[OrderState | None, TradeStatus]:
    """Move order and trade as far as the evidence carries.

    Returns:
        the order's new state, None when it stays, and the trade's status after it.
    """
    if news.state in FINAL and not missing:
        state = news.state
        if state is OrderState.REJECTED and order.filled_quantity:
            state = OrderState.CANCELLED
        code = {"exchange_code": news.reason[:200]} if news.reason else {}
        if orders.move(tx, trade.id, state, **code):
            return state, _finish(tx, trade, order, state)
        return None, trade.status
    partly = OrderState.PARTIALLY_FILLED if order.filled_quantity else OrderState.OPEN
    moved = partly if orders.move(tx, trade.id, partly) else None
    if trade.status is TradeStatus.EXECUTING:
        trades.move(tx, trade.id, TradeStatus.WORKING)
    return moved, TradeStatus.WORKING


def _finish(tx: Transaction, trade: Trade, order: OrderRow, state: OrderState) -> TradeStatus:
    """End the trade with its order: what was filled decides, then the hold is given back."""
    if order.filled_quantity:
        status, reason = TradeStatus.EXECUTED, None
    else:
        status, reason = TradeStatus.FAILED, _fail_reason(trade, order, state)
    trades.move(tx, trade.id, status, reason)
    ledger.void(tx, trade.account, trade.id)
    return status


def _fail_reason(trade: Trade, order: OrderRow, state: OrderState) -> str:
    at_once = trade.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    ended = state in (OrderState.CANCELLED, OrderState.EXPIRED)
    if at_once and ended and order.cancel_requested_at is None:
        return FailReason.NOT_FILLED.value
    return _FAILED_AS[state].value


def _after_the_end(
    tx: Transaction,
    account: Account,
    trade: Trade,
    order: OrderRow,
    news: OrderReport,
    source: str,
    new_fills: list[Fill],
    missing: bool,
) -> Settled:
    """Take news of an order that we had ended. Terminal never goes back."""
    state, lives = order.state, news.state not in FINAL
    if new_fills:
        incident(tx, account, trade, f"filled after it had ended as {state}")
        # Only an order that we thought never lived can bring its failed trade back.
        trades.move(tx, trade.id, TradeStatus.EXECUTED)
        accounts.touch_postings(tx, account.number)
        _audit(tx, account, source, order, None, TradeStatus.EXECUTED, news, new_fills)
    if lives and state in _NOT_THERE:
        incident(tx, account, trade, f"live at the exchange after it had ended as {state}")
        if order.cancel_requested_at is None:
            orders.update(tx, trade.id, cancel_requested_at=to_row(tx.now))
    return Settled(bool(new_fills), fills_missing=missing, cancel_now=lives and state in _NOT_THERE)


def incident(tx: Transaction, account: Account, trade: Trade, what: str) -> None:
    """Write down a contradiction and take no new risk on the account until it is settled."""
    if what in (trades.get(tx, trade.id).incident or ""):
        return
    trades.note_incident(tx, trade.id, what)
    accounts.set_break(tx, account.number, f"{trade.id}: {what}")
    audit.append(tx, "incident", "system", account=account.number, trade_id=trade.id, what=what)


def _audit(
    tx: Transaction,
    account: Account,
    source: str,
    order: OrderRow,
    moved: OrderState | None,
    status: TradeStatus,
    news: OrderReport,
    new_fills: list[Fill],
) -> None:
    audit.append(
        tx,
        "order.settled",
        "system",
        account=account.number,
        trade_id=order.trade_id,
        source=source,
        state=(moved or order.state).value,
        status=status.value,
        filled=to_text(order.filled_quantity),
        fills=[
            [f.exchange_fill_id, to_text(f.quantity), to_text(f.price), to_text(f.fee)]
            for f in new_fills
        ],
        exchange_order_id=news.exchange_order_id,
    )
