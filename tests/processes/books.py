"""Our books beside the exchanges' own: what must never differ, and what must come to agree."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.database import sqlite3

_NOT_CLAIMED = ("pending", "cancelled", "expired")
UNSETTLED = ("sending", "unknown")
LIVE = ("open", "partially_filled")
_OURS = """SELECT t.id, a.exchange, t.status, t.incident, o.state, o.filled_quantity AS filled,
 o.not_found, o.valid_until FROM trades t JOIN accounts a ON a.id = t.account
 LEFT JOIN orders o ON o.trade_id = t.id"""


@dataclass(frozen=True)
class Ours:
    """One trade by our books; `state` is None while it has no order."""

    exchange: str
    status: str
    incident: str | None
    state: str | None
    filled: Decimal
    not_found: int


@dataclass(frozen=True)
class Home:
    """A home's books as they were at one moment."""

    trades: Mapping[str, Ours]
    balances: Mapping[str, Mapping[str, Decimal]]
    stopped: Sequence[str]


@dataclass(frozen=True)
class Theirs:
    """One exchange's books: orders as (client order id, filled, live), and requests received."""

    orders: Sequence[tuple[str, Decimal, bool]]
    balances: Mapping[str, Decimal]
    received: Sequence[tuple[str, int]] = ()


def _rows(file: Path, sql: str, *values: Any) -> list[Any]:
    # Not read-only: what a killed process left half done must be rolled back before one can read.
    book = sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=10)
    book.row_factory = sqlite3.Row
    try:
        return list(book.execute(sql, values))
    finally:
        book.close()


def copied(home: Path, into: Path) -> Path:
    """Copy the files of a home whose processes are all dead, so that reading repairs only these."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for path in home.iterdir():
        if path.name.startswith(("exec-mcp.db", "paper.db")) and not path.name.endswith("-shm"):
            shutil.copyfile(path, into / path.name)
    for name in ("exec-mcp.db", "paper.db"):
        sqlite3.connect(into / name).execute(
            "SELECT COUNT(*) FROM sqlite_master"
        ).connection.close()
    return into


def read_home(home: Path) -> Home:
    """Return our books."""
    file = home / "exec-mcp.db"
    trades = {
        row["id"]: Ours(
            row["exchange"],
            row["status"],
            row["incident"],
            row["state"],
            Decimal(row["filled"] or 0),
            row["not_found"] or 0,
        )
        for row in _rows(file, _OURS)
    }
    balances: dict[str, dict[str, Decimal]] = {}
    for row in _rows(
        file,
        "SELECT a.exchange, b.currency, b.total FROM balances b JOIN accounts a"
        " ON a.id = b.account",
    ):
        if total := Decimal(row["total"]):
            balances.setdefault(row["exchange"], {})[row["currency"]] = total
    stopped = [
        row[0] for row in _rows(file, "SELECT break_reason FROM accounts WHERE break_reason <> ''")
    ]
    stopped += [row[0] for row in _rows(file, "SELECT value FROM meta WHERE key = 'quarantine'")]
    return Home(trades, balances, [why for why in stopped if why])


def read_paper(home: Path) -> Theirs:
    """Return the paper exchange's books."""
    file = home / "paper.db"
    orders = [
        (row["client_order_id"], Decimal(row["filled"]), row["state"] in LIVE)
        for row in _rows(file, "SELECT * FROM orders ORDER BY number")
    ]
    balances = {
        row["currency"]: total
        for row in _rows(file, "SELECT currency, total FROM balances")
        if (total := Decimal(row["total"]))
    }
    return Theirs(orders, balances)


def told(books: Mapping[str, Any]) -> dict[str, Theirs]:
    """Return the books of the simulators from what their process said."""
    return {
        name: Theirs(
            [(order[0], Decimal(order[1]), order[2]) for order in book["orders"]],
            {currency: Decimal(total) for currency, total in book["balances"].items()},
            [(client_order_id, at) for client_order_id, at in book["received"]],
        )
        for name, book in books.items()
    }


def violations(home: Home, exchanges: Mapping[str, Theirs]) -> list[str]:
    """Return what may not be so at any moment. `exchanges` was read before `home`."""
    wrong = [f"stopped: {why}" for why in home.stopped]
    wrong += [
        f"{key}: incident {ours.incident}" for key, ours in home.trades.items() if ours.incident
    ]
    for name, theirs in exchanges.items():
        wrong += _twice(f"orders at {name}", [order[0] for order in theirs.orders])
        wrong += _twice(f"requests received by {name}", [seen[0] for seen in theirs.received])
        for trade_id in {*(o[0] for o in theirs.orders), *(seen[0] for seen in theirs.received)}:
            ours = home.trades.get(trade_id)
            if ours is None or ours.exchange != name:
                wrong.append(f"{trade_id} is at {name} and not in our books")
            elif ours.status in _NOT_CLAIMED:
                wrong.append(f"{trade_id} is at {name} although it is {ours.status}")
    return wrong


def _twice(where: str, ids: Sequence[str]) -> list[str]:
    return [f"{count} {where} of {key}" for key, count in Counter(ids).items() if count > 1]


def not_once(home: Path) -> list[str]:
    """Return trades of which the audit tells other than one claim, cancel or expiry."""
    return [
        f"{row['trade_id']} ended {row['count']} times: {row['events']}"
        for row in _rows(
            home / "exec-mcp.db",
            "SELECT trade_id, COUNT(*) AS count, GROUP_CONCAT(event) AS events FROM audit"
            " WHERE event IN ('trade.claimed', 'trade.cancelled', 'trade.expired')"
            " GROUP BY trade_id HAVING COUNT(*) > 1",
        )
    ]


def claims_by_switch(home: Path) -> tuple[int, int]:
    """Return how many claims were committed in all, and between an engaging and its release."""
    claims = after = 0
    engaged = False
    rows = _rows(
        home / "exec-mcp.db",
        "SELECT event FROM audit WHERE event = 'trade.claimed' OR event LIKE 'kill_switch.%'"
        " ORDER BY seq",
    )
    for (event,) in rows:
        if event == "trade.claimed":
            claims, after = claims + 1, after + engaged
        else:
            engaged = event == "kill_switch.engaged"
    return claims, after


def differences(home: Home, exchanges: Mapping[str, Theirs]) -> list[str]:
    """Return what does not agree yet, and must in the end."""
    wrong = [
        f"{key} is {ours.state}" for key, ours in home.trades.items() if ours.state in UNSETTLED
    ]
    for name, theirs in exchanges.items():
        known = {order[0]: order for order in theirs.orders}
        for trade_id, filled, live in theirs.orders:
            ours = home.trades.get(trade_id)
            if ours is not None and (ours.filled, ours.state in LIVE) != (filled, live):
                word = "live" if live else "ended"
                wrong.append(f"{trade_id} is {word} at {name} with {filled}, ours is {ours}")
        wrong += [
            f"{key} is {ours.state} and unknown to {name}"
            for key, ours in home.trades.items()
            if ours.exchange == name and (ours.state in LIVE or ours.filled) and key not in known
        ]
        held = home.balances.get(name, {})
        if dict(held) != dict(theirs.balances):
            wrong.append(f"balances at {name}: {theirs.balances}, ours {held}")
    return wrong
