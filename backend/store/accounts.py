"""Accounts: an exchange's identifier, a label, limits; the row's number never shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.database import Row, Transaction, small_json, to_json
from backend.domain.clock import to_row


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    Attributes:
        number: the hidden database key.
        settings: the exchange's own options, as text.
        limits: limit by check name, as text; plus `approval_threshold`, `band_bps`.
        break_reason: why no new risk is taken here, or None.
        permissions: what the exchange said the key may do, in its own words.
        may_withdraw: None where the exchange does not tell.
    """

    number: int
    exchange: str
    identifier: str
    name: str
    environment: str
    currency: str
    enabled: bool
    settings: Mapping[str, str]
    limits: Mapping[str, str]
    credential_version: int
    ledger_version: int
    posted_at: str | None
    break_reason: str | None
    created_at: str
    permissions: tuple[str, ...] = ()
    may_withdraw: bool | None = None

    @property
    def id(self) -> str:
        """Return the visible reference: `exchange:identifier`."""
        return f"{self.exchange}:{self.identifier}"


def _account(row: Row) -> Account:
    said = small_json(row["identity"]) if row["identity"] else {}
    return Account(
        number=row["id"],
        exchange=row["exchange"],
        identifier=row["identifier"],
        name=row["name"],
        environment=row["environment"],
        currency=row["currency"],
        enabled=row["state"] == "enabled",
        settings=small_json(row["settings"]),
        limits=small_json(row["limits"]),
        credential_version=row["credential_version"],
        ledger_version=row["ledger_version"],
        posted_at=row["posted_at"],
        break_reason=row["break_reason"],
        created_at=row["created_at"],
        permissions=tuple(said.get("permissions", ())),
        may_withdraw=said.get("may_withdraw"),
    )


def insert(
    tx: Transaction,
    *,
    exchange: str,
    identifier: str,
    name: str,
    environment: str,
    currency: str,
    settings: Mapping[str, str],
    limits: Mapping[str, str],
) -> Account:
    """Add an account, enabled."""
    tx.insert(
        "accounts",
        {
            "exchange": exchange,
            "identifier": identifier,
            "name": name,
            "environment": environment,
            "currency": currency,
            "state": "enabled",
            "settings": to_json(dict(settings)),
            "limits": to_json(dict(limits)),
            "created_at": to_row(tx.now),
        },
    )
    account = find(tx, f"{exchange}:{identifier}")
    assert account is not None
    return account


def find(tx: Transaction, account_id: str) -> Account | None:
    """Return the account named `exchange:identifier`, or None."""
    exchange, _, identifier = account_id.partition(":")
    row = tx.row(
        "SELECT * FROM accounts WHERE exchange = ? AND identifier = ? AND deleted_at IS NULL",
        (exchange, identifier),
    )
    return _account(row) if row else None


def find_deleted(tx: Transaction, account_id: str) -> Account | None:
    """Return the account of that name that was deleted and stays in the record, or None."""
    exchange, _, identifier = account_id.partition(":")
    row = tx.row(
        "SELECT * FROM accounts WHERE exchange = ? AND identifier = ? AND deleted_at IS NOT NULL",
        (exchange, identifier),
    )
    return _account(row) if row else None


def revive(tx: Transaction, number: int, **columns: Any) -> Account:
    """Let a deleted account live again, enabled and with new columns as they are stored."""
    sets = "".join(f", {name} = :{name}" for name in columns)
    tx.execute(
        "UPDATE accounts SET deleted_at = NULL, state = 'enabled', break_reason = NULL,"  # noqa: S608
        f" credential_version = credential_version + 1{sets} WHERE id = :id",
        {"id": number, **columns},
    )
    return by_number(tx, number)


def set_identity(tx: Transaction, number: int, identity: Mapping[str, Any]) -> None:
    """Keep what the exchange said of the key when it was proved."""
    tx.execute("UPDATE accounts SET identity = ? WHERE id = ?", (to_json(dict(identity)), number))


def next_credentials(tx: Transaction, number: int) -> Account:
    """Raise the credential version: every plan made under the old one must be made again."""
    tx.execute(
        "UPDATE accounts SET credential_version = credential_version + 1 WHERE id = ?", (number,)
    )
    return by_number(tx, number)


def rename(tx: Transaction, number: int, name: str) -> None:
    """Change the label."""
    tx.execute("UPDATE accounts SET name = ? WHERE id = ?", (name, number))


def find_number(tx: Transaction, number: int) -> Account | None:
    """Return the account of an audit row, or None: it was deleted. Numbers are never reused."""
    row = tx.row("SELECT * FROM accounts WHERE id = ?", (number,))
    return _account(row) if row else None


def by_number(tx: Transaction, number: int) -> Account:
    """Return the account of a row that refers to it."""
    found = find_number(tx, number)
    assert found is not None, f"account {number} is referred to and missing"
    return found


def all_accounts(tx: Transaction, exchange: str | None = None) -> list[Account]:
    """Return all accounts, oldest first."""
    rows = tx.rows(
        "SELECT * FROM accounts WHERE deleted_at IS NULL"
        " AND (:exchange IS NULL OR exchange = :exchange) ORDER BY id",
        {"exchange": exchange},
    )
    return [_account(row) for row in rows]


def any_live(tx: Transaction) -> bool:
    """Say whether any account holds real money."""
    live = "SELECT 1 FROM accounts WHERE environment = 'live' AND deleted_at IS NULL LIMIT 1"
    return tx.value(live) is not None


def set_state(tx: Transaction, number: int, enabled: bool) -> None:
    """Enable or disable."""
    tx.execute(
        "UPDATE accounts SET state = ?, ledger_version = ledger_version + 1 WHERE id = ?",
        ("enabled" if enabled else "disabled", number),
    )


def set_limits(tx: Transaction, number: int, limits: Mapping[str, str]) -> None:
    """Replace the account's limits."""
    tx.execute("UPDATE accounts SET limits = ? WHERE id = ?", (to_json(dict(limits)), number))


def set_break(tx: Transaction, number: int, reason: str | None) -> None:
    """Stop, or resume, taking new risk on this account."""
    tx.execute("UPDATE accounts SET break_reason = ? WHERE id = ?", (reason, number))


def hide(tx: Transaction, number: int) -> None:
    """Delete an account that has traded: its row stays, as its trades refer to it."""
    tx.execute(
        "UPDATE accounts SET deleted_at = ?, state = 'disabled',"
        " ledger_version = ledger_version + 1 WHERE id = ?",
        (to_row(tx.now), number),
    )


def delete(tx: Transaction, number: int) -> None:
    """Delete an account that never traded; the foreign keys refuse any other."""
    for table in (
        "balances",
        "postings",
        "positions",
        "snapshots",
        "daily_notionals",
        "credentials",
        "exchange_balances",
    ):
        tx.execute(f"DELETE FROM {table} WHERE account = ?", (number,))  # noqa: S608
    tx.execute("DELETE FROM accounts WHERE id = ?", (number,))


def has_trades(tx: Transaction, number: int) -> bool:
    """Say whether any trade, live or finished, refers to the account."""
    return tx.value("SELECT 1 FROM trades WHERE account = ? LIMIT 1", (number,)) is not None


def touch_ledger(tx: Transaction, number: int) -> None:
    """Raise the ledger version: every cached portfolio of the account is stale from here."""
    tx.execute("UPDATE accounts SET ledger_version = ledger_version + 1 WHERE id = ?", (number,))


def touch_postings(tx: Transaction, number: int) -> None:
    """As `touch_ledger`, and remember when money was last posted, or let go at the exchange."""
    tx.execute(
        "UPDATE accounts SET ledger_version = ledger_version + 1, posted_at = ? WHERE id = ?",
        (to_row(tx.now), number),
    )


def public(account: Account) -> dict[str, Any]:
    """Return what everyone with access may see."""
    return {
        "account_id": account.id,
        "exchange": account.exchange,
        "name": account.name,
        "environment": account.environment,
        "currency": account.currency,
        "enabled": account.enabled,
        "stopped": account.break_reason,
    }
