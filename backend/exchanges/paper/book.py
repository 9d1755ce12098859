"""The paper exchange's durable book: accounts, balances, orders, fills, events.

Every function runs inside one transaction of `paper.db` and commits with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlite_utils import Migrations

from backend.database import Row, Transaction, to_json
from backend.domain.clock import from_row, to_row
from backend.domain.ledger import fee_for, movements, reservation
from backend.domain.money import ZERO, stored, to_text
from backend.domain.order import Fill, Order, OrderState, OrderType, Side, TimeInForce
from backend.exchanges import Balance
from backend.exchanges.paper.instruments import Rules
from backend.exchanges.paper.matching import Step, Working
from backend.exchanges.paper.settings import read_settings

MIGRATIONS = Migrations("paper")


@MIGRATIONS()
def create_book(database: Any) -> None:
    """Create every table; text order is number order only where a column says INTEGER."""
    for statement in (
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        "CREATE TABLE accounts(account TEXT PRIMARY KEY, currency TEXT NOT NULL,"
        " opening TEXT NOT NULL, opened_at TEXT NOT NULL) STRICT",
        "CREATE TABLE balances(account TEXT NOT NULL REFERENCES accounts, currency TEXT NOT NULL,"
        " total TEXT NOT NULL, PRIMARY KEY(account, currency)) STRICT, WITHOUT ROWID",
        "CREATE TABLE orders(account TEXT NOT NULL REFERENCES accounts, number INTEGER NOT NULL,"
        " client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,"
        " quantity TEXT NOT NULL, order_type TEXT NOT NULL, time_in_force TEXT NOT NULL,"
        " limit_price TEXT NOT NULL, stop_price TEXT, expires_at TEXT, fee_price TEXT,"
        " state TEXT NOT NULL, filled TEXT NOT NULL, triggered INTEGER NOT NULL,"
        " reason TEXT NOT NULL, placed_at TEXT NOT NULL, matched_until TEXT NOT NULL,"
        " PRIMARY KEY(account, number)) STRICT, WITHOUT ROWID",
        # A client order id is unique for ever, whatever became of the order.
        "CREATE UNIQUE INDEX orders_client ON orders(account, client_order_id)",
        "CREATE INDEX orders_live ON orders(account, number)"
        " WHERE state IN ('open', 'partially_filled')",
        "CREATE TABLE fills(account TEXT NOT NULL, number INTEGER NOT NULL,"
        " order_number INTEGER NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL,"
        " fee TEXT NOT NULL, fee_currency TEXT NOT NULL, liquidity TEXT NOT NULL,"
        " executed_at TEXT NOT NULL, PRIMARY KEY(account, number),"
        " FOREIGN KEY(account, order_number) REFERENCES orders(account, number))"
        " STRICT, WITHOUT ROWID",
        "CREATE INDEX fills_order ON fills(account, order_number)",
        "CREATE TABLE events(account TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " order_number INTEGER NOT NULL, state TEXT NOT NULL, filled TEXT NOT NULL,"
        " fill_number INTEGER, reason TEXT NOT NULL, at TEXT NOT NULL,"
        " PRIMARY KEY(account, sequence)) STRICT, WITHOUT ROWID",
    ):
        database.execute(statement)


@dataclass(frozen=True, slots=True)
class Booked:
    """An order row with what matching needs of it.

    Attributes:
        fee_price: quote currency per unit of a third fee asset, as it was when placed.
        reason: why it ended; "" while it lives.
    """

    account: str
    client_order_id: str
    fee_price: Decimal | None
    reason: str
    working: Working


# --- accounts ---


def open_account(
    transaction: Transaction, account: str, currency: str, opening: Mapping[str, Decimal]
) -> bool:
    """Create the account, or say False when it exists with another opening.

    One that never traded is opened anew: it may be left from a deleted account.
    """
    text = to_json({c: to_text(total) for c, total in opening.items()})
    row = transaction.row("SELECT * FROM accounts WHERE account = ?", (account,))
    if row is not None and (row["opening"], row["currency"]) == (text, currency):
        return True
    if row is not None and has_traded(transaction, account):
        return False
    transaction.execute("DELETE FROM balances WHERE account = ?", (account,))
    transaction.execute("DELETE FROM accounts WHERE account = ?", (account,))
    transaction.insert(
        "accounts",
        {
            "account": account,
            "currency": currency,
            "opening": text,
            "opened_at": to_row(transaction.now),
        },
    )
    _set_totals(transaction, account, opening)
    return True


def has_account(transaction: Transaction, account: str) -> bool:
    """Say whether the exchange knows the account."""
    return transaction.row("SELECT 1 FROM accounts WHERE account = ?", (account,)) is not None


def has_traded(transaction: Transaction, account: str) -> bool:
    """Say whether the account ever had an order."""
    return _next(transaction, account, "orders", "number") > 1


def reset_account(transaction: Transaction, account: str) -> None:
    """Cancel what is live and put the balances back to the opening."""
    for booked in live(transaction, account):
        ended = replace(booked.working, state=OrderState.CANCELLED)
        step = Step(transaction.now, ended, reason="reset")
        record(transaction, booked, step, Rules({}, read_settings({})))  # It fills nothing.
    text = transaction.value("SELECT opening FROM accounts WHERE account = ?", (account,))
    transaction.execute("DELETE FROM balances WHERE account = ?", (account,))
    opening = {c: stored(total) for c, total in json.loads(text).items()}
    _set_totals(transaction, account, opening)


def totals(transaction: Transaction, account: str) -> dict[str, Decimal]:
    """Return what the account owns, by currency."""
    rows = transaction.rows(
        "SELECT currency, total FROM balances WHERE account = ? ORDER BY currency", (account,)
    )
    return {row["currency"]: stored(row["total"]) for row in rows}


def balances(transaction: Transaction, account: str, rules: Rules) -> list[Balance]:
    """Return every non-zero balance; free is the total without what live orders need."""
    held = _held(transaction, account, rules)
    return [
        Balance(currency, total, total - held.get(currency, ZERO))
        for currency, total in totals(transaction, account).items()
        if total or held.get(currency)
    ]


def free(transaction: Transaction, account: str, currency: str, rules: Rules) -> Decimal:
    """Return what the account may still commit of one currency."""
    total = totals(transaction, account).get(currency, ZERO)
    return total - _held(transaction, account, rules).get(currency, ZERO)


def _held(transaction: Transaction, account: str, rules: Rules) -> dict[str, Decimal]:
    held: dict[str, Decimal] = {}
    for booked in live(transaction, account):
        order = booked.working
        needs = reservation(
            order.side,
            order.remaining,
            order.limit_price,
            rules.of(order.symbol),
            rules.fees,
            booked.fee_price,
        )
        for currency, quantity in needs.items():
            held[currency] = held.get(currency, ZERO) + quantity
    return held


def _set_totals(transaction: Transaction, account: str, changed: Mapping[str, Decimal]) -> None:
    for currency, total in changed.items():
        transaction.execute(
            "INSERT INTO balances(account, currency, total) VALUES(?, ?, ?)"
            " ON CONFLICT(account, currency) DO UPDATE SET total = excluded.total",
            (account, currency, to_text(total)),
        )


# --- orders ---


def add(
    transaction: Transaction,
    account: str,
    order: Order,
    fee_price: Decimal | None,
    matched_until: datetime,
) -> Booked:
    """Insert a new order and return it; its client order id must be new."""
    number = _next(transaction, account, "orders", "number")
    terms = order.terms
    transaction.insert(
        "orders",
        {
            "account": account,
            "number": number,
            "client_order_id": order.client_order_id,
            "symbol": terms.symbol,
            "side": str(terms.side),
            "quantity": to_text(terms.quantity),
            "order_type": str(terms.order_type),
            "time_in_force": str(terms.time_in_force),
            "limit_price": to_text(limit_of(order)),
            "stop_price": None if terms.stop_price is None else to_text(terms.stop_price),
            "expires_at": None if order.expires_at is None else to_row(order.expires_at),
            "fee_price": None if fee_price is None else to_text(fee_price),
            "state": str(OrderState.OPEN),
            "filled": "0",
            "triggered": 0,
            "reason": "",
            "placed_at": to_row(transaction.now),
            "matched_until": to_row(matched_until),
        },
    )
    row = _row(transaction, account, order.client_order_id)
    assert row is not None
    return booked_of(row)


def limit_of(order: Order) -> Decimal:
    """Return the worst price the order takes: a plain `stop` comes with one."""
    terms = order.terms
    if terms.order_type is OrderType.MARKET:
        return order.price
    if terms.order_type is OrderType.STOP or terms.limit_price is None:
        return order.worst_price
    return terms.limit_price


def live(transaction: Transaction, account: str) -> list[Booked]:
    """Return the account's live orders, oldest first."""
    rows = transaction.rows(
        # Named, as SQLite would walk the primary key: every order the account ever had.
        "SELECT * FROM orders INDEXED BY orders_live"
        " WHERE account = ? AND state IN ('open', 'partially_filled')"
        " ORDER BY number",
        (account,),
    )
    return [booked_of(row) for row in rows]


def find(transaction: Transaction, account: str, client_order_id: str) -> Booked | None:
    """Return the order, or None."""
    row = _row(transaction, account, client_order_id)
    return None if row is None else booked_of(row)


def see(transaction: Transaction, booked: Booked, until: datetime) -> None:
    """Remember up to when a live order has met the market."""
    transaction.execute(
        "UPDATE orders SET matched_until = ? WHERE account = ? AND number = ?",
        (to_row(until), booked.account, booked.working.number),
    )


def record(transaction: Transaction, booked: Booked, step: Step, rules: Rules) -> None:
    """Store one step: the fill with its postings, the order as it is now, the event."""
    order = step.order
    fill_number = None
    if step.execution is not None:
        fill_number = _add_fill(transaction, booked, step, rules)
    transaction.execute(
        "UPDATE orders SET state = ?, filled = ?, triggered = ?, reason = ?"
        " WHERE account = ? AND number = ?",
        (
            str(order.state),
            to_text(order.filled),
            int(order.triggered),
            step.reason if order.final else "",
            booked.account,
            order.number,
        ),
    )
    transaction.insert(
        "events",
        {
            "account": booked.account,
            "sequence": _next(transaction, booked.account, "events", "sequence"),
            "order_number": order.number,
            "state": str(order.state),
            "filled": to_text(order.filled),
            "fill_number": fill_number,
            "reason": step.reason,
            "at": to_row(step.at),
        },
    )


def _add_fill(transaction: Transaction, booked: Booked, step: Step, rules: Rules) -> int:
    order, execution = step.order, step.execution
    assert execution is not None
    number = _next(transaction, booked.account, "fills", "number")
    traded, fees = rules.of(order.symbol), rules.fees
    unit = fees.unit(traded, order.side)
    rate = fees.maker if execution.liquidity == "maker" else fees.taker
    notional = execution.quantity * execution.price
    if not rate:
        fee = ZERO
    elif unit == traded.quote:
        fee = fee_for(notional, rate)
    elif unit == traded.base:
        fee = fee_for(execution.quantity, rate)
    else:
        assert booked.fee_price is not None, "an order that pays in a third asset has its price"
        fee = fee_for(notional, rate, booked.fee_price)
    row = {
        "account": booked.account,
        "number": number,
        "order_number": order.number,
        "quantity": to_text(execution.quantity),
        "price": to_text(execution.price),
        "fee": to_text(fee),
        "fee_currency": unit,
        "liquidity": execution.liquidity,
        "executed_at": to_row(step.at),
    }
    transaction.insert("fills", row)
    owned = totals(transaction, booked.account)
    moved = movements(fill_of(row, booked), traded.base, traded.quote)
    _set_totals(
        transaction,
        booked.account,
        {currency: owned.get(currency, ZERO) + change for currency, change in moved.items()},
    )
    return number


def fill_of(row: Row, booked: Booked) -> Fill:
    """Return the fill in a row of `fills`."""
    return Fill(
        exchange_order_id=f"paper-{booked.working.number}",
        exchange_fill_id=f"f-{row['number']}",
        client_order_id=booked.client_order_id,
        symbol=booked.working.symbol,
        side=booked.working.side,
        quantity=stored(row["quantity"]),
        price=stored(row["price"]),
        fee=stored(row["fee"]),
        fee_currency=row["fee_currency"],
        liquidity=row["liquidity"],
        executed_at=from_row(row["executed_at"]),
    )


def _row(transaction: Transaction, account: str, client_order_id: str) -> Row | None:
    return transaction.row(
        "SELECT * FROM orders WHERE account = ? AND client_order_id = ?",
        (account, client_order_id),
    )


def booked_of(row: Row) -> Booked:
    """Return the order in a row of `orders`."""
    return Booked(
        account=row["account"],
        client_order_id=row["client_order_id"],
        fee_price=_optional(row["fee_price"]),
        reason=row["reason"],
        working=Working(
            number=row["number"],
            symbol=row["symbol"],
            side=Side(row["side"]),
            quantity=stored(row["quantity"]),
            limit_price=stored(row["limit_price"]),
            stop_price=_optional(row["stop_price"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            expires_at=None if row["expires_at"] is None else from_row(row["expires_at"]),
            filled=stored(row["filled"]),
            triggered=bool(row["triggered"]),
            state=OrderState(row["state"]),
            matched_until=from_row(row["matched_until"]),
        ),
    )


def _optional(text: str | None) -> Decimal | None:
    return None if text is None else stored(text)


def _next(transaction: Transaction, account: str, table: str, column: str) -> int:
    """Return the next whole number of a table: 1, 2, 3 without holes; no row is ever deleted."""
    last = transaction.value(
        f"SELECT MAX({column}) FROM {table} WHERE account = ?",  # noqa: S608
        (account,),
    )
    return int(last or 0) + 1
