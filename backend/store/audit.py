"""The audit: a hash chain, written in the same transaction as each change (Law 8)."""

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from backend.database import Row, Transaction, to_json
from backend.domain.clock import to_row
from backend.store import window

GENESIS = "0" * 64
_PAGE = 10_000


def append(
    tx: Transaction,
    event: str,
    actor: str,
    *,
    account: int | None = None,
    trade_id: str | None = None,
    **detail: Any,
) -> tuple[int, str]:
    """Add one row to the chain, and return its number and hash: the chain's head from now on.

    Args:
        event: `noun.verb`, such as `trade.claimed`.
        actor: the principal, or `system`.
        detail: facts as text, numbers of rows, lists and dicts of these; no secrets.
    """
    last, previous = head(tx)
    seq = last + 1
    row = {
        "seq": seq,
        "at": to_row(tx.now),
        "event": event,
        "actor": actor,
        "account": account,
        "trade_id": trade_id,
        "detail": to_json(detail),
        "previous": previous,
    }
    digest = row_hash(row)
    tx.insert("audit", {**row, "hash": digest})
    return seq, digest


def head(tx: Transaction) -> tuple[int, str]:
    """Return the number and hash of the last row; 0 and `GENESIS` before the first."""
    last = tx.row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return (last["seq"], last["hash"]) if last else (0, GENESIS)


def hash_of(tx: Transaction, seq: int) -> str | None:
    """Return the hash of one row, or None: the chain is shorter."""
    found = tx.value("SELECT hash FROM audit WHERE seq = ?", (seq,))
    return None if found is None else str(found)


def row_hash(row: Row | dict[str, Any]) -> str:
    """Return the SHA-256 over everything in the row but its own hash, in hex."""
    text = to_json({key: row[key] for key in row.keys() if key != "hash"})  # noqa: SIM118
    return hashlib.sha256(text.encode()).hexdigest()


def events(
    tx: Transaction, accounts: list[int] | None, before: int | None, limit: int
) -> tuple[list[Row], int | None]:
    """Return rows newest first, of these accounts only (None: all), and where to go on.

    One page looks at 10,000 rows at most.
    """
    top, floor = window.bounds(tx, "audit", "seq", before)
    only = ""
    if accounts is not None:
        marks = ",".join(str(int(account)) for account in accounts) or "NULL"
        only = f" AND account IN ({marks})"
    rows = tx.rows(
        f"SELECT * FROM audit WHERE seq < :top AND seq > :floor{only}"  # noqa: S608
        " ORDER BY seq DESC LIMIT :limit",
        {"top": top, "floor": floor, "limit": limit + 1},
    )
    return rows[:limit], window.following(rows, limit, floor, "seq")


def of_trades(
    tx: Transaction, trades: Collection[str], accounts: Collection[int], after: int, limit: int
) -> tuple[list[Row], int]:
    """Return rows about these trades, or any trade of these accounts, oldest first.

    Returns:
        the rows after `after`, and up to which row was looked: 10,000 at most at once.
    """
    top = min(head(tx)[0], after + window.ROWS)
    which = (
        f"(account IN ({_marks(accounts)}) OR trade_id IN ({_marks(trades)}))"
        " AND trade_id IS NOT NULL"
    )
    rows = tx.rows(
        "SELECT seq, at, event, trade_id FROM audit"  # noqa: S608
        f" WHERE seq > ? AND seq <= ? AND {which} ORDER BY seq LIMIT ?",
        (after, top, *accounts, *trades, limit),
    )
    return rows, int(rows[-1]["seq"]) if len(rows) == limit else top


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values)) or "NULL"


def chain(tx: Transaction, after: int = 0) -> Iterator[Row]:
    """Yield every row after `after` that is there now, oldest first, page by page."""
    head = int(tx.value("SELECT MAX(seq) FROM audit") or 0)
    while page := tx.rows(
        "SELECT * FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after, head, _PAGE)
    ):
        yield from page
        after = page[-1]["seq"]


def first_break(tx: Transaction) -> tuple[int, str | None, str]:
    """Walk the whole chain.

    Returns:
        how many rows are whole, what is wrong with the next one (None: nothing),
        and the hash of the last whole row.
    """
    count, previous = 0, GENESIS
    for row in chain(tx):
        if row["seq"] != count + 1:
            return count, f"row {count + 1} is missing", previous
        if row["previous"] != previous or row["hash"] != row_hash(row):
            return count, f"row {row['seq']} was changed", previous
        count, previous = row["seq"], row["hash"]
    return count, None, previous
