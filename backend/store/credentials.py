"""Sealed credentials: apart from the account's data, and never in clear."""

from dataclasses import dataclass, field

from backend.database import Row, Transaction
from backend.domain.clock import to_row


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One account's credentials, sealed.

    Attributes:
        account: the account's number.
        version: the account's credential version that they were sealed for.
        key_id: which key of the vault they were sealed with.
    """

    account: int
    version: int
    key_id: str
    sealed: bytes = field(repr=False)


def _row(row: Row) -> SealedRow:
    return SealedRow(row["account"], row["version"], row["key_id"], row["sealed"])


def find(tx: Transaction, account: int) -> SealedRow | None:
    """Return the account's sealed credentials, or None."""
    row = tx.row("SELECT * FROM credentials WHERE account = ?", (account,))
    return _row(row) if row else None


def all_rows(tx: Transaction) -> list[SealedRow]:
    """Return every account's, in the accounts' order."""
    return [_row(row) for row in tx.rows("SELECT * FROM credentials ORDER BY account")]


def put(tx: Transaction, row: SealedRow) -> None:
    """Store an account's credentials in place of what it had."""
    delete(tx, row.account)
    tx.insert(
        "credentials",
        {
            "account": row.account,
            "version": row.version,
            "key_id": row.key_id,
            "sealed": row.sealed,
            "created_at": to_row(tx.now),
        },
    )


def delete(tx: Transaction, account: int) -> bool:
    """Delete an account's credentials; the database overwrites them. Says whether it had any."""
    return tx.execute("DELETE FROM credentials WHERE account = ?", (account,)) > 0
