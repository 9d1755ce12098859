"""Rows that the send journal keeps, and that a restored copy of the database lacks."""

from collections.abc import Mapping
from typing import Any

from backend.database import Transaction

# Long, and of no use once the order has left.
_LEFT_OUT = {"number": None, "checks": "[]"}


def trade_row(tx: Transaction, trade_id: str) -> dict[str, Any]:
    """Return a trade's row as it is stored, without its number and its checks."""
    row = tx.row("SELECT * FROM trades WHERE id = ?", (trade_id,))
    assert row is not None, f"{trade_id} is referred to and missing"
    return {name: row[name] for name in row.keys() if name not in _LEFT_OUT}  # noqa: SIM118


def insert_trade(tx: Transaction, row: Mapping[str, Any]) -> None:
    """Write a trade's row again."""
    tx.insert("trades", {**row, "checks": _LEFT_OUT["checks"]})


def mark_copy(tx: Transaction, what: str) -> None:
    """Mark this database as a copy: whoever opens it for trading shall know."""
    tx.execute("DELETE FROM meta WHERE key = 'copy_of'")
    tx.insert("meta", {"key": "copy_of", "value": what})


def copy_mark(tx: Transaction) -> str | None:
    """Return what this database is a copy of, or None."""
    found = tx.value("SELECT value FROM meta WHERE key = 'copy_of'")
    return None if found is None else str(found)


def drop_copy_mark(tx: Transaction) -> None:
    """Forget that it was a copy: it is quarantined from here on."""
    tx.execute("DELETE FROM meta WHERE key = 'copy_of'")


def journal_read(tx: Transaction) -> int:
    """Return up to which byte the send journal was dealt with by a fence."""
    found = tx.value("SELECT value FROM meta WHERE key = 'journal_read'")
    return 0 if found is None else int(found)


def keep_journal_read(tx: Transaction, size: int) -> None:
    """Remember that what the journal holds so far is in these books now."""
    tx.execute("DELETE FROM meta WHERE key = 'journal_read'")
    tx.insert("meta", {"key": "journal_read", "value": str(size)})
