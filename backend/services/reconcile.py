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
from collections.abc import Mapping, Sequence
from datetime import timedelta

from backend.database import Transaction
from backend.domain.clock import to_row
from backend.domain.errors import SILENCE, ExecError, RateLimited
from backend.domain.money import ZERO, stored, to_text
from backend.domain.order import UNSETTLED, OrderReport
from backend.domain.trade import CancelReason, is_trade_id
from backend.exchanges import Balance, Exchange
from backend.services import Desk, log
from backend.services.absence import History, look_up, symbol_of
from backend.services.accounts import keep_balances
from backend.services.common_settings import ON_DIFFERENCE
from backend.services.execution import request_cancel, take_report
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, controls, ledger, orders
from backend.store.accounts import Account
from backend.store.orders import OrderRow

# From so many unsettled orders on the history is read before each is asked for.
_MANY = 20
_SNAPSHOT_EVERY = timedelta(hours=1)
_WATCH_ABSENT = timedelta(minutes=5)


async def reconcile_all(desk: Desk) -> None:
    """Reconcile every account once. One account's trouble stops no other."""
    known = await desk.database.read(accounts.all_accounts)
    await forget_deleted(desk, known)
    ended = await asyncio.gather(
        *(reconcile(desk, account) for account in known), return_exceptions=True
    )
    for account, error in zip(known, ended, strict=True):
        note_outcome(desk, account, error)


async def forget_deleted(desk: Desk, known: Sequence[Account]) -> None:
    """Forget accounts that are not there any more: another process may have deleted them."""
    await desk.connections.keep_only(account.number for account in known)
    ids = {account.id for account in known}
    for gone in desk.trouble.keys() - {"keeper"} - ids:
        del desk.trouble[gone]
    for gone in desk.silent.keys() - ids:
        del desk.silent[gone]


def note_outcome(desk: Desk, account: Account, error: BaseException | None) -> None:
    """Tell how a round of `reconcile` ended."""
    if error is None:
        desk.trouble.pop(account.id, None)
        desk.silent.pop(account.id, None)
    elif isinstance(error, RateLimited):
        log.info("reconcile.paused", account_id=account.id, detail=error.detail)
    elif isinstance(error, ExecError):
        if desk.silent.get(account.id) != error.detail:  # Once, not each second.
            log.warning("reconcile.no_answer", account_id=account.id, detail=error.detail)
        desk.silent[account.id] = error.detail
    else:
        log.error("reconcile.failed", account_id=account.id, error=repr(error))
        desk.trouble[account.id] = repr(error)


async def reconcile(desk: Desk, account: Account, *, whole: bool = False) -> None:
    """Reconcile one account: unsettled orders first, then the working ones in bulk.

    Args:
        whole: read all open orders whether or not it is time to.
    """
    live = await desk.database.read(lambda tx: orders.live(tx, account.number))
    exchange = await desk.exchange(account)
    try:
        await _look_up_unsettled(desk, account, exchange, live, whole)
    except RateLimited:
        # A cancel has room of its own, whatever look-ups have used up.
        await _repeat_cancels(desk, exchange, live)
        raise
    last, now = desk.polled.get(account.number), desk.clock()
    working = [order for order in live if order.state not in UNSETTLED]
    if whole or last is None or now - last >= exchange.capabilities.poll_every:
        desk.polled[account.number] = now
        seen = await _follow_working(desk, account, exchange, working)
        await _watch_absent(desk, account, exchange, seen)
    elif working:
        return  # A fill that we have not seen yet would look like a difference.
    # Not until it really was compared: the books may be an older copy.
    always = account.number not in desk.compared
    if await compare_balances(desk, account, exchange, always=always):
        desk.compared.add(account.number)


async def _look_up_unsettled(
    desk: Desk, account: Account, exchange: Exchange, live: list[OrderRow], whole: bool
) -> None:
    """Look up what is unsettled, no order more often than its exchange wants to be asked.

    The one that was not looked at for longest comes first, so that a spent rate budget
    starves none. Many at once are looked for in the history first, by the thousand.
    """
    looked, now = desk.looked, desk.clock()
    unsettled = [order for order in live if order.state in UNSETTLED]
    history = History(exchange, unsettled)
    if len(unsettled) > _MANY and (whole or account.number not in desk.polled):
        await _adopt(desk, account, exchange, history)
        live = await desk.database.read(lambda tx: orders.live(tx, account.number))
        unsettled = [order for order in live if order.state in UNSETTLED]
    every = exchange.capabilities.look_up_every
    for order in sorted(unsettled, key=lambda o: looked.get(o.trade_id, o.sign_time)):
        if order.trade_id in looked and now - looked[order.trade_id] < every:
            continue
        if every:
            looked[order.trade_id] = now
        await look_up(desk, account, exchange, order, history)
        if every and not await _is_unsettled(desk, order):
            looked.pop(order.trade_id, None)


async def _repeat_cancels(desk: Desk, exchange: Exchange, live: list[OrderRow]) -> None:
    """Ask again for the cancels that were asked for, no more often than for a look-up."""
    now, every = desk.clock(), exchange.capabilities.look_up_every
    for order in live:
        key = f"cancel {order.trade_id}"
        recent = key in desk.looked and now - desk.looked[key] < every
        if order.cancel_requested_at is not None and order.exchange_order_id and not recent:
            desk.looked[key] = now
            await _cancel_again(desk, exchange, order)


async def _cancel_again(desk: Desk, exchange: Exchange, order: OrderRow) -> None:
    symbol = await symbol_of(desk, order)
    await request_cancel(exchange, order.trade_id, symbol, order.exchange_order_id)


async def _is_unsettled(desk: Desk, order: OrderRow) -> bool:
    after = await desk.database.read(lambda tx: orders.get(tx, order.trade_id))
    return after.state in UNSETTLED


async def _adopt(desk: Desk, account: Account, exchange: Exchange, history: History) -> None:
    symbols = {await symbol_of(desk, order) for order in history.wanted}
    for symbol in sorted(symbols):
        try:
            recorded = await history.orders(symbol)
        except SILENCE as error:  # Each order is asked for by itself then.
            log.info("history.no_evidence", symbol=symbol, detail=error.detail)
            continue
        for report in recorded:
            if is_trade_id(report.client_order_id):
                await take_report(desk, account, exchange, report, "history")


async def _watch_absent(desk: Desk, account: Account, exchange: Exchange, seen: set[str]) -> None:
    """Look again for orders that were found absent of late: one that turns up is an incident."""
    since = desk.clock() - _WATCH_ABSENT
    gone = await desk.database.read(lambda tx: orders.absent_since(tx, account.number, since))
    for order in gone:
        if order.trade_id in seen:
            continue
        symbol = await symbol_of(desk, order)
        try:
            found = await exchange.find(order.trade_id, symbol, order.exchange_order_id)
        except SILENCE as error:
            log.info("look_up.no_evidence", trade_id=order.trade_id, detail=error.detail)
            continue
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
    history = History(exchange, ())
    try:
        told = await exchange.open_orders()
    except RateLimited:
        await _repeat_cancels(desk, exchange, working)
        raise
    for report in told:
        if not is_trade_id(report.client_order_id):
            continue  # Somebody traded by hand: tolerated, never attached.
        seen.add(report.client_order_id)
        if not await _is_foreign(desk, account, report):
            await take_report(desk, account, exchange, report, "look-up")
    flagged = [o for o in working if o.cancel_requested_at is not None and o.trade_id in seen]
    for order in flagged:  # All of them before any look-up, which may find the budget spent.
        await _cancel_again(desk, exchange, order)
    for order in working:
        if order.trade_id not in seen or order in flagged:
            await look_up(desk, account, exchange, order, history)
    return seen


async def _is_foreign(desk: Desk, account: Account, report: OrderReport) -> bool:
    ours = await desk.database.read(lambda tx: orders.find(tx, report.client_order_id))
    key = f"foreign {report.client_order_id}"
    if ours is None and key not in desk.looked:  # Once, not at each look.
        desk.looked[key] = desk.clock()
        log.error("order.foreign", trade_id=report.client_order_id, account_id=account.id)
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


async def compare_balances(
    desk: Desk, account: Account, exchange: Exchange, *, always: bool = False
) -> bool:
    """Keep a snapshot of the exchange's balances, and stop on a difference at rest.

    A difference counts only when nothing of the account moves, the snapshot was asked for
    after the last posting and no live order has been filled since; two in a row make a break.

    Args:
        always: whether or not a comparison is due: on the first look after a start, as the
            books may be an older copy.

    Returns:
        whether they were compared.
    """
    before = await desk.database.read(lambda tx: _comparable(tx, account, always))
    if before is None:
        return False
    asked_at = to_row(desk.clock())
    told = {b.currency: b for b in await exchange.balances()}
    if await desk.database.read(lambda tx: _differences(tx, account, told)):
        await _look_again(desk, account, exchange)

    def body(tx: Transaction) -> bool:
        if account.environment != "paper":
            keep_balances(tx, account, list(told.values()), asked_at)
        if _comparable(tx, account, always) != before:
            return False
        for currency in _currencies(tx, account, told):
            balance = told.get(currency, Balance(currency, ZERO, ZERO))
            ledger.snapshot(tx, account.number, currency, balance.total, balance.free)
        _judge(tx, account, _differences(tx, account, told))
        return True

    return await desk.database.write(body)


async def _look_again(desk: Desk, account: Account, exchange: Exchange) -> None:
    """Book what was filled between the look at the orders and the one at the balances."""
    for order in await desk.database.read(lambda tx: orders.live(tx, account.number)):
        await look_up(desk, account, exchange, order, History(exchange, ()))


def _currencies(tx: Transaction, account: Account, told: Mapping[str, Balance]) -> list[str]:
    return sorted({*told, *(f.currency for f in ledger.all_funds(tx, account.number))})


def _differences(tx: Transaction, account: Account, told: Mapping[str, Balance]) -> list[str]:
    """Return each currency that differs, with how much more the exchange has of it."""
    more = {
        currency: (told[currency].total if currency in told else ZERO)
        - ledger.funds(tx, account.number, currency).total
        for currency in _currencies(tx, account, told)
    }
    return [f"{currency} {to_text(amount)}" for currency, amount in more.items() if amount]


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
    """Two snapshots in a row that tell the same difference make a break, or an adjustment.

    Args:
        wrong: currencies that differ, each with how much more the exchange has.
    """
    key = _doubt_key(account)
    before = tx.value("SELECT value FROM meta WHERE key = ?", (key,)) or ""
    tx.execute("DELETE FROM meta WHERE key = ?", (key,))
    lasting = [one for one in wrong if one in before.split(", ")]
    # While something else is wrong, or an order is not to be found, nothing is explained away.
    doubtful = accounts.by_number(tx, account.number).break_reason is not None or any(
        order.not_found for order in orders.live(tx, account.number)
    )
    if lasting and account.settings.get(ON_DIFFERENCE) == "adjust" and not doubtful:
        _adjust(tx, account, lasting)
        wrong = [one for one in wrong if one not in lasting]
    if wrong:
        tx.insert("meta", {"key": key, "value": ", ".join(wrong)})
    stops = account.settings.get(ON_DIFFERENCE) != "adjust"
    if lasting and stops and accounts.by_number(tx, account.number).break_reason is None:
        differs = ", ".join(one.split()[0] for one in lasting)
        reason = f"the ledger and the exchange differ in {differs}"
        accounts.set_break(tx, account.number, reason)
        audit.append(tx, "account.break", "system", account=account.number, reason=reason)


def _adjust(tx: Transaction, account: Account, wrong: list[str]) -> None:
    """Post what somebody else moved: the operator chose so for this account."""
    for currency, change in (one.split() for one in wrong):
        ledger.adjust(tx, account.number, currency, stored(change), "adjustment")
    accounts.touch_postings(tx, account.number)
    audit.append(tx, "account.adjusted", "system", account=account.number, changes=wrong)
