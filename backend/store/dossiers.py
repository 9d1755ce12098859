"""All that the books hold of one trade, trade by trade: what the invariants look at.

Every table is read once, in the order of the trades' ids, so that a long record needs no more
memory than a short one.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from backend.database import Row, Transaction
from backend.domain.money import stored
from backend.journal import Dispatch, Line

# What an order was approved and sent as, in the trade's row.
TERMS = (
    *("plan_hash", "principal", "symbol", "side", "quantity", "order_type", "limit_price"),
    *("stop_price", "time_in_force", "price", "worst_price", "rules_version"),
)
_RESTORED = '{"restored":true}'

_OF_TRADE = (
    *("id", "account", "status", "incident", "base", "quote_currency", "band_bps", "checks"),
    *("approval_required", "approved_by", "expires_at", "claimed_at", "finished_at", "version"),
    *TERMS,
)
_OF_ORDER = (
    *("state", "sign_time", "valid_until", "exchange_order_id", "exchange_code"),
    *("filled_quantity", "filled_notional", "reported_quantity"),
)
_NAMES = (*_OF_TRADE, *_OF_ORDER, "account_id")
_TRADES = (
    f"SELECT {', '.join(f't.{name}' for name in _OF_TRADE)},"  # noqa: S608
    f" {', '.join(f'o.{name}' for name in _OF_ORDER)}, c.exchange || ':' || c.identifier"
    " FROM trades t JOIN accounts c ON c.id = t.account"
    " LEFT JOIN orders o ON o.trade_id = t.id ORDER BY t.id"
)
# The trade's id comes first in each of them.
_HOLDS = (
    "SELECT trade_id, account, currency, reserved, posted, voided, open FROM holds"
    " ORDER BY trade_id"
)
_FILLS = (
    "SELECT trade_id, exchange_order_id, exchange_fill_id, symbol, side, quantity, price, fee,"
    " fee_currency FROM fills WHERE trade_id IS NOT NULL ORDER BY trade_id"
)
_POSTINGS = (
    "SELECT trade_id, exchange_fill_id, currency, amount FROM postings"
    " WHERE trade_id IS NOT NULL ORDER BY trade_id"
)
_AUDIT = (
    "SELECT trade_id, seq, at, event, detail, hash FROM audit"
    " WHERE trade_id IS NOT NULL ORDER BY trade_id, seq"
)


class Hold(NamedTuple):
    """One hold, as it is stored."""

    trade_id: str
    account: int
    currency: str
    reserved: str
    posted: str
    voided: str
    open: int

    @property
    def left(self) -> Decimal:
        """Return what it still keeps; negative when more was taken than reserved."""
        return stored(self.reserved) - stored(self.posted) - stored(self.voided)


class Booked(NamedTuple):
    """One fill, as it is stored."""

    trade_id: str
    exchange_order_id: str
    exchange_fill_id: str
    symbol: str
    side: str
    quantity: str
    price: str
    fee: str
    fee_currency: str


class Posting(NamedTuple):
    """What one fill did to one balance, as it is stored."""

    trade_id: str
    exchange_fill_id: str
    currency: str
    amount: str


class Sent(NamedTuple):
    """What the send journal says of one order."""

    account_id: str
    audit_seq: int
    audit_hash: str
    sign_time: str
    valid_until: str
    terms: tuple[str | None, ...]


class Told(NamedTuple):
    """What one audit row says of the trade; state and status None where it does not say."""

    seq: int
    at: str
    event: str
    state: str | None
    status: str | None
    detail: str
    hash: str

    @property
    def restored(self) -> bool:
        """Say whether the restore fence wrote it, for an order of before."""
        return self.detail == _RESTORED


@dataclass(slots=True)
class Dossier:
    """One trade with everything that refers to it.

    Attributes:
        id: the trade's.
        row: of `trades`, with the account's id and the columns of its order; `state` is
            None without an order.
        told: of the audit, oldest first; sent: of the send journal.
        restored: the restore fence wrote some of it: what led to it is not in the audit.
    """

    id: str
    row: Mapping[str, Any]
    holds: list[Hold]
    fills: list[Booked]
    postings: list[Posting]
    told: list[Told]
    sent: Sequence[Sent]

    restored: bool = field(init=False)
    _by_event: dict[str, list[Told]] = field(init=False)

    def __post_init__(self) -> None:
        self.restored = False
        self._by_event = {}
        for told in self.told:
            self._by_event.setdefault(told.event, []).append(told)
            self.restored = self.restored or told.detail == _RESTORED

    def events(self, event: str) -> Sequence[Told]:
        """Return the audit rows of one kind, oldest first."""
        return self._by_event.get(event, ())


@dataclass(slots=True)
class Dossiers:
    """Every dossier of the books.

    Attributes:
        strays: after the last one: what refers to a trade that is not there, as
            (table, trade id).
    """

    tx: Transaction
    sent: Mapping[str, Sequence[Sent]] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Dossier]:
        """Yield them in the order of their ids."""
        holds, fills, postings, told = (
            _Ahead(table, self.tx.each(sql), self.strays)
            for table, sql in (
                ("holds", _HOLDS),
                ("fills", _FILLS),
                ("postings", _POSTINGS),
                ("audit", _AUDIT),
            )
        )
        unseen = set(self.sent)
        for row in self.tx.each(_TRADES):
            trade_id = row["id"]
            unseen.discard(trade_id)
            yield Dossier(
                trade_id,
                # A row finds a column by going through all their names.
                dict(zip(_NAMES, row, strict=True)),
                [Hold._make(hold) for hold in holds.of(trade_id)],
                [Booked._make(fill) for fill in fills.of(trade_id)],
                [Posting._make(posting) for posting in postings.of(trade_id)],
                [_told(*one) for one in told.of(trade_id)],
                self.sent.get(trade_id, ()),
            )
        for ahead in (holds, fills, postings, told):
            ahead.end()
        self.strays += (("journal", trade_id) for trade_id in sorted(unseen))


class _Ahead:
    """Rows in the order of their trades, handed out trade by trade."""

    def __init__(self, table: str, rows: Iterator[Row], strays: list[tuple[str, str]]) -> None:
        self._table = table
        self._rows = groupby(rows, key=_trade_id)
        self._strays = strays
        self._next = next(self._rows, None)

    def of(self, trade_id: str) -> list[Row]:
        """Return the rows of this trade; those of smaller ids have none."""
        while self._next is not None and self._next[0] < trade_id:
            self._stray()
        if self._next is None or self._next[0] != trade_id:
            return []
        found = list(self._next[1])
        self._next = next(self._rows, None)
        return found

    def end(self) -> None:
        """Note what is left."""
        while self._next is not None:
            self._stray()

    def _stray(self) -> None:
        assert self._next is not None
        self._strays.append((self._table, self._next[0]))
        self._next = next(self._rows, None)


def _trade_id(row: Row) -> str:
    return str(row["trade_id"])


def journalled(lines: Iterable[Line]) -> dict[str, list[Sent]]:
    """Return what the send journal's lines say, by trade id."""
    found = defaultdict[str, list[Sent]](list)
    for line in lines:
        if isinstance(line, Dispatch):
            terms = tuple(line.trade[name] for name in TERMS)
            where = (line.account_id, line.audit_seq, line.audit_hash)
            found[line.trade_id].append(Sent(*where, line.sign_time, line.valid_until, terms))
    return found


# What these events say of the order's state and the trade's status.
_SAYS: dict[str, tuple[str | None, str | None]] = {
    "trade.planned": (None, "pending"),
    "trade.claimed": ("sending", "executing"),
    "trade.cancelled": (None, "cancelled"),
    "trade.expired": (None, "expired"),
    "order.unknown": ("unknown", None),
    "order.rejected": ("rejected", "failed"),
    "order.not_sent": ("not_sent", "failed"),
    "order.absent": ("absent", "failed"),
}
_NOTHING = None, None
# These say it in their detail.
_SAY_IN_DETAIL = ("order.settled", "order.expired")


def _told(trade_id: str, seq: int, at: str, event: str, detail: str, its_hash: str) -> Told:
    state, status = _SAYS.get(event, _NOTHING)
    if event in _SAY_IN_DETAIL:
        said: dict[str, Any] = json.loads(detail)
        state, status = said.get("state"), said.get("status")
    return Told(seq, at, event, state, status, detail, its_hash)
