"""The kill switch, the operator's settlement, and what the limits leave."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import from_row, to_et
from backend.domain.errors import NO_ANSWER, ExecError, Forbidden, NotFound, Refused
from backend.domain.money import to_text
from backend.domain.order import UNSETTLED, OrderState
from backend.domain.trade import CancelReason
from backend.journal import Switch
from backend.risk import resolve_limits
from backend.services import Desk, log, planning, settle, views
from backend.services.approval import approval_threshold
from backend.services.execution import CONNECT_WITHIN_S, SEND_WITHIN_S, take_report
from backend.services.expiry import cancel_pending
from backend.services.fence import tell_switch
from backend.services.lookup import visible
from backend.services.orders import ask_for_cancel, flag_cancel
from backend.store import accounts, audit, controls, orders, trades
from backend.store.accounts import Account
from backend.store.ledger import adjust, all_funds, funds
from backend.store.orders import OrderRow
from backend.store.tokens import Token

SCOPES = ("global", "account", "symbol")
_MINUTE = timedelta(seconds=60)


async def engage(
    desk: Desk,
    caller: Token,
    *,
    reason: str,
    scope: str,
    account: Account | None,
    symbol: str | None,
    cancel_orders: bool,
) -> dict[str, Any]:
    """Stop new orders in scope, at once, then deal with what is under way.

    The flag and the end of pending plans are one commit. The answer waits until each
    order of the scope that was being sent has been sent, or can no longer be.

    Raises:
        Forbidden: the token may not stop this scope.
    """
    _may_engage(caller, scope, account)
    name = controls.scope_name(scope, account.id if account else None, symbol)

    def body(tx: Transaction) -> tuple[Switch, list[str], list[OrderRow], datetime]:
        line = _switch(tx, caller, name, True, reason)
        ended: list[str] = []
        under_way: list[OrderRow] = []
        for covered in _covered(tx, account):
            ended += cancel_pending(
                tx, covered.number, caller.principal, CancelReason.KILL_SWITCH, symbol
            )
            under_way += _live_orders(tx, covered.number, symbol)
        for order in under_way if cancel_orders else ():
            flag_cancel(tx, order, caller.principal)
        return line, ended, under_way, tx.now

    line, ended, under_way, engaged_at = await desk.database.write(body)
    tell_switch(desk, line)
    sending = [o.trade_id for o in under_way if o.state is OrderState.SENDING]
    await _wait_until_sent(desk, sending)
    reports: list[dict[str, Any]] = []
    if cancel_orders:
        reports = await asyncio.gather(*(_cancel(desk, order.trade_id) for order in under_way))
    return {
        "scope": scope,
        "engaged": True,
        "account_id": account.id if account else None,
        "environment": account.environment if account else None,
        "symbol": symbol,
        "reason": reason,
        "engaged_at": to_et(engaged_at),
        "cancelled_trades": ended,
        "in_flight": sending,
        "live_orders": [o.trade_id for o in under_way],
        "cancel_requested": reports,
        "next": "look at what is listed with get_trade; only an operator can resume",
    }


def _switch(tx: Transaction, caller: Token, name: str, engage: bool, reason: str) -> Switch:
    """Set a kill switch; return what the send journal is told of it."""
    controls.set_switch(tx, name, engage, reason, caller.principal)
    event = "kill_switch.engaged" if engage else "kill_switch.released"
    head = audit.append(tx, event, caller.principal, scope=name, reason=reason)
    return Switch(*head, name, engage, reason, caller.principal)


def _may_engage(caller: Token, scope: str, account: Account | None) -> None:
    if scope == "account" or account is not None or "admin" in caller.scopes:
        return
    if caller.accounts:
        raise Forbidden("this token may stop its own accounts: use scope=account")
    if scope == "global" and "approve" not in caller.scopes:
        raise Forbidden("this token may stop an account: use scope=account with account_id")


def _covered(tx: Transaction, account: Account | None) -> list[Account]:
    return [account] if account else accounts.all_accounts(tx)


def _live_orders(tx: Transaction, account: int, symbol: str | None) -> list[OrderRow]:
    live = orders.live(tx, account)
    return [o for o in live if symbol is None or trades.get(tx, o.trade_id).symbol == symbol]


async def _wait_until_sent(desk: Desk, trade_ids: Sequence[str]) -> None:
    """Wait until each has been sent or has passed the gate after which nobody may send it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (SEND_WITHIN_S + CONNECT_WITHIN_S) * 1.1
    while loop.time() < deadline:
        states = await desk.database.read(
            lambda tx: [orders.get(tx, trade_id).state for trade_id in trade_ids]
        )
        if OrderState.SENDING not in states:
            return
        await asyncio.sleep(0.02)


async def _cancel(desk: Desk, trade_id: str) -> dict[str, Any]:
    trade = await desk.database.read(lambda tx: trades.get(tx, trade_id))
    account = await desk.database.read(lambda tx: accounts.by_number(tx, trade.account))
    try:
        await ask_for_cancel(desk, account, trade)
    except ExecError as error:
        # The flag stands: reconcile asks again. The others are not held up.
        log.warning("cancel.not_asked", trade_id=trade_id, detail=error.detail)
    order = await desk.database.read(lambda tx: orders.get(tx, trade_id))
    return {
        "trade_id": trade_id,
        "state": order.state,
        "cancel_requested": order.cancel_requested_at is not None,
    }


async def release(
    desk: Desk,
    caller: Token,
    *,
    reason: str,
    scope: str,
    account: Account | None,
    symbol: str | None,
) -> dict[str, Any]:
    """Let new orders through again.

    Raises:
        NotFound: no such kill switch is engaged.
    """
    name = controls.scope_name(scope, account.id if account else None, symbol)

    def body(tx: Transaction) -> Switch:
        if controls.engaged(tx, [name]) is None:
            raise NotFound(f"no kill switch is engaged for {name}")
        return _switch(tx, caller, name, False, reason)

    tell_switch(desk, await desk.database.write(body))
    return {"scope": name, "engaged": False, "reason": reason}


async def status(desk: Desk, caller: Token, account: Account) -> dict[str, Any]:
    """Return kill switches, limits with what they leave, and what waits or works."""

    def body(tx: Transaction) -> dict[str, Any]:
        limits = resolve_limits(
            desk.checks, account.environment, desk.config.risk, account.limits, caller.limits
        )
        principal, now = caller.principal, tx.now
        used = {
            "max_daily_notional": trades.daily_notional(
                tx, account.number, principal, planning.today(now)
            ),
            "max_orders_per_minute": Decimal(
                trades.claimed_since(tx, account.number, principal, now - _MINUTE, 10_000)
            ),
            "max_pending_trades": Decimal(trades.pending_count(tx, account.number, principal, "")),
        }
        mine = {"global", controls.scope_name("account", account.id)}
        switches = [
            {
                "scope": row["scope"],
                "reason": row["reason"],
                "by": row["by"],
                "at": to_et(from_row(row["at"])),
            }
            for row in controls.all_engaged(tx)
            if row["scope"] in mine
            or row["scope"].startswith(f"symbol:{account.id}:")
            or row["scope"].count(":") == 1
            and row["scope"].startswith("symbol:")
        ]
        fresh = accounts.by_number(tx, account.number)
        quarantined = controls.quarantine(tx)
        threshold = approval_threshold(fresh)
        return {
            "account_id": account.id,
            "environment": account.environment,
            "currency": account.currency,
            "enabled": fresh.enabled,
            "stopped": fresh.break_reason,
            "quarantined": quarantined,
            "can_trade": fresh.enabled
            and not (fresh.break_reason or quarantined)
            and not any(switch["scope"] in mine for switch in switches),
            "kill_switches": switches,
            "checks": [_limit_row(desk, name, limits[name], used) for name in desk.checks],
            "approval": {"threshold": threshold} if threshold is not None else None,
            "pending_trades": len(trades.pending(tx, account.number)),
            "open_orders": len(orders.live(tx, account.number)),
            "as_of": to_et(now),
        }

    return await desk.database.read(body)


def _limit_row(
    desk: Desk, name: str, limit: Decimal | str | None, used: dict[str, Decimal]
) -> dict[str, Any]:
    row: dict[str, Any] = {"check": name, "limit": limit, "unit": desk.checks[name].LIMIT.unit}
    if name in used:
        row["used"] = used[name]
        if isinstance(limit, Decimal):
            row["headroom"] = limit - used[name]
    return row


async def _ask_first(desk: Desk, caller: Token, trade_id: str) -> str:
    """Return what the exchange says of an order before a hand ends it; refuse one it knows."""
    trade, account = await desk.database.read(lambda tx: visible(tx, caller, trade_id))
    order = await desk.database.read(lambda tx: orders.find(tx, trade_id))
    if order is None or order.state not in UNSETTLED:
        return ""  # Refused below, in better words.
    try:
        exchange = await desk.exchange(account)
        now = await exchange.now()
        found = await exchange.find(trade_id, trade.symbol, order.exchange_order_id)
    except NO_ANSWER as error:
        return f"no answer: {error.detail}"
    margin = exchange.capabilities.absence_margin
    if found is None and now <= order.valid_until + margin:
        raise Refused(
            f"the exchange can still take it until {to_et(order.valid_until + margin)}",
            current_status=trade.status,
            trade_id=trade_id,
        )
    if found is not None:
        await take_report(desk, account, exchange, found, "look-up")
        raise Refused(
            "the exchange knows this order: it was settled as the exchange says",
            "order_not_open",
            trade_id=trade_id,
        )
    return "not found"


async def settle_by_hand(
    desk: Desk, caller: Token, trade_id: str, outcome: str, reason: str
) -> dict[str, Any]:
    """End an order of unknown outcome on the operator's word, with a reason for the audit.

    Args:
        outcome: `absent`. What was filled is never typed in: it is booked from the
            exchange's own report, which a look-up fetches.

    The exchange is asked first: an order that it knows is settled as it says instead. Only
    where it gives no answer the operator's word stands alone.

    Raises:
        Refused: the order's outcome is not unknown, or the exchange knows it.
    """
    if outcome != "absent":
        raise Refused("--as must be absent: fills are booked from the exchange's report only")
    told = await _ask_first(desk, caller, trade_id)

    def body(tx: Transaction) -> dict[str, Any]:
        trade, account = visible(tx, caller, trade_id)
        order = orders.find(tx, trade_id)
        margin = desk.exchanges[account.exchange].CAPABILITIES.absence_margin
        if order is not None and tx.now <= order.valid_until + margin:
            raise Refused(
                f"the exchange can still take it until {to_et(order.valid_until + margin)}",
                current_status=trade.status,
                trade_id=trade_id,
            )
        if order is None or order.state not in UNSETTLED:
            raise Refused(
                "only an order of unknown outcome is settled by hand",
                "order_not_open",
                current_status=trade.status,
                trade_id=trade_id,
            )
        audit.append(
            tx,
            "order.settled_by_hand",
            caller.principal,
            account=account.number,
            trade_id=trade_id,
            outcome=outcome,
            reason=reason,
            exchange=told,
        )
        settle.absent(tx, account, trade_id, f"by hand: {reason}")
        return views.load(tx, trade_id)

    return await desk.database.write(body)


async def clear_break(
    desk: Desk, caller: Token, account: Account, reason: str, accept_exchange: bool
) -> dict[str, Any]:
    """Let an account take new risk again after an incident was looked into.

    Args:
        accept_exchange: the operator says that the exchange is right: the difference of
            each total is posted as an adjustment.

    Raises:
        Refused: `account_in_use`: an order lives, so totals cannot be compared.
    """
    told: dict[str, Decimal] = {}
    version = account.ledger_version
    if accept_exchange:
        version = await desk.database.read(lambda tx: _quiet_version(tx, account))
        exchange = await desk.exchange(account)
        told = {b.currency: b.total for b in await exchange.balances()}

    def body(tx: Transaction) -> dict[str, str]:
        posted: dict[str, str] = {}
        if accept_exchange:
            # A fill between the question and this moment would be counted twice.
            if _quiet_version(tx, account) != version:
                raise Refused(f"{account.id} moved meanwhile; try again", "account_in_use")
            for currency in sorted({*told, *(f.currency for f in all_funds(tx, account.number))}):
                total = funds(tx, account.number, currency).total
                difference = told.get(currency, Decimal(0)) - total
                if difference:
                    adjust(tx, account.number, currency, difference, "adjustment")
                    posted[currency] = to_text(difference)
            accounts.touch_postings(tx, account.number)
        accounts.set_break(tx, account.number, None)
        audit.append(
            tx,
            "account.resumed",
            caller.principal,
            account=account.number,
            reason=reason,
            adjustments=posted,
        )
        return posted

    posted = await desk.database.write(body)
    return {"account_id": account.id, "stopped": None, "adjustments": posted}


def _quiet_version(tx: Transaction, account: Account) -> int:
    """Return the ledger's version while no order of the account lives."""
    if orders.live(tx, account.number):
        raise Refused(f"{account.id} has live orders; cancel them first", "account_in_use")
    return accounts.by_number(tx, account.number).ledger_version


async def lift_quarantine(desk: Desk, caller: Token, reason: str) -> dict[str, Any]:
    """Take new risk again after the operator has looked.

    Raises:
        NotFound: the server is not quarantined.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        entered = controls.quarantine(tx)
        if entered is None:
            raise NotFound("the server is not quarantined")
        controls.set_quarantine(tx, None)
        audit.append(tx, "quarantine.lifted", caller.principal, entered=entered, reason=reason)
        return {"quarantined": None, "was": entered, "reason": reason}

    return await desk.database.write(body)
