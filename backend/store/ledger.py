"""Balances, holds, postings and positions: the only place where money rows are written.

Balances are computed in Python from the row that was read and written back only if
that row has not changed: SQL never does arithmetic on money (Law 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from backend.database import Row, Transaction
from backend.domain.clock import from_row, to_row
from backend.domain.ledger import Position
from backend.domain.money import ZERO, stored, to_text

# By how much the exchange's clock and ours may differ.
_CLOCKS_DIFFER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Funds:
    """One currency of one account. `held` is reserved by plans and live orders."""

    currency: str
    total: Decimal
    held: Decimal
    version: int

    @property
    def free(self) -> Decimal:
        """Return what is not held; negative when postings left the account short."""
        return self.total - self.held


@dataclass(frozen=True, slots=True)
class Hold:
    """What one trade keeps of one currency: reserved = posted + voided + open."""

    trade_id: str
    currency: str
    reserved: Decimal
    posted: Decimal
    voided: Decimal

    @property
    def remaining(self) -> Decimal:
        """Return what is still kept."""
        return self.reserved - self.posted - self.voided


def funds(tx: Transaction, account: int, currency: str) -> Funds:
    """Return one currency; zeros where there is no row yet."""
    row = tx.row("SELECT * FROM balances WHERE account = ? AND currency = ?", (account, currency))
    return _funds(row) if row else Funds(currency, ZERO, ZERO, 0)


def all_funds(tx: Transaction, account: int) -> list[Funds]:
    """Return every currency ever held, by name."""
    rows = tx.rows("SELECT * FROM balances WHERE account = ? ORDER BY currency", (account,))
    return [_funds(row) for row in rows]


def _funds(row: Row) -> Funds:
    return Funds(row["currency"], stored(row["total"]), stored(row["held"]), row["version"])


def _write(tx: Transaction, account: int, before: Funds, total: Decimal, held: Decimal) -> None:
    assert held >= ZERO, f"held of {before.currency} would be {held}"
    values = {
        "account": account,
        "currency": before.currency,
        "total": to_text(total),
        "held": to_text(held),
        "version": before.version + 1,
    }
    if before.version == 0:
        changed = tx.insert("balances", values)
    else:
        changed = tx.execute(
            "UPDATE balances SET total = :total, held = :held, version = :version"
            " WHERE account = :account AND currency = :currency AND version = :version - 1",
            values,
        )
    assert changed == 1, f"the balance row of {before.currency} changed under the transaction"


def reserve(tx: Transaction, account: int, trade_id: str, amounts: Mapping[str, Decimal]) -> None:
    """Place one hold per currency. The caller has checked that each amount is free."""
    for currency, amount in amounts.items():
        before = funds(tx, account, currency)
        _write(tx, account, before, before.total, before.held + amount)
        tx.insert(
            "holds",
            {
                "trade_id": trade_id,
                "account": account,
                "currency": currency,
                "reserved": to_text(amount),
                "posted": "0",
                "voided": "0",
                "open": 1,
            },
        )


def holds(tx: Transaction, trade_id: str) -> list[Hold]:
    """Return the holds of one trade, open or not."""
    rows = tx.rows("SELECT * FROM holds WHERE trade_id = ?", (trade_id,))
    return [
        Hold(
            row["trade_id"],
            row["currency"],
            stored(row["reserved"]),
            stored(row["posted"]),
            stored(row["voided"]),
        )
        for row in rows
    ]


def void(tx: Transaction, account: int, trade_id: str) -> dict[str, Decimal]:
    """Give back what the trade still keeps, once. Returns what was released, by currency."""
    released = {}
    for hold in holds(tx, trade_id):
        closed = tx.execute(
            "UPDATE holds SET voided = ?, open = 0 WHERE trade_id = ? AND currency = ?"
            " AND open = 1",
            (to_text(hold.voided + hold.remaining), trade_id, hold.currency),
        )
        if closed and hold.remaining:
            before = funds(tx, account, hold.currency)
            _write(tx, account, before, before.total, before.held - hold.remaining)
            released[hold.currency] = hold.remaining
    return released


def post(
    tx: Transaction,
    account: int,
    trade_id: str | None,
    exchange_fill_id: str,
    moved: Mapping[str, Decimal],
) -> list[str]:
    """Post a fill: take what goes out from the trade's hold first, then from free.

    Never refused. Returns the currencies that it left short (more held, or owed, than
    there is). What comes from its own hold leaves nothing shorter than it was.
    """
    kept = {h.currency: h for h in holds(tx, trade_id)} if trade_id else {}
    short = []
    for currency, amount in moved.items():
        if not amount:
            continue
        before = funds(tx, account, currency)
        from_hold = min(-amount, kept[currency].remaining) if currency in kept else ZERO
        from_hold = max(from_hold, ZERO)
        if from_hold:
            tx.execute(
                "UPDATE holds SET posted = ? WHERE trade_id = ? AND currency = ?",
                (to_text(kept[currency].posted + from_hold), trade_id, currency),
            )
        total, held = before.total + amount, before.held - from_hold
        _write(tx, account, before, total, held)
        _posting(tx, account, currency, amount, "fill", trade_id, exchange_fill_id)
        if total < held and total - held < before.total - before.held:
            short.append(currency)
    return short


def adjust(tx: Transaction, account: int, currency: str, amount: Decimal, kind: str) -> None:
    """Post money that no trade of ours moved. `kind` is `opening` or `adjustment`."""
    before = funds(tx, account, currency)
    _write(tx, account, before, before.total + amount, before.held)
    _posting(tx, account, currency, amount, kind, None, None)


def _posting(
    tx: Transaction,
    account: int,
    currency: str,
    amount: Decimal,
    kind: str,
    trade_id: str | None,
    exchange_fill_id: str | None,
) -> None:
    tx.insert(
        "postings",
        {
            "account": account,
            "currency": currency,
            "amount": to_text(amount),
            "kind": kind,
            "trade_id": trade_id,
            "exchange_fill_id": exchange_fill_id,
            "at": to_row(tx.now),
        },
    )


def position(tx: Transaction, account: int, symbol: str) -> Position:
    """Return the position in one instrument; zeros where there is none."""
    row = tx.row("SELECT * FROM positions WHERE account = ? AND symbol = ?", (account, symbol))
    return _position(row) if row else Position()


def positions(tx: Transaction, account: int) -> dict[str, Position]:
    """Return every position ever held, by symbol."""
    rows = tx.rows("SELECT * FROM positions WHERE account = ? ORDER BY symbol", (account,))
    return {row["symbol"]: _position(row) for row in rows}


def _position(row: Row) -> Position:
    return Position(stored(row["quantity"]), stored(row["cost"]), stored(row["realized_pnl"]))


def set_position(tx: Transaction, account: int, symbol: str, now: Position) -> None:
    """Write a position back."""
    tx.execute(
        "INSERT INTO positions(account, symbol, quantity, cost, realized_pnl)"
        " VALUES(:account, :symbol, :quantity, :cost, :realized_pnl)"
        " ON CONFLICT(account, symbol) DO UPDATE SET"
        " quantity = :quantity, cost = :cost, realized_pnl = :realized_pnl",
        {
            "account": account,
            "symbol": symbol,
            "quantity": to_text(now.quantity),
            "cost": to_text(now.cost),
            "realized_pnl": to_text(now.realized_pnl),
        },
    )


def clear_positions(tx: Transaction, account: int) -> None:
    """Forget what was bought; used by `account reset` only."""
    tx.execute("DELETE FROM positions WHERE account = ?", (account,))


def exchange_free(tx: Transaction, account: int, currency: str) -> Decimal | None:
    """Return what the exchange would let us spend now, as far as its last snapshot tells.

    From what was free then go the holds of trades that it may not have seen by then, and what
    went out since. What a fill brought in is added only if it was executed surely after it:
    one that is posted late stands in the snapshot already, as what was adjusted by it does.
    None: there is no snapshot.
    """
    row = tx.row(
        "SELECT free, as_of FROM exchange_balances WHERE account = ? AND currency = ?",
        (account, currency),
    )
    if row is None:
        return None
    unseen = tx.rows(
        "SELECT h.reserved, h.posted, h.voided FROM holds h"
        " LEFT JOIN orders o ON o.trade_id = h.trade_id"
        " WHERE h.account = ? AND h.currency = ? AND h.open = 1 AND"
        " (o.trade_id IS NULL OR o.state IN ('sending', 'unknown') OR o.sign_time >= ?)",
        (account, currency, to_row(from_row(row["as_of"]) - _CLOCKS_DIFFER)),
    )
    held = [stored(h["reserved"]) - stored(h["posted"]) - stored(h["voided"]) for h in unseen]
    moved = tx.rows(
        "SELECT p.amount, f.executed_at FROM postings p"
        " LEFT JOIN fills f ON f.trade_id = p.trade_id"
        " AND f.exchange_fill_id = p.exchange_fill_id"
        " WHERE p.account = ? AND p.currency = ? AND p.at >= ? AND p.kind = 'fill'",
        (account, currency, row["as_of"]),
    )
    surely_after = to_row(from_row(row["as_of"]) + _CLOCKS_DIFFER)
    posted = sum(
        (
            stored(m["amount"])
            for m in moved
            if m["amount"].startswith("-") or (m["executed_at"] or "") >= surely_after
        ),
        ZERO,
    )
    return stored(row["free"]) + posted - sum(held, ZERO)


def keep_exchange_balance(
    tx: Transaction, account: int, currency: str, total: Decimal, free: Decimal, as_of: str
) -> None:
    """Remember what the exchange said is there; `as_of` is when it was asked."""
    tx.execute(
        "INSERT INTO exchange_balances (account, currency, total, free, as_of)"
        " VALUES (:account, :currency, :total, :free, :as_of)"
        " ON CONFLICT (account, currency) DO UPDATE SET"
        " total = :total, free = :free, as_of = :as_of",
        {
            "account": account,
            "currency": currency,
            "total": to_text(total),
            "free": to_text(free),
            "as_of": as_of,
        },
    )


def exchange_balances(tx: Transaction, account: int) -> dict[str, Row]:
    """Return what the exchange last said is there, by currency: total, free, as_of."""
    rows = tx.rows("SELECT * FROM exchange_balances WHERE account = ?", (account,))
    return {row["currency"]: row for row in rows}


def snapshot(
    tx: Transaction, account: int, currency: str, exchange_total: Decimal, exchange_free: Decimal
) -> None:
    """Keep what the exchange said it holds, beside our own total."""
    tx.insert(
        "snapshots",
        {
            "account": account,
            "at": to_row(tx.now),
            "currency": currency,
            "exchange_total": to_text(exchange_total),
            "exchange_free": to_text(exchange_free),
            "ledger_total": to_text(funds(tx, account, currency).total),
        },
    )


def snapshots(tx: Transaction, account: int, limit: int) -> list[Row]:
    """Return the latest snapshots, newest first."""
    return tx.rows(
        "SELECT * FROM snapshots WHERE account = ? ORDER BY id DESC LIMIT ?", (account, limit)
    )
