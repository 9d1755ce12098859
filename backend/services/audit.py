"""The evidence: the audit's rows, its proof, and the invariants of the books."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from backend.database import Row, Transaction
from backend.domain import exact_json
from backend.domain.clock import from_row, to_et
from backend.domain.money import ZERO, stored
from backend.services import Desk
from backend.store import accounts, audit


def shown(tx: Transaction, row: Row) -> dict[str, Any]:
    """Return one audit row for reading."""
    account = accounts.by_number(tx, row["account"]).id if row["account"] else None
    return {
        "seq": row["seq"],
        "at": to_et(from_row(row["at"])),
        "event": row["event"],
        "actor": row["actor"],
        "account_id": account,
        "trade_id": row["trade_id"],
        "detail": exact_json.loads(row["detail"]),
        "hash": row["hash"],
    }


async def events(
    desk: Desk, numbers: list[int] | None, before: int | None, limit: int
) -> dict[str, Any]:
    """Return a page of rows, newest first."""

    def body(tx: Transaction) -> dict[str, Any]:
        rows = audit.events(tx, numbers, before, limit + 1)
        return {
            "events": [shown(tx, row) for row in rows[:limit]],
            "next_cursor": str(rows[limit - 1]["seq"]) if len(rows) > limit else None,
        }

    return await desk.database.read(body)


async def verify(desk: Desk) -> dict[str, Any]:
    """Walk the hash chain from its start."""

    def body(tx: Transaction) -> dict[str, Any]:
        count, wrong, head = audit.first_break(tx)
        return {"whole": wrong is None, "rows": count, "broken": wrong, "head": head}

    return await desk.database.read(body)


async def export(desk: Desk) -> str:
    """Return the whole chain as JSON lines, as stored, so that it can be verified elsewhere."""

    def lines(tx: Transaction) -> Iterator[str]:
        for row in audit.chain(tx):
            yield exact_json.dumps(dict(row)) + "\n"

    return await desk.database.read(lambda tx: "".join(lines(tx)))


async def invariants(desk: Desk) -> dict[str, Any]:
    """Check the books against themselves; each broken rule is named with its rows."""

    def body(tx: Transaction) -> list[str]:
        return [*_held_is_open_holds(tx), *_total_is_postings(tx), *_states_agree(tx)]

    wrong = await desk.database.read(body)
    chain = await verify(desk)
    if not chain["whole"]:
        wrong.append(f"audit: {chain['broken']}")
    return {"whole": not wrong, "broken": wrong, "audit_rows": chain["rows"]}


def _sums(tx: Transaction, sql: str) -> dict[tuple[int, str], Decimal]:
    sums: dict[tuple[int, str], Decimal] = {}
    for row in tx.rows(sql):
        key = (row["account"], row["currency"])
        sums[key] = sums.get(key, ZERO) + stored(row["amount"])
    return sums


def _held_is_open_holds(tx: Transaction) -> list[str]:
    """I-5: what a balance holds is the sum of its open holds, and no hold is overdrawn."""
    wrong = []
    sums: dict[tuple[int, str], Decimal] = {}
    for row in tx.rows("SELECT * FROM holds"):
        left = stored(row["reserved"]) - stored(row["posted"]) - stored(row["voided"])
        if left < 0 or (left and not row["open"]):
            wrong.append(f"hold of {row['trade_id']} in {row['currency']} leaves {left}")
        key = (row["account"], row["currency"])
        sums[key] = sums.get(key, ZERO) + left
    for row in tx.rows("SELECT account, currency, held FROM balances"):
        expected = sums.get((row["account"], row["currency"]), ZERO)
        if stored(row["held"]) != expected:
            wrong.append(f"{row['currency']} of account {row['account']}: held is not {expected}")
    return wrong


def _total_is_postings(tx: Transaction) -> list[str]:
    """I-6: a total is the sum of what was posted."""
    sums = _sums(tx, "SELECT account, currency, amount FROM postings")
    totals = _sums(tx, "SELECT account, currency, total AS amount FROM balances")
    return [
        f"{key[1]} of account {key[0]}: total is {totals.get(key)}, postings give {sums.get(key)}"
        for key in sorted({*sums, *totals})
        if sums.get(key, ZERO) != totals.get(key, ZERO)
    ]


def _states_agree(tx: Transaction) -> list[str]:
    """I-1 to I-4: plans that never ran have no order, ended ones keep no hold, fills add up."""
    wrong = [
        f"{row['id']} is {row['status']} and has an order"
        for row in tx.rows(
            "SELECT t.id, t.status FROM trades t JOIN orders o ON o.trade_id = t.id"
            " WHERE t.status IN ('pending', 'cancelled', 'expired')"
        )
    ]
    wrong += [
        f"{row['id']} is {row['status']} and still holds {row['currency']}"
        for row in tx.rows(
            "SELECT t.id, t.status, h.currency FROM trades t JOIN holds h ON h.trade_id = t.id"
            " WHERE h.open = 1 AND t.status NOT IN ('pending', 'executing', 'working')"
        )
    ]
    filled: dict[str, Decimal] = {}
    for row in tx.rows("SELECT trade_id, quantity FROM fills WHERE trade_id IS NOT NULL"):
        key = row["trade_id"]
        filled[key] = filled.get(key, ZERO) + stored(row["quantity"])
    for row in tx.rows("SELECT trade_id, filled_quantity FROM orders"):
        if stored(row["filled_quantity"]) != filled.get(row["trade_id"], ZERO):
            wrong.append(f"fills of {row['trade_id']} do not add up to the order's")
    return wrong
