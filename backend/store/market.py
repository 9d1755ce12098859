"""The exchanges' own documents of what can be traded: the last good set of each, whole."""

import zlib
from dataclasses import dataclass
from datetime import datetime

from backend.database import Transaction
from backend.domain.clock import from_row, to_row


@dataclass(frozen=True, slots=True)
class Documents:
    """One set. `content` is JSON as the exchange's module made it."""

    version: str
    content: bytes
    fetched_at: datetime


def find(tx: Transaction, exchange: str, environment: str) -> Documents | None:
    """Return the last good set, or None."""
    row = tx.row(
        "SELECT * FROM metadata WHERE exchange = ? AND environment = ?", (exchange, environment)
    )
    if row is None:
        return None
    content = zlib.decompress(row["content"])
    return Documents(row["version"], content, from_row(row["fetched_at"]))


def version(tx: Transaction, exchange: str, environment: str) -> str | None:
    """Return the version of the last good set without reading it."""
    found = tx.value(
        "SELECT version FROM metadata WHERE exchange = ? AND environment = ?",
        (exchange, environment),
    )
    return None if found is None else str(found)


def put(tx: Transaction, exchange: str, environment: str, version: str, content: bytes) -> None:
    """Replace the set by a newer good one."""
    tx.execute(
        "INSERT INTO metadata (exchange, environment, version, content, fetched_at)"
        " VALUES (:exchange, :environment, :version, :content, :now)"
        " ON CONFLICT (exchange, environment) DO UPDATE SET"
        " version = :version, content = :content, fetched_at = :now",
        {
            "exchange": exchange,
            "environment": environment,
            "version": version,
            "content": zlib.compress(content),
            "now": to_row(tx.now),
        },
    )
