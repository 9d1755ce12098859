"""Reconcile: ask the exchange about every order that is not final, and settle the answers.

| what we find                       | what we do                                         |
|------------------------------------|----------------------------------------------------|
| the order                          | settle it                                          |
| "not found", request may still live| nothing: it is no evidence                         |
| "not found", after validity        | count it; enough of them, spaced, and no foreign   |
|                                    | fill or order that could be it: absent             |
| an error, a time-out, a refusal    | nothing: it is no evidence                         |
| a live order that we had ended     | incident, the account stops, it is cancelled       |
| a live order of our form, no row   | quarantine: our books are older than the exchange's |

Orders are never sent from here. Two reconcilers do no harm: every change is a guarded
UPDATE of a row that may have moved on.
"""

import asyncio
from datetime import datetime, timedelta

from backend.database import Transaction
from backend.domain.clock import to_row
from backend.domain.errors import NO_ANSWER, ExecError
from backend.domain.order import UNSETTLED, OrderReport
from backend.domain.trade import CancelReason, is_trade_id
from backend.exchanges import Exchange
from backend.services import Desk, log, settle
from backend.services.execution import request_cancel, take_report
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, controls, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow

# Clocks and reports may differ by this much around the moment of signing.
_BEFORE_SIGNING = timedelta(seconds=5)
_SNAPSHOT_EVERY = timedelta(hours=1)
_WATCH_ABSENT = timedelta(minutes=5)


async def reconcile_all(desk: Desk) -> None:
    """Reconcile every account once. One account's trouble stops no other."""
    known = await desk.database.read(accounts.all_accounts)
    for gone in desk.trouble.keys() - {"keeper"} - {account.id for account in known}:
        del desk.trouble[gone]
    ended = await asyncio.gather(
        *(reconcile(desk, account) for account in known), return_exceptions=True
    )
    for account, error in zip(known, ended, strict=True):
        if error is None:
            desk.trouble.pop(account.id, None)
        elif isinstance(error, ExecError):
            log.warning("reconcile.no_answer", account_id=account.id, detail=error.detail)
        else:
            log.error("reconcile.failed", account_id=account.id, error=repr(error))
            desk.trouble[account.id] = repr(error)


async def reconcile(desk: Desk, account: Account) -> None:
    """Reconcile one account: unsettled orders first, then the working ones in bulk."""
    live = await desk.database.read(lambda tx: orders.live(tx, account.number))
    exchange = await desk.exchange(account)
    for order in live:
        if order.state in UNSETTLED:
            await _look_up(desk, account, exchange, order)
    last, now = desk.polled.get(account.number), desk.clock()
    working = [order for order in live if order.state not in UNSETTLED]
    if last is None or now - last >= exchange.capabilities.poll_every:
        desk.polled[account.number] = now
        seen = await _follow_working(desk, account, exchange, working)
        await _watch_absent(desk, account, exchange, seen)
    elif working:
        return  # A fill that we have not seen yet would look like a difference.
    # Not until it really was compared: the books may be an older copy.
    always = account.number not in desk.compared
    if await compare_balances(desk, account, exchange, always=always):
        desk.compared.add(account.number)


async def _watch_absent(desk: Desk, account: Account, exchange: Exchange, seen: set[str]) -> None:
    """Look again for orders that were found absent of late: one that turns up is an incident."""
    since = desk.clock() - _WATCH_ABSENT
    gone = await desk.database.read(lambda tx: orders.absent_since(tx, account.number, since))
    for order in gone:
        if order.trade_id in seen:
            continue
        found = await exchange.find(order.trade_id, await _symbol(desk, order))
        if found is not None:
            await take_report(desk, account, exchange, found, "look-up")


async def _follow_working(
    desk: Desk, account: Account, exchange: Exchange, working: list[OrderRow]
) -> set[str]:
    """Read all open orders at once; look up one by one only those that are missing there.

    Returns:
        the trade ids among the open orders.
    """
    seen: set[str] = set()
    for report in await exchange.open_orders():
        if not is_trade_id(report.client_order_id):
            continue  # Somebody traded by hand: tolerated, never attached.
        seen.add(report.client_order_id)
        if not await _is_foreign(desk, account, report):
            await take_report(desk, account, exchange, report, "look-up")
    for order in working:
        if order.trade_id not in seen:
            await _look_up(desk, account, exchange, order)
        elif order.cancel_requested_at is not None:
            symbol = await _symbol(desk, order)
            await request_cancel(exchange, order.trade_id, symbol)
            await _look_up(desk, account, exchange, order)
    return seen


async def _is_foreign(desk: Desk, account: Account, report: OrderReport) -> bool:
    ours = await desk.database.read(lambda tx: orders.find(tx, report.client_order_id))
    if ours is None:
        await desk.database.write(lambda tx: _quarantine(tx, account, report))
    return ours is None


def _quarantine(tx: Transaction, account: Account, report: OrderReport) -> None:
    """Take no new risk: an order of our form is not in our books.

    A row is committed before any byte leaves, so the books are older than the order:
    an older copy was restored. The order is reported, never attached.
    """
    if controls.quarantine(tx) is not None:
        return
    reason = f"order {report.client_order_id} at {account.id} is not in these books"
    # Everybody reads the quarantine's reason: which account it is stands in the audit only.
    controls.set_quarantine(
        tx, "an exchange holds an order of ours that is not in the books: was a copy restored?"
    )
    for one in accounts.all_accounts(tx):
        cancel_pending(tx, one.number, "system", CancelReason.QUARANTINE)
    audit.append(tx, "quarantine.entered", "system", account=account.number, reason=reason)


async def _symbol(desk: Desk, order: OrderRow) -> str:
    trade = await desk.database.read(lambda tx: trades.get(tx, order.trade_id))
    return trade.symbol


async def _look_up(desk: Desk, account: Account, exchange: Exchange, order: OrderRow) -> None:
    symbol = await _symbol(desk, order)
    asked_at = await exchange.now()
    try:
        found = await exchange.find(order.trade_id, symbol)
    except NO_ANSWER as error:
        log.info("look_up.no_evidence", trade_id=order.trade_id, detail=error.detail)
        return
    if found is not None:
        await take_report(desk, account, exchange, found, "look-up")
        # A cancel asked for while the order was not to be found is asked for again now.
        if order.cancel_requested_at is not None and order.state in UNSETTLED:
            await request_cancel(exchange, order.trade_id, symbol)
    elif order.state in UNSETTLED:
        await _count_absence(desk, account, exchange, order, symbol, asked_at)
    else:
        # An order that we saw live is not gone because one answer misses it.
        log.warning("order.not_found", trade_id=order.trade_id, state=order.state)


async def _count_absence(
    desk: Desk,
    account: Account,
    exchange: Exchange,
    order: OrderRow,
    symbol: str,
    asked_at: datetime,
) -> None:
    """Count a "not found" that was asked for after the order could no longer be accepted."""
    rules = exchange.capabilities
    if asked_at <= order.valid_until + rules.absence_margin:
        return
    last = order.looked_up_at
    if last is not None and order.not_found and asked_at - last < rules.absence_spacing:
        return
    answers = order.not_found + 1
    await desk.database.write(
        lambda tx: orders.update(
            tx, order.trade_id, not_found=answers, looked_up_at=to_row(asked_at)
        )
    )
    if answers < rules.absence_answers:
        return
    try:
        for report in await exchange.orders(symbol, order.sign_time - _BEFORE_SIGNING):
            if report.client_order_id == order.trade_id:
                # The look-ups missed it: the history is evidence all the same.
                await take_report(desk, account, exchange, report, "history")
                return
        doubt = await _could_be_ours(desk, account, exchange, order, symbol)
    except NO_ANSWER as error:
        log.info("history.no_evidence", trade_id=order.trade_id, detail=error.detail)
        return
    if doubt:
        await desk.database.write(
            lambda tx: settle.incident(tx, account, trades.get(tx, order.trade_id), doubt)
        )
        return
    evidence = f"{answers} not found after {to_row(order.valid_until)}, history and fills clear"
    await desk.database.write(lambda tx: settle.absent(tx, account, order.trade_id, evidence))


async def _could_be_ours(
    desk: Desk, account: Account, exchange: Exchange, order: OrderRow, symbol: str
) -> str | None:
    """Return the fill at the exchange that could be this order's after all, or None."""
    trade = await desk.database.read(lambda tx: trades.get(tx, order.trade_id))
    since = order.sign_time - _BEFORE_SIGNING
    fills = [f for f in await exchange.fills(symbol, since) if f.side == trade.side]
    ids = [(f.exchange_order_id, f.exchange_fill_id) for f in fills]
    booked = await desk.database.read(
        lambda tx: orders.known_fill_ids(tx, account.number, symbol, ids)
    )
    unbooked = [pair for pair in ids if pair not in booked]
    return f"fill {unbooked[0][1]} belongs to no known order" if unbooked else None


async def compare_balances(
    desk: Desk, account: Account, exchange: Exchange, *, always: bool = False
) -> bool:
    """Keep a snapshot of the exchange's balances, and stop on a difference at rest.

    A difference counts only when nothing of the account moves and the snapshot was asked
    for after the last posting; two in a row make a break.

    Args:
        always: whether or not a comparison is due: on the first look after a start, as the
            books may be an older copy.

    Returns:
        whether they were compared.
    """
    before = await desk.database.read(lambda tx: _comparable(tx, account, always))
    if before is None:
        return False
    told = {b.currency: b for b in await exchange.balances()}

    def body(tx: Transaction) -> bool:
        if _comparable(tx, account, always) != before:
            return False
        ours = {f.currency: f for f in ledger.all_funds(tx, account.number)}
        wrong = []
        for currency in sorted({*told, *ours}):
            total = told[currency].total if currency in told else 0 * ours[currency].total
            free = told[currency].free if currency in told else total
            ledger.snapshot(tx, account.number, currency, total, free)
            if total != ledger.funds(tx, account.number, currency).total:
                wrong.append(currency)
        _judge(tx, account, wrong)
        return True

    return await desk.database.write(body)


def at_rest(tx: Transaction, account: Account) -> bool:
    """Say whether nothing of the account moves: every live order only rests.

    Totals can be compared then, though not what is free.
    """
    return all(
        order.state not in UNSETTLED and order.reported_quantity == order.filled_quantity
        for order in orders.live(tx, account.number)
    )


def _comparable(tx: Transaction, account: Account, always: bool) -> int | None:
    """Return the ledger version when a comparison is due and nothing moves, else None."""
    if not at_rest(tx, account):
        return None
    now = accounts.by_number(tx, account.number)
    last = ledger.snapshots(tx, account.number, 1)
    due = not last or last[0]["at"] < to_row(tx.now - _SNAPSHOT_EVERY)
    # A stopped account is compared when something changes; once resumed, at once.
    stopped = now.break_reason is not None
    doubted = not stopped and tx.value(
        "SELECT value FROM meta WHERE key = ?", (_doubt_key(account),)
    )
    newer = bool(last) and (now.posted_at or "") >= last[0]["at"]
    return now.ledger_version if always or due or newer or doubted else None


def _doubt_key(account: Account) -> str:
    return f"balance_doubt:{account.number}"


def _judge(tx: Transaction, account: Account, wrong: list[str]) -> None:
    key = _doubt_key(account)
    before = tx.value("SELECT value FROM meta WHERE key = ?", (key,))
    tx.execute("DELETE FROM meta WHERE key = ?", (key,))
    if not wrong:
        return
    tx.insert("meta", {"key": key, "value": ",".join(wrong)})
    if before and accounts.by_number(tx, account.number).break_reason is None:
        reason = f"the ledger and the exchange differ in {', '.join(wrong)}"
        accounts.set_break(tx, account.number, reason)
        audit.append(tx, "account.break", "system", account=account.number, reason=reason)
