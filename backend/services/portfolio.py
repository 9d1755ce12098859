"""The portfolio: balances, positions, what waits and what works, valued at fresh quotes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.instrument import Instrument
from backend.domain.ledger import Position
from backend.domain.money import ZERO, padded, shown
from backend.services import Desk, market, planning, views
from backend.services.lookup import sweep_if_due
from backend.services.views import money
from backend.store import accounts, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.ledger import Funds
from backend.store.tokens import Token

KEPT_FOR = timedelta(seconds=3)


@dataclass(slots=True)
class Cache:
    """Portfolios by (principal, account): served only under the ledger version they show."""

    entries: dict[tuple[str, int], tuple[int, datetime, dict[str, Any]]] = field(
        default_factory=dict
    )

    def get(self, key: tuple[str, int], version: int, now: datetime) -> dict[str, Any] | None:
        """Return a portfolio that still holds, or None."""
        entry = self.entries.get(key)
        if entry is None or entry[0] != version or not entry[1] <= now < entry[1] + KEPT_FOR:
            return None
        return entry[2]


async def portfolio(desk: Desk, cache: Cache, caller: Token, account: Account) -> dict[str, Any]:
    """Return the whole portfolio of one account, at most 3 s old and never of an older ledger.

    What cannot be valued makes `equity` null and is named in `unvalued`.
    """
    await sweep_if_due(desk, [account.number])
    version, now = await desk.database.read(
        lambda tx: (accounts.by_number(tx, account.number).ledger_version, tx.now)
    )
    key = (caller.principal, account.number)
    if kept := cache.get(key, version, now):
        return kept
    made = await _compute(desk, account)
    cache.entries[key] = (version, now, made)
    return made


@dataclass(frozen=True, slots=True)
class _Rows:
    funds: list[Funds]
    positions: dict[str, Position]
    pending: list[dict[str, Any]]
    working: list[dict[str, Any] | None]
    now: datetime
    spendable: Decimal


def _read(tx: Transaction, account: Account) -> _Rows:
    pending = trades.pending(tx, account.number)
    return _Rows(
        ledger.all_funds(tx, account.number),
        ledger.positions(tx, account.number),
        [_pending(tx, trade) for trade in pending],
        [
            views.whole_order(tx, trades.get(tx, order.trade_id))
            for order in orders.live(tx, account.number)
        ],
        tx.now,
        planning.spendable(tx, account, account.currency),
    )


def _pending(tx: Transaction, trade: trades.Trade) -> dict[str, Any]:
    view = views.trade_view(tx, trade)
    keys = (
        "trade_id",
        "status",
        "symbol",
        "side",
        "quantity",
        "order_type",
        "price",
        "total",
        "reserved_buying_power",
        "expires_at",
        "approval",
    )
    return {key: view[key] for key in keys}


async def _compute(desk: Desk, account: Account) -> dict[str, Any]:
    rows = await desk.database.read(lambda tx: _read(tx, account))
    known = await market.instruments(desk, account)
    cash = next((f for f in rows.funds if f.currency == account.currency), None)
    cash = cash or Funds(account.currency, ZERO, ZERO, 0)
    values, unvalued = await _values(desk, account, rows.funds)
    positions = await _positions(desk, account, rows, known)
    realized_pnl, unrealized_pnl = await _profit(desk, account, rows, known, positions)
    answer: dict[str, Any] = {
        "account_id": account.id,
        "environment": account.environment,
        "currency": account.currency,
        "balance": money(cash.total),
        "buying_power": money(rows.spendable),
        "reserved": money(cash.held),
        "equity": None if unvalued else money(sum(values, ZERO)),
        "realized_pnl": realized_pnl,
        "unrealized_pnl": unrealized_pnl,
        "balances": [_balance(f) for f in rows.funds if f.total or f.held],
        "positions": positions,
        "pending_trades": rows.pending,
        "open_orders": rows.working,
        "as_of": to_et(rows.now),
    }
    if unvalued:
        answer["unvalued"] = unvalued
    return answer


async def _profit(
    desk: Desk,
    account: Account,
    rows: _Rows,
    known: Mapping[str, Instrument],
    positions: list[dict[str, Any]],
) -> tuple[Decimal | None, Decimal | None]:
    """Return realized and unrealized P&L in the account's currency; None without a price."""
    rates: dict[str, Decimal | None] = {}
    for symbol in {*rows.positions, *(p["symbol"] for p in positions)}:
        quote = known[symbol].quote if symbol in known else None
        rates[symbol] = (
            await market.conversion(desk, account, quote, account.currency) if quote else None
        )
    realized = [(s, p.realized_pnl) for s, p in rows.positions.items() if p.realized_pnl]
    unrealized = [
        (p["symbol"], p["unrealized_pnl"]) for p in positions if p["avg_price"] is not None
    ]
    return _converted(realized, rates), _converted(unrealized, rates)


def _converted(
    amounts: Sequence[tuple[str, Decimal | None]], rates: Mapping[str, Decimal | None]
) -> Decimal | None:
    total = ZERO
    for symbol, amount in amounts:
        rate = rates[symbol]
        if amount is None or rate is None:
            return None
        total += amount * rate
    return money(total)


def _balance(funds: Funds) -> dict[str, Any]:
    return {
        "currency": funds.currency,
        "total": padded(funds.total, 2),
        "available": padded(funds.free, 2),
        "reserved": padded(funds.held, 2),
    }


async def _values(
    desk: Desk, account: Account, funds: list[Funds]
) -> tuple[list[Decimal], list[str]]:
    """Return what each currency is worth in the account's own, and what has no price."""
    values, unvalued = [], []
    for one in funds:
        if not one.total:
            continue
        rate = await _worth(desk, account, one.currency)
        if rate is None:
            unvalued.append(one.currency)
        else:
            values.append(one.total * rate)
    return values, unvalued


async def _worth(desk: Desk, account: Account, currency: str) -> Decimal | None:
    # A stock is its own currency, and its symbol has no quote part.
    known = await market.instruments(desk, account)
    if currency in known and known[currency].quote == account.currency:
        found = await market.quote(desk, account, currency)
        return found.mid if found else None
    return await market.conversion(desk, account, currency, account.currency)


async def _positions(
    desk: Desk, account: Account, rows: _Rows, known: Mapping[str, Instrument]
) -> list[dict[str, Any]]:
    """Return what we bought, then holdings that we did not buy (`avg_price` null)."""
    shown_rows = []
    bought: dict[str, Decimal] = {}
    for symbol, position in rows.positions.items():
        if symbol in known and position.quantity:
            base = known[symbol].base
            bought[base] = bought.get(base, ZERO) + position.quantity
            shown_rows.append(await _position(desk, account, known[symbol], position))
    for one in rows.funds:
        rest = one.total - bought.get(one.currency, ZERO)
        traded = _instrument_of(one.currency, account, known)
        if rest > ZERO and traded and one.currency != account.currency:
            foreign = Position(rest)
            shown_rows.append(await _position(desk, account, traded, foreign, known_cost=False))
    return shown_rows


def _instrument_of(
    base: str, account: Account, known: Mapping[str, Instrument]
) -> Instrument | None:
    for symbol in (base, f"{base}/{account.currency}"):
        if symbol in known:
            return known[symbol]
    return None


async def _position(
    desk: Desk,
    account: Account,
    instrument: Instrument,
    position: Position,
    known_cost: bool = True,
) -> dict[str, Any]:
    found = await market.quote(desk, account, instrument.symbol)
    decimals = instrument.price_decimals
    average = position.avg_price if known_cost else None
    value = position.quantity * found.mid if found else None
    profit = value - position.cost if value is not None and known_cost else None
    return {
        "symbol": instrument.symbol,
        "quantity": padded(position.quantity, 0),
        "avg_price": shown(average, decimals) if average is not None else None,
        "market_price": shown(found.mid, decimals) if found else None,
        "market_value": money(value) if value is not None else None,
        "unrealized_pnl": money(profit) if profit is not None else None,
    }
