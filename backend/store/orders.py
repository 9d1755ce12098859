"""Orders and their fills: what left, what the exchange says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.database import Row, Transaction
from backend.domain.clock import from_row, from_row_or_none, to_row
from backend.domain.money import ZERO, stored, to_text
from backend.domain.order import ORDER_EDGES, Fill, OrderReport, OrderState, Side
from backend.store import window

_BEFORE = {
    after: tuple(before for before, edges in ORDER_EDGES.items() if after in edges)
    for after in OrderState
}


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One row of `orders`.

    Attributes:
        filled_quantity, filled_notional: sums over the booked fills, exact.
        reported_quantity: the largest filled quantity the exchange has told us of.
        exchange_code: the exchange's own reason for a refusal or cancellation.
        not_found: how many "not found" answers count towards absence so far.
    """

    trade_id: str
    account: int
    state: OrderState
    sign_time: datetime
    valid_until: datetime
    exchange_order_id: str | None
    filled_quantity: Decimal
    filled_notional: Decimal
    reported_quantity: Decimal
    exchange_code: str | None
    cancel_requested_at: datetime | None
    not_found: int
    looked_up_at: datetime | None
    updated_at: datetime


def _order(row: Row) -> OrderRow:
    return OrderRow(
        trade_id=row["trade_id"],
        account=row["account"],
        state=OrderState(row["state"]),
        sign_time=from_row(row["sign_time"]),
        valid_until=from_row(row["valid_until"]),
        exchange_order_id=row["exchange_order_id"],
        filled_quantity=stored(row["filled_quantity"]),
        filled_notional=stored(row["filled_notional"]),
        reported_quantity=stored(row["reported_quantity"]),
        exchange_code=row["exchange_code"],
        cancel_requested_at=from_row_or_none(row["cancel_requested_at"]),
        not_found=row["not_found"],
        looked_up_at=from_row_or_none(row["looked_up_at"]),
        updated_at=from_row(row["updated_at"]),
    )


def insert_sending(
    tx: Transaction, trade_id: str, account: int, sign_time: datetime, valid_until: datetime
) -> None:
    """Write down that the order may leave, and until when it could be accepted (Law 5)."""
    tx.insert(
        "orders",
        {
            "trade_id": trade_id,
            "account": account,
            "state": OrderState.SENDING.value,
            "sign_time": to_row(sign_time),
            "valid_until": to_row(valid_until),
            "filled_quantity": "0",
            "filled_notional": "0",
            "reported_quantity": "0",
            "updated_at": to_row(tx.now),
        },
    )


def find(tx: Transaction, trade_id: str) -> OrderRow | None:
    """Return the order of a trade, or None when it never got so far."""
    row = tx.row("SELECT * FROM orders WHERE trade_id = ?", (trade_id,))
    return _order(row) if row else None


def get(tx: Transaction, trade_id: str) -> OrderRow:
    """Return an order that is known to exist."""
    order = find(tx, trade_id)
    assert order is not None, f"the order of {trade_id} is referred to and missing"
    return order


def move(tx: Transaction, trade_id: str, after: OrderState, **columns: Any) -> bool:
    """Move to `after` if that edge is legal from the present state. Returns whether it was.

    Args:
        columns: further columns to set, as they are stored.
    """
    marks = ",".join(f"'{state}'" for state in _BEFORE[after])
    sets = "".join(f", {name} = :{name}" for name in columns)
    return (
        tx.execute(
            f"UPDATE orders SET state = :state, updated_at = :now, version = version + 1{sets}"  # noqa: S608
            f" WHERE trade_id = :trade_id AND state IN ({marks})",
            {"trade_id": trade_id, "state": after.value, "now": to_row(tx.now), **columns},
        )
        == 1
    )


def update(tx: Transaction, trade_id: str, **columns: Any) -> None:
    """Set columns other than the state, as they are stored."""
    sets = "".join(f", {name} = :{name}" for name in columns)
    tx.execute(
        f"UPDATE orders SET updated_at = :now, version = version + 1{sets}"  # noqa: S608
        " WHERE trade_id = :trade_id",
        {"trade_id": trade_id, "now": to_row(tx.now), **columns},
    )


def absorb(
    tx: Transaction, order: OrderRow, news: OrderReport, new_fills: Sequence[Fill]
) -> OrderRow:
    """Add freshly booked fills to the order, and what the report tells beside its state."""
    after = replace(
        order,
        exchange_order_id=order.exchange_order_id or news.exchange_order_id,
        filled_quantity=order.filled_quantity + sum((f.quantity for f in new_fills), ZERO),
        filled_notional=order.filled_notional
        + sum((f.quantity * f.price for f in new_fills), ZERO),
        reported_quantity=max(order.reported_quantity, news.filled_quantity),
        not_found=0,
    )
    if after != order:
        update(
            tx,
            order.trade_id,
            exchange_order_id=after.exchange_order_id,
            filled_quantity=to_text(after.filled_quantity),
            filled_notional=to_text(after.filled_notional),
            reported_quantity=to_text(after.reported_quantity),
            not_found=0,
        )
    return after


def live(tx: Transaction, account: int) -> list[OrderRow]:
    """Return the account's orders that are not final, oldest first."""
    rows = tx.rows(
        "SELECT * FROM orders WHERE account = ?"
        " AND state IN ('sending', 'unknown', 'open', 'partially_filled') ORDER BY sign_time",
        (account,),
    )
    return [_order(row) for row in rows]


def newest_filled(tx: Transaction, account: int) -> OrderRow | None:
    """Return the account's newest final order that filled something since the exchange's reset."""
    row = tx.row(
        "SELECT o.* FROM fills f JOIN orders o ON o.trade_id = f.trade_id WHERE f.account = ?"
        " AND f.exchange_order_id NOT LIKE 'before %'"
        " AND o.state NOT IN ('sending', 'unknown', 'open', 'partially_filled')"
        " ORDER BY f.booked_at DESC LIMIT 1",
        (account,),
    )
    return _order(row) if row else None


def absent_since(tx: Transaction, account: int, since: datetime) -> list[OrderRow]:
    """Return the account's orders that were found absent since then."""
    rows = tx.rows(
        "SELECT * FROM orders WHERE account = ? AND state = 'absent' AND updated_at > ?",
        (account, to_row(since)),
    )
    return [_order(row) for row in rows]


def add_fill(tx: Transaction, account: int, trade_id: str | None, fill: Fill) -> Row | None:
    """Store a fill once. Returns the row that was already there, or None when it is new."""
    key = (account, fill.symbol, fill.exchange_order_id, fill.exchange_fill_id)
    before = tx.row(
        "SELECT * FROM fills WHERE account = ? AND symbol = ?"
        " AND exchange_order_id = ? AND exchange_fill_id = ?",
        key,
    )
    if before:
        return before
    tx.insert(
        "fills",
        {
            "account": account,
            "symbol": fill.symbol,
            "exchange_order_id": fill.exchange_order_id,
            "exchange_fill_id": fill.exchange_fill_id,
            "trade_id": trade_id,
            "side": fill.side.value,
            "quantity": to_text(fill.quantity),
            "price": to_text(fill.price),
            "fee": to_text(fill.fee),
            "fee_currency": fill.fee_currency,
            "liquidity": fill.liquidity,
            "executed_at": to_row(fill.executed_at),
            "booked_at": to_row(tx.now),
        },
    )
    return None


def retire_fills(tx: Transaction, account: int) -> None:
    """Free the ids of the account's fills: an exchange that was reset gives them out again."""
    tx.execute(
        "UPDATE fills SET exchange_order_id = 'before ' || ? || ': ' || exchange_order_id"
        " WHERE account = ? AND exchange_order_id NOT LIKE 'before %'",
        (to_row(tx.now), account),
    )


def same_fill(row: Row, fill: Fill) -> bool:
    """Say whether a fill reported again carries the numbers we booked."""
    return (
        stored(row["quantity"]) == fill.quantity
        and stored(row["price"]) == fill.price
        and stored(row["fee"]) == fill.fee
        and row["fee_currency"] == fill.fee_currency
        and row["side"] == fill.side
    )


def fills(tx: Transaction, trade_id: str) -> list[Fill]:
    """Return the booked fills of a trade, in the order they happened."""
    rows = tx.rows(
        "SELECT * FROM fills WHERE trade_id = ? ORDER BY executed_at, exchange_fill_id", (trade_id,)
    )
    return [_fill(row) for row in rows]


def known_fill_ids(
    tx: Transaction, account: int, symbol: str, ids: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return which of these (exchange_order_id, exchange_fill_id) are booked to a trade."""
    return {
        pair
        for pair in ids
        if tx.value(
            "SELECT 1 FROM fills WHERE account = ? AND symbol = ? AND exchange_order_id = ?"
            " AND exchange_fill_id = ? AND trade_id IS NOT NULL",
            (account, symbol, *pair),
        )
    }


def _fill(row: Row) -> Fill:
    return Fill(
        exchange_order_id=row["exchange_order_id"],
        exchange_fill_id=row["exchange_fill_id"],
        client_order_id=row["trade_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=stored(row["quantity"]),
        price=stored(row["price"]),
        fee=stored(row["fee"]),
        fee_currency=row["fee_currency"],
        liquidity=row["liquidity"],
        executed_at=from_row(row["executed_at"]),
    )


def page(
    tx: Transaction,
    accounts: Sequence[int],
    *,
    live_only: bool,
    state: str | None = None,
    symbol: str | None = None,
    before: int | None = None,
    limit: int = 20,
) -> tuple[list[str], int | None]:
    """Return trade ids of orders, newest first, and the number to go on before (None: all).

    As `trades.page`, one page looks at 10,000 trades at most.
    """
    top, floor = window.bounds(tx, "trades", "number", before)
    if live_only:
        floor = 0  # They have an index of their own: all are looked at.
    marks = ",".join(str(int(account)) for account in accounts) or "NULL"
    states = (
        "o.state IN ('sending', 'unknown', 'open', 'partially_filled')"
        if live_only
        else "(:state IS NULL OR o.state = :state)"
    )
    source = (
        "orders o CROSS JOIN trades t ON t.id = o.trade_id"
        if live_only
        else "trades t CROSS JOIN orders o ON o.trade_id = t.id"
    )
    rows = tx.rows(
        f"SELECT t.number, t.id FROM {source}"  # noqa: S608
        f" WHERE o.account IN ({marks}) AND {states} AND t.number < :top AND t.number > :floor"
        " AND (:symbol IS NULL OR t.symbol = :symbol) ORDER BY t.number DESC LIMIT :limit",
        {"top": top, "floor": floor, "state": state, "symbol": symbol, "limit": limit + 1},
    )
    found = [row["id"] for row in rows[:limit]]
    return found, window.following(rows, limit, floor, "number")
