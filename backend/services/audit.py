"""The evidence: the audit's rows, its proof, and the invariants of the books."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from backend.database import Row, Transaction
from backend.domain import exact_json
from backend.domain.clock import from_row, to_et
from backend.domain.money import ZERO, stored
from backend.domain.order import FINAL, UNSETTLED, OrderState
from backend.services import Desk
from backend.store import accounts, audit


def shown(tx: Transaction, row: Row) -> dict[str, Any]:
    """Return one audit row for reading."""
    # The account may be deleted since: its rows stay.
    account = accounts.find_number(tx, row["account"]) if row["account"] else None
    return {
        "seq": row["seq"],
        "at": to_et(from_row(row["at"])),
        "event": row["event"],
        "actor": row["actor"],
        "account_id": account.id if account else None,
        "trade_id": row["trade_id"],
        "detail": exact_json.loads(row["detail"]),
        "hash": row["hash"],
    }


async def events(
    desk: Desk, numbers: list[int] | None, before: int | None, limit: int
) -> dict[str, Any]:
    """Return a page of rows, newest first."""

    def body(tx: Transaction) -> dict[str, Any]:
        rows, following = audit.events(tx, numbers, before, limit)
        return {
            "events": [shown(tx, row) for row in rows],
            "next_cursor": None if following is None else str(following),
        }

    return await desk.database.read(body)


async def verify(desk: Desk) -> dict[str, Any]:
    """Walk the hash chain from its start."""

    def body(tx: Transaction) -> dict[str, Any]:
        count, wrong, head = audit.first_break(tx)
        return {"whole": wrong is None, "rows": count, "broken": wrong, "head": head}

    return await desk.database.read_apart(body, one_snapshot=False)


async def export(desk: Desk) -> str:
    """Return the whole chain as JSON lines, as stored, so that it can be verified elsewhere."""

    def lines(tx: Transaction) -> Iterator[str]:
        for row in audit.chain(tx):
            yield exact_json.dumps(dict(row)) + "\n"

    return await desk.database.read_apart(lambda tx: "".join(lines(tx)), one_snapshot=False)


async def invariants(desk: Desk) -> dict[str, Any]:
    """Check the books against themselves; each broken rule is named with its rows."""

    def body(tx: Transaction) -> list[str]:
        return [
            *_held_is_open_holds(tx),
            *_total_is_postings(tx),
            *_states_agree(tx),
            *_fills_add_up(tx),
            *_all_is_written_down(tx),
        ]

    wrong = await desk.database.read_apart(body)
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
    """I-1, I-2, I-3, I-8: a trade, its order and its holds tell the same story."""
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
    wrong += [
        f"{row['id']} is {row['status']} and holds nothing"
        for row in tx.rows(
            "SELECT id, status FROM trades WHERE status IN ('pending', 'executing', 'working')"
            " AND id NOT IN (SELECT trade_id FROM holds WHERE open = 1)"
        )
    ]
    pairs = tx.rows(
        "SELECT t.id, t.status, o.state, o.filled_quantity FROM trades t"
        " LEFT JOIN orders o ON o.trade_id = t.id"
        " WHERE t.status IN ('executing', 'working', 'executed', 'failed')"
    )
    for row in pairs:
        filled = row["state"] is not None and stored(row["filled_quantity"]) > 0
        if not _fits(row["status"], row["state"], filled):
            some = "something" if filled else "nothing"
            wrong.append(f"{row['id']} is {row['status']}, its order {row['state']}, {some} filled")
    return wrong


def _fits(status: str, state: str | None, filled: bool) -> bool:
    """Say whether a trade may be in this status while its order is in that state."""
    if status == "executing":
        return state in UNSETTLED and not filled
    if status == "working":
        return state in (OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN,)
    return state in FINAL and filled == (status == "executed")


def _fills_add_up(tx: Transaction) -> list[str]:
    """I-4: an order's fills make its quantity and notional, and each moved money once."""
    wrong = []
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in tx.rows("SELECT trade_id, quantity, price FROM fills WHERE trade_id IS NOT NULL"):
        quantity, notional = sums.get(row["trade_id"], (ZERO, ZERO))
        filled = stored(row["quantity"])
        sums[row["trade_id"]] = (quantity + filled, notional + filled * stored(row["price"]))
    rows = tx.rows(
        "SELECT o.*, t.quantity, t.incident FROM orders o JOIN trades t ON t.id = o.trade_id"
    )
    for row in rows:
        booked = (stored(row["filled_quantity"]), stored(row["filled_notional"]))
        if booked != sums.get(row["trade_id"], (ZERO, ZERO)):
            wrong.append(f"fills of {row['trade_id']} do not add up to the order's")
        if booked[0] > stored(row["quantity"]) and not row["incident"]:
            wrong.append(f"{row['trade_id']} is filled beyond its quantity without an incident")
    wrong += [
        f"fill {row['exchange_fill_id']} of {row['trade_id']} was not posted"
        for row in tx.rows(
            "SELECT trade_id, exchange_fill_id FROM fills WHERE trade_id IS NOT NULL"
            " EXCEPT SELECT trade_id, exchange_fill_id FROM postings"
        )
    ]
    return wrong


def _all_is_written_down(tx: Transaction) -> list[str]:
    """I-9: each plan and each claim has exactly one audit row."""
    return [
        f"{row['id']} has not one audit row {event}"
        for event, table, column in (
            ("trade.planned", "trades", "id"),
            ("trade.claimed", "orders", "trade_id"),
        )
        for row in tx.rows(
            f"SELECT {column} AS id FROM {table} WHERE {column} NOT IN"  # noqa: S608
            " (SELECT trade_id FROM audit WHERE event = ? AND trade_id IS NOT NULL"
            " GROUP BY trade_id HAVING COUNT(*) = 1)",
            (event,),
        )
    ]
