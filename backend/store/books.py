"""What the invariants of the whole read: sums' parts, the audit's order, what is due."""

import json
from collections.abc import Iterator
from datetime import datetime

from backend.database import Row, Transaction
from backend.domain.clock import from_row, to_row


def holds(tx: Transaction) -> Iterator[Row]:
    """Yield every hold."""
    return tx.each("SELECT account, currency, reserved, posted, voided FROM holds")


def postings(tx: Transaction) -> Iterator[Row]:
    """Yield every posting."""
    return tx.each("SELECT account, currency, amount FROM postings")


def balances(tx: Transaction) -> list[Row]:
    """Return every balance."""
    return tx.rows("SELECT account, currency, total, held FROM balances")


def steps_back(tx: Transaction) -> list[Row]:
    """Return the audit rows that are older than the row before them (`before`).

    One may be: the first after an operator accepted a clock that had been set back.
    """
    return tx.rows(
        "SELECT b.seq, b.at, a.at AS before FROM audit a JOIN audit b ON b.seq = a.seq + 1"
        " WHERE b.at < a.at AND a.event <> 'clock.accepted'"
    )


def audit_count(tx: Transaction) -> tuple[int, int]:
    """Return how many audit rows there are, and the number of the last one."""
    row = tx.row("SELECT COUNT(*) AS count, COALESCE(MAX(seq), 0) AS last FROM audit")
    assert row is not None
    return row["count"], row["last"]


def not_written_again(tx: Transaction) -> frozenset[str]:
    """Return the trades whose orders a restore fence could not write again, and said so."""
    rows = tx.rows("SELECT detail FROM audit WHERE event = 'fence.raised'")
    told = (json.loads(row["detail"]) for row in rows)
    return frozenset(trade_id for detail in told for trade_id in detail.get("not_written", ()))


def overdue_plans(tx: Transaction, before: str) -> list[Row]:
    """Return pending plans that expired before then: id, expires_at."""
    return tx.rows(
        "SELECT id, expires_at FROM trades WHERE status = 'pending' AND expires_at < ?", (before,)
    )


def live_orders(tx: Transaction) -> list[Row]:
    """Return every order that is not final: trade_id, account, state, updated_at."""
    return tx.rows(
        "SELECT trade_id, account, state, updated_at FROM orders"
        " WHERE state IN ('sending', 'unknown', 'open', 'partially_filled')"
    )


def stops_and_claims(tx: Transaction) -> Iterator[Row]:
    """Yield, oldest first, the audit rows that stop or release, and claims with what they trade."""
    return tx.each(
        "SELECT a.seq, a.event, a.account, a.trade_id, a.detail, t.symbol,"
        " c.exchange || ':' || c.identifier AS account_id"
        " FROM audit a LEFT JOIN trades t ON t.id = a.trade_id"
        " LEFT JOIN accounts c ON c.id = a.account"
        " WHERE a.event IN ('trade.claimed', 'kill_switch.engaged', 'kill_switch.released',"
        " 'quarantine.entered', 'quarantine.lifted', 'fence.raised', 'account.enabled',"
        " 'account.disabled', 'account.added') ORDER BY a.seq"
    )


def compared_since(tx: Transaction, account: int, earliest: datetime, most: int) -> datetime:
    """Return from when on an account's orders are compared with its exchange's.

    Not from before an exchange was reset, and not more than `most` orders.
    """
    epoch = tx.value(
        "SELECT MAX(at) FROM audit WHERE account = ? AND event = 'account.epoch'", (account,)
    )
    oldest = tx.value(
        "SELECT sign_time FROM orders WHERE account = ? ORDER BY sign_time DESC LIMIT 1 OFFSET ?",
        (account, most),
    )
    return max([earliest, *(from_row(at) for at in (epoch, oldest) if at is not None)])


def signed_since(tx: Transaction, account: int, since: datetime) -> list[str]:
    """Return the trades of an account whose orders were signed from then on."""
    rows = tx.rows(
        "SELECT trade_id FROM orders WHERE account = ? AND sign_time >= ?",
        (account, to_row(since)),
    )
    return [row["trade_id"] for row in rows]
