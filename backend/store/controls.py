"""Kill switches, quarantine and leases."""

from collections.abc import Sequence
from datetime import timedelta

from backend.database import Row, Transaction
from backend.domain.clock import from_row, to_row


def scope_name(scope: str, account_id: str | None = None, symbol: str | None = None) -> str:
    """Return the row's name: `global`, `account:paper:main`, `symbol:AAPL` or, on one
    account only, `symbol:paper:main:AAPL`."""
    if scope == "global":
        return "global"
    if scope == "account":
        return f"account:{account_id}"
    return f"symbol:{account_id}:{symbol}" if account_id else f"symbol:{symbol}"


def scopes_over(account_id: str, symbol: str) -> list[str]:
    """Return the names of all kill switches that stop an order."""
    return [
        "global",
        scope_name("account", account_id),
        scope_name("symbol", None, symbol),
        scope_name("symbol", account_id, symbol),
    ]


def engaged(tx: Transaction, scopes: Sequence[str]) -> Row | None:
    """Return the first engaged kill switch among `scopes`, or None."""
    marks = ",".join("?" for _ in scopes)
    return tx.row(
        f"SELECT * FROM kill_switches WHERE engaged = 1 AND scope IN ({marks})"  # noqa: S608
        " ORDER BY scope",
        tuple(scopes),
    )


def all_engaged(tx: Transaction) -> list[Row]:
    """Return every engaged kill switch."""
    return tx.rows("SELECT * FROM kill_switches WHERE engaged = 1 ORDER BY scope")


def set_switch(tx: Transaction, scope: str, engage: bool, reason: str, by: str) -> bool:
    """Engage or release. Returns whether that changed anything."""
    before = tx.value("SELECT engaged FROM kill_switches WHERE scope = ?", (scope,))
    tx.execute(
        "INSERT INTO kill_switches(scope, engaged, epoch, reason, by, at)"
        " VALUES(:scope, :engaged, 1, :reason, :by, :at)"
        " ON CONFLICT(scope) DO UPDATE SET engaged = :engaged, epoch = epoch + 1,"
        " reason = :reason, by = :by, at = :at",
        {
            "scope": scope,
            "engaged": int(engage),
            "reason": reason,
            "by": by,
            "at": to_row(tx.now),
        },
    )
    return bool(before) != engage


def quarantine(tx: Transaction) -> str | None:
    """Return why the server takes no new risk, or None."""
    found: str | None = tx.value("SELECT value FROM meta WHERE key = 'quarantine'")
    return found


def set_quarantine(tx: Transaction, reason: str | None) -> None:
    """Enter quarantine, or lift it."""
    tx.execute("DELETE FROM meta WHERE key = 'quarantine'")
    if reason:
        tx.insert("meta", {"key": "quarantine", "value": reason})


def accept_clock(tx: Transaction, clock_text: str) -> None:
    """Let the operator set the high-water mark back to the clock."""
    tx.execute("UPDATE meta SET value = ? WHERE key = 'high_water'", (clock_text,))


def lease(tx: Transaction, name: str) -> Row | None:
    """Return who has a lease and until when (`owner`, `expires_at`), or None."""
    return tx.row("SELECT owner, expires_at FROM leases WHERE name = ?", (name,))


def take_lease(tx: Transaction, name: str, owner: str, ttl: timedelta) -> bool:
    """Take or renew a lease. Returns whether `owner` has it now."""
    row = lease(tx, name)
    if row and row["owner"] != owner and from_row(row["expires_at"]) > tx.now:
        return False
    tx.execute(
        "INSERT INTO leases(name, owner, expires_at) VALUES(:name, :owner, :at)"
        " ON CONFLICT(name) DO UPDATE SET owner = :owner, expires_at = :at",
        {"name": name, "owner": owner, "at": to_row(tx.now + ttl)},
    )
    return True


def drop_lease(tx: Transaction, name: str, owner: str) -> None:
    """Give a lease back, so that another process need not wait for it to end."""
    tx.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
