"""API tokens: looked up by their key id, stored as a keyed hash, never in clear."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backend.database import Row, Transaction, small_json, to_json
from backend.domain.clock import from_row, from_row_or_none, to_row


@dataclass(frozen=True, slots=True)
class Token:
    """Who is asking, and what they may do.

    Attributes:
        kid: the public part of the token.
        principal: the token's name; rotation keeps it.
        accounts: the account ids it is bound to; empty means all.
        limits: limit by check name, as text.
    """

    kid: str
    principal: str
    hash: str = field(repr=False)
    scopes: frozenset[str]
    accounts: tuple[str, ...]
    limits: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def usable(self, now: datetime) -> bool:
        """Say whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def sees(self, account_id: str) -> bool:
        """Say whether the account is inside the token's reach."""
        return not self.accounts or account_id in self.accounts


def _token(row: Row) -> Token:
    return Token(
        kid=row["kid"],
        principal=row["principal"],
        hash=row["hash"],
        scopes=frozenset(small_json(row["scopes"])),
        accounts=tuple(small_json(row["accounts"])),
        limits=small_json(row["limits"]),
        created_at=from_row(row["created_at"]),
        expires_at=from_row_or_none(row["expires_at"]),
        revoked_at=from_row_or_none(row["revoked_at"]),
    )


def insert(
    tx: Transaction,
    *,
    kid: str,
    principal: str,
    hash: str,
    scopes: Sequence[str],
    accounts: Sequence[str],
    limits: Mapping[str, str],
    expires_at: datetime | None,
) -> None:
    """Store a new token's hash and rights."""
    tx.insert(
        "tokens",
        {
            "kid": kid,
            "principal": principal,
            "hash": hash,
            "scopes": to_json(sorted(scopes)),
            "accounts": to_json(list(accounts)),
            "limits": to_json(dict(limits)),
            "created_at": to_row(tx.now),
            "expires_at": to_row(expires_at) if expires_at else None,
        },
    )


def find(tx: Transaction, kid: str) -> Token | None:
    """Return the token with this key id, usable or not."""
    row = tx.row("SELECT * FROM tokens WHERE kid = ?", (kid,))
    return _token(row) if row else None


def is_alive(tx: Transaction, kid: str) -> bool:
    """Say whether the token is neither revoked nor expired now."""
    alive = tx.value(
        "SELECT 1 FROM tokens WHERE kid = ? AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > ?)",
        (kid, to_row(tx.now)),
    )
    return alive is not None


def of_principal(tx: Transaction, principal: str) -> list[Token]:
    """Return every token this principal ever had."""
    rows = tx.rows("SELECT * FROM tokens WHERE principal = ? ORDER BY rowid", (principal,))
    return [_token(row) for row in rows]


def all_tokens(tx: Transaction) -> list[Token]:
    """Return all tokens, oldest first."""
    return [_token(row) for row in tx.rows("SELECT * FROM tokens ORDER BY rowid")]


def revoke(tx: Transaction, principal: str) -> int:
    """Revoke every token of a principal. Returns how many were alive."""
    return tx.execute(
        "UPDATE tokens SET revoked_at = ? WHERE principal = ? AND revoked_at IS NULL",
        (to_row(tx.now), principal),
    )


def revoke_one(tx: Transaction, kid: str) -> None:
    """Revoke one token."""
    tx.execute("UPDATE tokens SET revoked_at = ? WHERE kid = ?", (to_row(tx.now), kid))


def key_id(tx: Transaction) -> str | None:
    """Return which key the tokens were hashed with, or None before the first."""
    found: str | None = tx.value("SELECT value FROM meta WHERE key = 'key_id'")
    return found


def set_key_id(tx: Transaction, text: str) -> None:
    """Remember which key the tokens are hashed with from now on."""
    tx.execute("DELETE FROM meta WHERE key = 'key_id'")
    tx.insert("meta", {"key": "key_id", "value": text})
