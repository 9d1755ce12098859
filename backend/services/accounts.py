"""Accounts once they are there. `onboarding` adds them and sets their credentials."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import from_row, to_et
from backend.domain.errors import NotFound, Refused
from backend.domain.money import BPS, ZERO, padded, parse_positive, stored
from backend.domain.trade import CancelReason
from backend.exchanges import Balance
from backend.services import Desk, market, vault
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.tokens import Token

NAME = re.compile(r"[A-Za-z0-9 _.-]{1,64}", re.ASCII)
_MOST_INSTRUMENTS = 50

# Beside the limits of the risk checks.
EXTRA_LIMITS = ("approval_threshold", "band_bps")


def check_limits(desk: Desk, limits: Mapping[str, str]) -> None:
    """Refuse a limit that no check reads, or that is malformed."""
    for name, text in limits.items():
        if name in EXTRA_LIMITS:
            if text != "0" and parse_positive(text) is None:
                raise Refused(f"limit {name} must be a number, was {text[:40]!r}")
            continue
        if name not in desk.checks:
            known = ", ".join((*desk.checks, *EXTRA_LIMITS))
            raise Refused(f"there is no limit called {name[:40]!r}; known: {known}")
        try:
            desk.checks[name].LIMIT.parse(text)
        except ValueError as error:
            raise Refused(f"limit {name} {error}") from None


async def set_enabled(desk: Desk, actor: str, account: Account, enabled: bool) -> dict[str, Any]:
    """Enable, or disable: pending plans are cancelled, live orders are followed to their end."""

    def body(tx: Transaction) -> dict[str, Any]:
        accounts.set_state(tx, account.number, enabled)
        ended: list[str] = []
        if not enabled:
            ended = cancel_pending(tx, account.number, actor, CancelReason.ACCOUNT_DISABLED)
        event = "account.enabled" if enabled else "account.disabled"
        audit.append(tx, event, actor, account=account.number, cancelled_plans=ended)
        live = [o.trade_id for o in orders.live(tx, account.number)]
        shown = accounts.public(accounts.by_number(tx, account.number))
        return {**shown, "cancelled_plans": ended, "live_orders": live}

    return await desk.database.write(body)


async def set_limits(
    desk: Desk, actor: str, account: Account, limits: Mapping[str, str | None]
) -> dict[str, Any]:
    """Change limits of an account; None removes one."""
    check_limits(desk, {name: text for name, text in limits.items() if text is not None})

    def body(tx: Transaction) -> dict[str, Any]:
        before = accounts.by_number(tx, account.number).limits
        after = {k: v for k, v in {**before, **limits}.items() if v is not None}
        accounts.set_limits(tx, account.number, after)
        audit.append(
            tx, "account.limits", actor, account=account.number, before=dict(before), after=after
        )
        return {"account_id": account.id, "limits": after}

    return await desk.database.write(body)


async def rename(desk: Desk, actor: str, account: Account, name: str) -> dict[str, Any]:
    """Change an account's label."""
    if not NAME.fullmatch(name):
        raise Refused(f"name must match {NAME.pattern}")

    def body(tx: Transaction) -> dict[str, Any]:
        accounts.rename(tx, account.number, name)
        audit.append(tx, "account.renamed", actor, account=account.number, name=name)
        return accounts.public(accounts.by_number(tx, account.number))

    return await desk.database.write(body)


async def delete(desk: Desk, actor: str, account: Account) -> dict[str, Any]:
    """Delete an account and shred its credentials. What it traded stays in the record.

    Raises:
        Refused: `account_in_use`: an order of it lives.
        NotFound: it is deleted already.
    """

    def body(tx: Transaction) -> None:
        if accounts.find(tx, account.id) is None:
            raise NotFound()  # Another was first: what it wrote down stays as it is.
        live = [order.trade_id for order in orders.live(tx, account.number)]
        if live:
            raise Refused(
                f"{account.id} has live orders: {', '.join(live[:3])}; disable it, cancel them "
                "and delete it when they have ended",
                "account_in_use",
                live_orders=live,
            )
        ended = cancel_pending(tx, account.number, actor, CancelReason.ACCOUNT_DISABLED)
        shredded = vault.shred(tx, account)
        if accounts.has_trades(tx, account.number):
            accounts.hide(tx, account.number)
        else:
            accounts.delete(tx, account.number)
        audit.append(
            tx,
            "account.deleted",
            actor,
            account_id=account.id,
            cancelled_plans=ended,
            credentials_shredded=shredded,
        )

    await desk.database.write(body)
    await desk.connections.drop(account.number)
    return {"account_id": account.id, "deleted": True}


def keep_balances(
    tx: Transaction, account: Account, told: Sequence[Balance], asked_at: str
) -> None:
    """Remember what the exchange said at `asked_at`: all of it, so nothing of the rest is there."""
    gone = {f.currency for f in ledger.all_funds(tx, account.number)} - {b.currency for b in told}
    for one in (*told, *(Balance(currency, ZERO, ZERO) for currency in sorted(gone))):
        ledger.keep_exchange_balance(
            tx, account.number, one.currency, one.total, one.free, asked_at
        )


async def reachable(desk: Desk, caller: Token, exchange: str | None = None) -> list[Account]:
    """Return the accounts within the token's reach."""
    found = await desk.database.read(lambda tx: accounts.all_accounts(tx, exchange))
    return [account for account in found if caller.sees(account.id)]


async def find(desk: Desk, caller: Token, account_id: str) -> Account:
    """Return one account.

    Raises:
        NotFound: there is none, or it is outside the token's reach.
    """
    found = await desk.database.read(lambda tx: accounts.find(tx, account_id))
    if found is None or not caller.sees(found.id):
        raise NotFound()
    return found


async def info(desk: Desk, caller: Token, account: Account, symbol: str | None) -> dict[str, Any]:
    """Return environment, fees, permissions, balances and the rules of instruments.

    Without `symbol` only instruments that are held or on order are listed, at most 50.
    """
    exchange = await desk.exchange(account)
    with market.unanswered():
        fees = await exchange.fees(
            symbol and (await market.instrument(desk, account, symbol)).symbol
        )
    known = await market.instruments(desk, account)
    if symbol is not None:
        chosen = [await market.instrument(desk, account, symbol)]
    else:
        busy = await desk.database.read(lambda tx: _busy_symbols(tx, account))
        chosen = [known[s] for s in sorted(busy) if s in known][:_MOST_INSTRUMENTS]
    balances = await desk.database.read(lambda tx: _balances(tx, account))
    offered = desk.exchanges[account.exchange].CAPABILITIES
    withdraws = {"may_withdraw": account.may_withdraw} if "admin" in caller.scopes else {}
    return {
        **accounts.public(account),
        "created_at": to_et(from_row(account.created_at)),
        "fees": {
            "maker": padded(fees.maker, 4),
            "taker": padded(fees.taker, 4),
            "maker_bps": padded(fees.maker * BPS, 0),
            "taker_bps": padded(fees.taker * BPS, 0),
            "currency": fees.currency,
        },
        "permissions": sorted(caller.scopes),
        "exchange_permissions": list(account.permissions),
        **{name: told for name, told in withdraws.items() if told is not None},
        "sub_accounts": offered.sub_accounts,
        "order_types": sorted(offered.order_types),
        "times_in_force": sorted(offered.times_in_force),
        "balances": balances,
        "limits": {name: _number(text) for name, text in account.limits.items()},
        "settings": dict(account.settings),
        "instruments": [market.shown_instrument(i) for i in chosen],
        "instrument_count": len(known),
    }


def _balances(tx: Transaction, account: Account) -> list[dict[str, Any]]:
    """Return each currency, and beside it what a real exchange last said of it."""
    told = ledger.exchange_balances(tx, account.number)
    shown = []
    for one in ledger.all_funds(tx, account.number):
        balance: dict[str, Any] = {
            "currency": one.currency,
            "total": padded(one.total, 2),
            "available": padded(one.free, 2),
            "reserved": padded(one.held, 2),
        }
        if one.currency in told:
            row = told[one.currency]
            balance["exchange_total"] = padded(stored(row["total"]), 2)
            balance["exchange_free"] = padded(stored(row["free"]), 2)
            balance["as_of"] = to_et(from_row(row["as_of"]))
        shown.append(balance)
    return shown


def _number(text: str) -> Decimal | str:
    return stored(text) if text[:1].isdigit() else text


def _busy_symbols(tx: Transaction, account: Account) -> set[str]:
    held = {s for s, p in ledger.positions(tx, account.number).items() if p.quantity}
    waiting = {trade.symbol for trade in trades.pending(tx, account.number)}
    live = {trades.get(tx, o.trade_id).symbol for o in orders.live(tx, account.number)}
    return held | waiting | live


async def snapshots(desk: Desk, account: Account, limit: int) -> dict[str, Any]:
    """Return what the exchange said it holds, over time, newest first."""

    def body(tx: Transaction) -> list[dict[str, Any]]:
        return [
            {
                "at": to_et(from_row(row["at"])),
                "currency": row["currency"],
                "exchange_total": stored(row["exchange_total"]),
                "exchange_free": stored(row["exchange_free"]),
                "ledger_total": stored(row["ledger_total"]),
            }
            for row in ledger.snapshots(tx, account.number, limit)
        ]

    return {"account_id": account.id, "snapshots": await desk.database.read(body)}


def shown_list(found: Sequence[Account]) -> dict[str, Any]:
    """Return the JSON object of `list_accounts`."""
    return {"accounts": [accounts.public(account) for account in found]}
