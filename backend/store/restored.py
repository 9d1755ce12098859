"""Rows that the send journal keeps, and that a restored copy of the database lacks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What a database remembers of the files around it; None where it has not looked yet.

    Attributes:
        place: which file it is itself: see `place_of`.
        journal: the send journal's name.
        journal_read: up to which byte of that journal a fence has dealt with the lines.
    """

    place: str | None
    journal: str | None
    journal_read: int = 0


def witnesses(tx: Transaction) -> Witnesses:
    """Return what is remembered."""
    keys = ("place", "journal", "journal_read")
    place, journal, read = (tx.value("SELECT value FROM meta WHERE key = ?", (k,)) for k in keys)
    return Witnesses(place, journal, int(read or 0))


def keep_witnesses(tx: Transaction, now: Witnesses) -> None:
    """Remember these from now on."""
    tx.execute("DELETE FROM meta WHERE key IN ('place', 'journal', 'journal_read')")
    for key, value in asdict(now).items():
        if value is not None:
            tx.insert("meta", {"key": key, "value": str(value)})


def claim_again(tx: Transaction, trade_id: str, row: Mapping[str, Any]) -> bool:
    """Move a trade from pending to executing as `row` says it was. Returns whether it was so."""
    return (
        tx.execute(
            "UPDATE trades SET status = 'executing', claimed_at = :claimed_at,"
            " approved_by = :approved_by, approved_at = :approved_at, expires_at = :expires_at,"
            " version = version + 1 WHERE id = :id AND status = 'pending'",
            {**row, "id": trade_id},
        )
        == 1
    )
