"""Trades: plans and what became of them. Every change of status is a guarded UPDATE."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.database import Row, Transaction
from backend.domain.clock import from_row, from_row_or_none, to_row
from backend.domain.exact_json import RawJson
from backend.domain.money import stored, to_text
from backend.domain.order import OrderTerms, OrderType, Side, TimeInForce
from backend.domain.trade import TRADE_EDGES, TradeStatus
from backend.store import window

# Which statuses a change may start from.
_BEFORE = {
    after: tuple(before for before, edges in TRADE_EDGES.items() if after in edges)
    for after in TradeStatus
}


@dataclass(frozen=True, slots=True)
class Trade:
    """One row of `trades`. Money is Decimal, times are aware UTC.

    Attributes:
        account: the account's hidden number.
        notional: quantity × worst_price in the account's currency; None without a conversion.
        reason: why it failed or was cancelled.
        incident: what contradicts what we had recorded, for the operator.
        checks, quote: as they were answered by plan, ready for JSON.
    """

    number: int
    id: str
    account: int
    principal: str
    token_kid: str
    request_id: str | None
    request_hash: str
    plan_hash: str
    status: TradeStatus
    reason: str | None
    symbol: str
    base: str
    quote_currency: str
    price_decimals: int
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce
    price: Decimal
    worst_price: Decimal
    band_bps: Decimal
    quote: RawJson
    fee: Decimal
    fee_currency: str
    notional: Decimal | None
    checks: RawJson
    rules_version: str
    credential_version: int
    buying_power: Decimal
    approval_required: bool
    approval_threshold: Decimal | None
    created_at: datetime
    expires_at: datetime
    order_expires_at: datetime | None
    approved_by: str | None = None
    approved_at: datetime | None = None
    incident: str | None = None
    claimed_at: datetime | None = None
    finished_at: datetime | None = None
    version: int = 1

    @property
    def terms(self) -> OrderTerms:
        """Return what was asked for."""
        return OrderTerms(
            self.symbol,
            self.side,
            self.quantity,
            self.order_type,
            self.limit_price,
            self.stop_price,
            self.time_in_force,
        )


_NAMES = tuple(field.name for field in fields(Trade))


_LIVE = (
    "FROM orders o INDEXED BY orders_live JOIN trades t ON t.id = o.trade_id WHERE o.account = ?"
    " AND o.state IN ('sending', 'unknown', 'open', 'partially_filled')"
)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else stored(text)


def _trade(row: Row) -> Trade:
    return Trade(
        number=row["number"],
        id=row["id"],
        account=row["account"],
        principal=row["principal"],
        token_kid=row["token_kid"],
        request_id=row["request_id"],
        request_hash=row["request_hash"],
        plan_hash=row["plan_hash"],
        status=TradeStatus(row["status"]),
        reason=row["reason"],
        symbol=row["symbol"],
        base=row["base"],
        quote_currency=row["quote_currency"],
        price_decimals=row["price_decimals"],
        side=Side(row["side"]),
        quantity=stored(row["quantity"]),
        order_type=OrderType(row["order_type"]),
        limit_price=_number(row["limit_price"]),
        stop_price=_number(row["stop_price"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        price=stored(row["price"]),
        worst_price=stored(row["worst_price"]),
        band_bps=stored(row["band_bps"]),
        quote=RawJson(row["quote"]),
        fee=stored(row["fee"]),
        fee_currency=row["fee_currency"],
        notional=_number(row["notional"]),
        checks=RawJson(row["checks"]),
        rules_version=row["rules_version"],
        credential_version=row["credential_version"],
        buying_power=stored(row["buying_power"]),
        approval_required=bool(row["approval_required"]),
        approval_threshold=_number(row["approval_threshold"]),
        approved_by=row["approved_by"],
        approved_at=from_row_or_none(row["approved_at"]),
        incident=row["incident"],
        created_at=from_row(row["created_at"]),
        expires_at=from_row(row["expires_at"]),
        order_expires_at=from_row_or_none(row["order_expires_at"]),
        claimed_at=from_row_or_none(row["claimed_at"]),
        finished_at=from_row_or_none(row["finished_at"]),
        version=row["version"],
    )


def _written(value: Any) -> Any:
    if isinstance(value, Decimal):
        return to_text(value)
    if isinstance(value, datetime):
        return to_row(value)
    if isinstance(value, bool):
        return int(value)
    return value


def insert(tx: Transaction, trade: Trade) -> None:
    """Store a new trade; its `number` is the row's own."""
    values = {name: _written(getattr(trade, name)) for name in _NAMES if name != "number"}
    tx.insert("trades", values)


def find(tx: Transaction, trade_id: str) -> Trade | None:
    """Return the trade, or None."""
    row = tx.row("SELECT * FROM trades WHERE id = ?", (trade_id,))
    return _trade(row) if row else None


def get(tx: Transaction, trade_id: str) -> Trade:
    """Return a trade that is known to exist."""
    trade = find(tx, trade_id)
    assert trade is not None, f"{trade_id} is referred to and missing"
    return trade


def by_request(tx: Transaction, principal: str, request_id: str) -> Trade | None:
    """Return what this principal planned under `request_id`, ever."""
    row = tx.row(
        "SELECT * FROM trades WHERE principal = ? AND request_id = ?", (principal, request_id)
    )
    return _trade(row) if row else None


def claim(tx: Transaction, trade_id: str) -> bool:
    """Move pending -> executing, for exactly one caller (Law 4). Returns whether it won."""
    now = to_row(tx.now)
    return (
        tx.execute(
            "UPDATE trades SET status = 'executing', claimed_at = :now, version = version + 1"
            " WHERE id = :id AND status = 'pending' AND expires_at > :now",
            {"id": trade_id, "now": now},
        )
        == 1
    )


def move(tx: Transaction, trade_id: str, after: TradeStatus, reason: str | None = None) -> bool:
    """Move to `after` if that edge is legal from the present status. Returns whether it was."""
    before = _BEFORE[after]
    marks = ",".join(f"'{status}'" for status in before)
    finished = after not in (TradeStatus.EXECUTING, TradeStatus.WORKING)
    return (
        tx.execute(
            f"UPDATE trades SET status = :after, reason = :reason, version = version + 1,"  # noqa: S608
            f" finished_at = CASE WHEN :finished THEN :now ELSE finished_at END"
            f" WHERE id = :id AND status IN ({marks})",
            {
                "id": trade_id,
                "after": after.value,
                "reason": reason,
                "finished": int(finished),
                "now": to_row(tx.now),
            },
        )
        == 1
    )


def approve(tx: Transaction, trade: Trade, by: str, expires_at: datetime) -> bool:
    """Approve a pending plan once, for exactly the terms that were shown."""
    return (
        tx.execute(
            "UPDATE trades SET approved_by = :by, approved_at = :now, expires_at = :expires,"
            " version = version + 1 WHERE id = :id AND status = 'pending' AND expires_at > :now"
            " AND approved_by IS NULL AND plan_hash = :hash",
            {
                "id": trade.id,
                "by": by,
                "now": to_row(tx.now),
                "expires": to_row(expires_at),
                "hash": trade.plan_hash,
            },
        )
        == 1
    )


def note_incident(tx: Transaction, trade_id: str, incident: str) -> None:
    """Write down what contradicts our record, after what was noted before."""
    tx.execute(
        "UPDATE trades SET incident = COALESCE(incident || '; ', '') || :incident,"
        " version = version + 1"
        " WHERE id = :id",
        {"id": trade_id, "incident": incident},
    )


def due(tx: Transaction, account: int) -> list[Trade]:
    """Return the account's pending trades whose time has passed, oldest first."""
    rows = tx.rows(
        "SELECT * FROM trades WHERE status = 'pending' AND account = ? AND expires_at <= ?"
        " ORDER BY expires_at LIMIT 1000",
        (account, to_row(tx.now)),
    )
    return [_trade(row) for row in rows]


def pending(tx: Transaction, account: int) -> list[Trade]:
    """Return the account's pending trades, the next to expire first."""
    rows = tx.rows(
        "SELECT * FROM trades WHERE status = 'pending' AND account = ? ORDER BY expires_at",
        (account,),
    )
    return [_trade(row) for row in rows]


def live_buys(tx: Transaction, account: int, symbol: str) -> list[Decimal]:
    """Return the quantities of the account's buys of `symbol` whose order is not final."""
    rows = tx.rows(
        f"SELECT t.quantity {_LIVE} AND t.symbol = ? AND t.side = 'buy'", (account, symbol)
    )
    return [stored(row["quantity"]) for row in rows]


def live_counts(
    tx: Transaction, account: int, kinds: Sequence[str], symbol: str | None = None
) -> tuple[int, int]:
    """Return how many of the account's orders are not final, and how many of these types."""
    marks = ",".join("?" for _ in kinds)
    row = tx.row(
        f"SELECT COUNT(*) AS every, COUNT(CASE WHEN t.order_type IN ({marks}) THEN 1 END) AS some"
        f" {_LIVE} AND (? IS NULL OR t.symbol = ?)",
        (*kinds, account, symbol, symbol),
    )
    assert row is not None
    return int(row["every"]), int(row["some"])


def pending_count(tx: Transaction, account: int, principal: str, but: str) -> int:
    """Return how many plans of this principal wait here, `but` not counted."""
    return int(
        tx.value(
            "SELECT COUNT(*) FROM trades WHERE status = 'pending' AND account = ?"
            " AND expires_at > ? AND principal = ? AND id <> ?",
            (account, to_row(tx.now), principal, but),
        )
    )


def claimed_since(tx: Transaction, account: int, principal: str, since: datetime, most: int) -> int:
    """Return how many claims this principal made here since then, counting to `most`."""
    return int(
        tx.value(
            "SELECT COUNT(*) FROM (SELECT 1 FROM trades INDEXED BY trades_claimed"
            " WHERE account = ? AND principal = ? AND claimed_at > ? LIMIT ?)",
            (account, principal, to_row(since), most),
        )
    )


def twin(tx: Transaction, order: dict[str, Any], since: datetime) -> str | None:
    """Return another trade with the same order among the account's latest 20, or None.

    Args:
        order: id, account, symbol, side and quantity, as they are stored.
        since: planned later than this, and neither cancelled, expired nor failed.
    """
    found: str | None = tx.value(
        "SELECT id FROM (SELECT id, symbol, side, quantity, status, created_at FROM trades"
        " WHERE account = :account ORDER BY number DESC LIMIT 20)"
        " WHERE symbol = :symbol AND side = :side AND quantity = :quantity AND id <> :id"
        " AND created_at > :since AND status NOT IN ('cancelled', 'expired', 'failed') LIMIT 1",
        {**order, "since": to_row(since)},
    )
    return found


def notionals_since(
    tx: Transaction, account: int, principal: str, since: datetime, but: str
) -> list[Decimal | None]:
    """Return the notionals that this principal confirmed here since then, or has pending."""
    rows = tx.rows(
        "SELECT notional FROM trades WHERE account = :account AND principal = :principal"
        " AND claimed_at > :since AND id <> :but"
        " UNION ALL SELECT notional FROM trades WHERE status = 'pending'"
        " AND account = :account AND expires_at > :now AND principal = :principal AND id <> :but",
        {
            "principal": principal,
            "account": account,
            "since": to_row(since),
            "now": to_row(tx.now),
            "but": but,
        },
    )
    return [_number(row["notional"]) for row in rows]


def daily_notional(tx: Transaction, account: int, principal: str, day: str) -> Decimal:
    """Return what this principal confirmed here on `day` (ET), account currency."""
    text = tx.value(
        "SELECT notional FROM daily_notionals WHERE account = ? AND principal = ? AND day = ?",
        (account, principal, day),
    )
    return stored(text) if text else Decimal(0)


def set_daily_notional(
    tx: Transaction, account: int, principal: str, day: str, total: Decimal
) -> None:
    """Write what this principal has confirmed on `day`, a claim counted in."""
    tx.execute(
        "INSERT INTO daily_notionals(account, principal, day, notional) VALUES(?, ?, ?, ?)"
        " ON CONFLICT(account, principal, day) DO UPDATE SET notional = excluded.notional",
        (account, principal, day, to_text(total)),
    )


def page(
    tx: Transaction,
    accounts: Sequence[int],
    *,
    status: str | None = None,
    symbol: str | None = None,
    before: int | None = None,
    limit: int = 20,
) -> tuple[list[Trade], int | None]:
    """Return trades newest first, and the number to go on before (None: that was all).

    One page looks at 10,000 trades at most, so a rare filter costs pages, not seconds.

    Args:
        before: the number the last page ended with.
    """
    top, floor = window.bounds(tx, "trades", "number", before)
    marks = ",".join(str(int(account)) for account in accounts) or "NULL"
    rows = tx.rows(
        f"SELECT * FROM trades WHERE number < :top AND number > :floor"  # noqa: S608
        f" AND account IN ({marks}) AND (:status IS NULL OR status = :status)"
        " AND (:symbol IS NULL OR symbol = :symbol) ORDER BY number DESC LIMIT :limit",
        {"top": top, "floor": floor, "status": status, "symbol": symbol, "limit": limit + 1},
    )
    found = [_trade(row) for row in rows[:limit]]
    return found, window.following(rows, limit, floor, "number")
