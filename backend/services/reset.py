"""Resetting an account that holds no real money.

A paper account goes back to its opening balance. A testnet or demo account begins a new
accounting epoch: its exchange was reset, and what we know of it is no longer so.

| step of an epoch      | durable before | if we die here             | twice                     |
|-----------------------|----------------|----------------------------|---------------------------|
| cancel pending plans  | plans          | the account stays stopped  | there are none left       |
| ask for each order    | as above       | as above                   | asked again               |
| one write for the rest| as above       | before COMMIT: as above    | refused: no longer stopped|
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_row
from backend.domain.errors import Refused
from backend.domain.money import ZERO, padded, to_text
from backend.domain.order import OrderState
from backend.domain.trade import CancelReason, FailReason, TradeStatus, is_trade_id
from backend.exchanges import Exchange
from backend.services import Desk, market
from backend.services.absence import symbol_of
from backend.services.accounts import keep_balances
from backend.services.connections import account_key
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow

# How an order that went with its exchange has ended.
EXCHANGE_RESET = "exchange_reset"


async def reset(desk: Desk, actor: str, account: Account) -> dict[str, Any]:
    """Put a paper account back to its opening, or begin a test account anew. History stays.

    Raises:
        Refused: a live account; a test account that nothing stopped; `account_in_use`: it
            has orders, and at a test exchange such that may still be there.
        ExchangeUnavailable: the exchange did not answer; nothing was changed.
    """
    if account.environment == "paper":
        return await _reset_paper(desk, actor, account)
    if account.environment == "live":
        raise Refused(f"{account.id} is live: its record is never reset")
    return await _begin_epoch(desk, actor, account)


async def _reset_paper(desk: Desk, actor: str, account: Account) -> dict[str, Any]:
    module = desk.exchanges[account.exchange]

    def end_plans(tx: Transaction) -> None:
        if orders.live(tx, account.number):
            raise Refused(f"{account.id} has live orders; cancel them first", "account_in_use")
        cancel_pending(tx, account.number, actor, CancelReason.CALLER)

    await desk.database.write(end_plans)
    await module.reset_account(account_key(account), desk.context)
    exchange = await desk.exchange(account)
    told = {b.currency: b.total for b in await exchange.balances()}

    def body(tx: Transaction) -> dict[str, Any]:
        end_plans(tx)
        _take_over(tx, account, told, "adjustment")
        audit.append(tx, "account.reset", actor, account=account.number)
        return _shown(account, told)

    return await desk.database.write(body)


async def _begin_epoch(desk: Desk, actor: str, account: Account) -> dict[str, Any]:
    def end_plans(tx: Transaction) -> tuple[list[OrderRow], int]:
        _stopped(tx, account)
        cancel_pending(tx, account.number, actor, CancelReason.CALLER)
        before = accounts.by_number(tx, account.number).ledger_version
        return orders.live(tx, account.number), before

    live, before = await desk.database.write(end_plans)
    exchange = await desk.exchange(account)
    with market.unanswered():
        await _refuse_known(desk, exchange, account, live)
        asked_at = to_row(desk.clock())
        told = await exchange.balances()

    def body(tx: Transaction) -> dict[str, Any]:
        reason = _stopped(tx, account)
        if accounts.by_number(tx, account.number).ledger_version != before:
            raise Refused(f"{account.id} moved while it was looked at; try again", "account_in_use")
        for order in live:
            _end(tx, actor, order)
        totals = {balance.currency: balance.total for balance in told}
        orders.retire_fills(tx, account.number)
        keep_balances(tx, account, told, asked_at)
        # As what was kept just now is told of, these postings do not come on top of it.
        _take_over(tx, account, totals, "opening")
        ended = [order.trade_id for order in live]
        audit.append(
            tx,
            "account.epoch",
            actor,
            account=account.number,
            what="a new accounting epoch",
            stopped=reason,
            ended=ended,
            balances={currency: to_text(total) for currency, total in sorted(totals.items())},
        )
        return {**_shown(account, totals), "ended": ended}

    return await desk.database.write(body)


def _stopped(tx: Transaction, account: Account) -> str:
    """Return why the account is stopped, and refuse one that is not."""
    reason = accounts.by_number(tx, account.number).break_reason
    if reason is None:
        raise Refused(
            f"nothing has stopped {account.id}: only what an exchange's reset stopped begins anew"
        )
    return reason


async def _refuse_known(
    desk: Desk, exchange: Exchange, account: Account, live: list[OrderRow]
) -> None:
    """Refuse while the exchange knows any order of ours, or might still take one."""
    now = await exchange.now()
    known = [o.client_order_id for o in await exchange.open_orders()]
    known = [client_order_id for client_order_id in known if is_trade_id(client_order_id)]
    for order in live:
        symbol = await symbol_of(desk, order)
        found = await exchange.find(order.trade_id, symbol, order.exchange_order_id)
        may_come = now <= order.valid_until + exchange.capabilities.absence_margin
        if (found is not None or may_come) and order.trade_id not in known:
            known.append(order.trade_id)
    last = await desk.database.read(lambda tx: orders.newest_filled(tx, account.number))
    if last is not None and not known:
        symbol = await symbol_of(desk, last)
        if await exchange.find(last.trade_id, symbol, last.exchange_order_id) is not None:
            known.append(last.trade_id)
    if known:
        raise Refused(
            f"{account.exchange} knows {', '.join(known[:3])}, or may still take it: it was not "
            "reset; let its orders end, or `exec-mcp account resume` the account",
            "account_in_use",
            live_orders=known,
        )


def _end(tx: Transaction, actor: str, order: OrderRow) -> None:
    """End an order that is gone with its exchange: what was booked of it decides."""
    orders.move(tx, order.trade_id, OrderState.EXPIRED, exchange_code=EXCHANGE_RESET)
    if order.filled_quantity:
        status, reason = TradeStatus.EXECUTED, None
    else:
        status, reason = TradeStatus.FAILED, FailReason.ORDER_EXPIRED.value
    trades.move(tx, order.trade_id, status, reason)
    ledger.void(tx, order.account, order.trade_id)
    audit.append(
        tx,
        "order.expired",
        actor,
        account=order.account,
        trade_id=order.trade_id,
        state=OrderState.EXPIRED.value,
        status=status.value,
        why=EXCHANGE_RESET,
    )


def _take_over(tx: Transaction, account: Account, told: Mapping[str, Decimal], kind: str) -> None:
    """Let the ledger hold what the exchange says, forget positions, take new risk again."""
    ours = {one.currency for one in ledger.all_funds(tx, account.number)}
    for currency in sorted(ours | told.keys()):
        change = told.get(currency, ZERO) - ledger.funds(tx, account.number, currency).total
        if change:
            ledger.adjust(tx, account.number, currency, change, kind)
    ledger.clear_positions(tx, account.number)
    accounts.set_break(tx, account.number, None)
    accounts.touch_postings(tx, account.number)


def _shown(account: Account, told: Mapping[str, Decimal]) -> dict[str, Any]:
    balances = {currency: padded(total, 2) for currency, total in sorted(told.items())}
    return {"account_id": account.id, "balances": balances}
