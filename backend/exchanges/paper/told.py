"""What the paper exchange tells of its book: reports, history, fills, events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from backend.database import Row, Transaction
from backend.domain.clock import to_row
from backend.domain.money import stored
from backend.domain.order import Fill, OrderReport, OrderState
from backend.exchanges.paper.book import Booked, booked_of, fill_of, find


def report(transaction: Transaction, booked: Booked) -> OrderReport:
    """Return the order as it is, with all its fills."""
    rows = transaction.rows(
        "SELECT * FROM fills INDEXED BY fills_order"
        " WHERE account = ? AND order_number = ? ORDER BY number",
        (booked.account, booked.working.number),
    )
    order = booked.working
    fills = tuple(fill_of(row, booked) for row in rows)
    return _report(booked, order.state, order.filled, fills, booked.reason)


def history(
    transaction: Transaction, account: str, symbol: str, since: datetime
) -> list[OrderReport]:
    """Return the orders of `symbol` placed since, oldest first."""
    rows = transaction.rows(
        "SELECT * FROM orders WHERE account = ? AND symbol = ? AND placed_at >= ? ORDER BY number",
        (account, symbol, to_row(since)),
    )
    return [report(transaction, booked_of(row)) for row in rows]


def fills(transaction: Transaction, account: str, symbol: str, since: datetime) -> list[Fill]:
    """Return the fills of `symbol` executed since, in the order they were made."""
    rows = transaction.rows(
        "SELECT f.*, o.client_order_id FROM fills f"
        " JOIN orders o ON o.account = f.account AND o.number = f.order_number"
        " WHERE f.account = ? AND o.symbol = ? AND f.executed_at >= ? ORDER BY f.number",
        (account, symbol, to_row(since)),
    )
    found: list[Fill] = []
    for row in rows:
        booked = find(transaction, account, row["client_order_id"])
        assert booked is not None
        found.append(fill_of(row, booked))
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """One stored event; `sequence` grows by one."""

    sequence: int
    report: OrderReport


def events(transaction: Transaction, account: str, after: int, at_most: int = 500) -> list[Told]:
    """Return the account's next events after that sequence number."""
    rows = transaction.rows(
        "SELECT e.*, o.client_order_id FROM events e"
        " JOIN orders o ON o.account = e.account AND o.number = e.order_number"
        " WHERE e.account = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?",
        (account, after, at_most),
    )
    return [_event(transaction, account, row) for row in rows]


def last_event(transaction: Transaction, account: str) -> int:
    """Return the sequence number of the account's newest event; 0 when there is none."""
    row = transaction.row(
        "SELECT sequence FROM events WHERE account = ? ORDER BY sequence DESC LIMIT 1", (account,)
    )
    return 0 if row is None else int(row["sequence"])


def _event(transaction: Transaction, account: str, row: Row) -> Told:
    booked = find(transaction, account, row["client_order_id"])
    assert booked is not None
    fill = transaction.row(
        "SELECT * FROM fills WHERE account = ? AND number = ?", (account, row["fill_number"])
    )
    told = () if fill is None else (fill_of(fill, booked),)
    state, filled = OrderState(row["state"]), stored(row["filled"])
    return Told(row["sequence"], _report(booked, state, filled, told, row["reason"]))


def _report(
    booked: Booked, state: OrderState, filled: Decimal, told: Sequence[Fill], reason: str
) -> OrderReport:
    order = booked.working
    return OrderReport(
        client_order_id=booked.client_order_id,
        exchange_order_id=f"paper-{order.number}",
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        state=state,
        filled_quantity=filled,
        fills=tuple(told),
        reason=reason,
    )
