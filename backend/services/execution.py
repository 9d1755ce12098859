"""Confirm: prepare, claim, send, settle (design: at most one order per trade).

| step    | durable before    | if we die here                  | twice, late, never           |
|---------|-------------------|---------------------------------|------------------------------|
| prepare | plan `pending`    | the plan lives until it expires | nothing was written          |
| claim   | plan `pending`    | before COMMIT: as above         | one UPDATE wins              |
| journal | order `sending`   | looked up by id, not re-sent    | a line more says no more     |
| send    | order `sending`   | looked up by id, not re-sent    | 1 s gate, then `valid_until` |
| settle  | order `sending`   | looked up, booked then          | idempotent, see `settle`     |

From before the claim the work runs in a task the server owns: the request awaits it
for a while, and going away does not stop it.
"""

from datetime import timedelta
from typing import Any

from backend import wire
from backend.database import Transaction
from backend.domain.errors import (
    NO_ANSWER,
    ExchangeRejected,
    ExchangeUnavailable,
    ExecError,
    OutcomeUnknown,
    RateLimited,
    Refused,
)
from backend.domain.order import FINAL, OrderReport, TimeInForce
from backend.domain.trade import TradeStatus
from backend.exchanges import Exchange
from backend.services import Desk, log, market, planning, settle, storage, views
from backend.services.claim import Claimed, claim
from backend.services.fence import refuse_replaced
from backend.services.lookup import expire_if_due, not_pending, visible
from backend.store import accounts, orders, trades
from backend.store.accounts import Account
from backend.store.tokens import Token

ANSWER_WITHIN_S = 10.0
SEND_WITHIN_S = 1.0
# An adapter that still has to connect for an order gives up after this: pool, TCP and TLS.
CONNECT_WITHIN_S = 3 * wire.ORDER_CONNECT_S
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


async def confirm(
    desk: Desk, caller: Token, trade_id: str, answer_within_s: float = ANSWER_WITHIN_S
) -> dict[str, Any]:
    """Execute a pending trade, at most once, and answer what is known in time.

    Returns:
        the outcome as `views.confirmed`; its `status` is executed, working, executing
        (outcome not known yet) or failed (see its `reason`).

    Raises:
        NotFound: no such trade within the token's reach.
        TradeNotPending: claimed, cancelled or expired before; carries the whole trade.
        Refused: the claim was not possible; the plan stays pending (a kill switch, a
            disabled account and quarantine cancel it).
    """
    work = _execute(desk, caller, trade_id)
    await desk.tasks.see_through(work, f"execute {trade_id}", answer_within_s)
    try:
        return await desk.database.read(lambda tx: _answer(tx, trade_id))
    except Refused as error:
        # The order may have left: that nothing happened is not ours to say any more.
        log.error("confirm.not_readable", trade_id=trade_id, detail=error.detail)
        return {"trade_id": trade_id, "status": "executing", "next": "call get_trade"}


def _answer(tx: Transaction, trade_id: str) -> dict[str, Any]:
    """Return the outcome, or that it is not known while the work still prepares the claim."""
    trade = trades.get(tx, trade_id)
    account = accounts.by_number(tx, trade.account)
    order = orders.find(tx, trade_id)
    if order is not None:
        return views.confirmed(tx, trade, account, order)
    return {
        "trade_id": trade_id,
        "status": TradeStatus.EXECUTING,
        "environment": account.environment,
        "account_id": account.id,
        "next": "call get_trade",
    }


async def _execute(desk: Desk, caller: Token, trade_id: str) -> None:
    trade, account = await desk.database.read(lambda tx: visible(tx, caller, trade_id))
    if trade.status is TradeStatus.PENDING and desk.clock() >= trade.expires_at:
        await expire_if_due(desk, caller, trade_id)
        trade, account = await desk.database.read(lambda tx: visible(tx, caller, trade_id))
    if trade.status is not TradeStatus.PENDING:
        # No facts are needed to say so; the claim below decides every other case.
        raise await desk.database.read(
            lambda tx: not_pending(tx, trades.get(tx, trade_id), account)
        )
    exchange = await desk.exchange(account)
    facts = await planning.gather(desk, account, trade.symbol, trade.side)
    storage.refuse_unsafe(desk)
    desk.journal.make_ready()
    refuse_replaced(desk)
    with market.unanswered():
        sign_time = await exchange.prepare()
    claimed = await desk.database.write(
        lambda tx: claim(tx, desk, caller, trade_id, facts, sign_time)
    )
    if isinstance(claimed, ExecError):
        raise claimed
    log.info("trade.claimed", trade_id=trade_id, account_id=account.id, principal=caller.principal)
    try:
        await _send(desk, exchange, claimed)
    except Refused as error:
        # The order may have left, and its row says so: reconcile settles it.
        log.error("settle.held_up", trade_id=trade_id, detail=error.detail)


async def _send(desk: Desk, exchange: Exchange, claimed: Claimed) -> None:
    """Send once, and settle what comes back. No transaction is open here."""
    account, order = claimed.account, claimed.order
    if not await _is_journalled(desk, claimed):
        return
    if _too_late(desk, claimed):
        await desk.database.write(
            lambda tx: settle.not_sent(tx, account, order.client_order_id, "the 1 s gate"),
        )
        return
    try:
        report = await exchange.submit(order)
    except ExchangeRejected as error:
        why = f"{error.exchange_code}: {error.detail}"
        await desk.database.write(
            lambda tx: settle.rejected(tx, account, order.client_order_id, why)
        )
    except (ExchangeUnavailable, RateLimited) as error:
        why = error.detail
        await desk.database.write(
            lambda tx: settle.not_sent(tx, account, order.client_order_id, why)
        )
    except OutcomeUnknown as error:
        why, named = error.detail, error.facts.get("order_id")
        await desk.database.write(
            lambda tx: settle.unknown(tx, account, order.client_order_id, why, named)
        )
    else:
        await take_report(desk, account, exchange, report, "submit")
        if report.state not in FINAL and order.terms.time_in_force in _AT_ONCE:
            # It cannot rest, and the answer did not say how it ended.
            await _look_once(desk, account, exchange, report)


async def _is_journalled(desk: Desk, claimed: Claimed) -> bool:
    """Tell the journal, and say whether it is there: without it nothing leaves."""
    try:
        desk.journal.append(claimed.dispatch)
    except Refused as error:
        why, trade_id = error.detail, claimed.order.client_order_id
        log.error("journal.failed", trade_id=trade_id, detail=why)
        await desk.database.write(lambda tx: settle.not_sent(tx, claimed.account, trade_id, why))
        return False
    return True


def _too_late(desk: Desk, claimed: Claimed) -> bool:
    """Say whether more than a second passed since the claim, on either clock."""
    waited = desk.elapsed_s() - claimed.elapsed_s
    return waited > SEND_WITHIN_S or desk.clock() - claimed.at > timedelta(seconds=SEND_WITHIN_S)


async def take_report(
    desk: Desk, account: Account, exchange: Exchange, report: OrderReport, source: str
) -> None:
    """Settle one report of the exchange, and do at once what it leaves to do.

    Missing fills are fetched by a look-up. An order that lives although we had ended it
    is cancelled: it is asked for again each time it is seen.
    """
    if source != "submit" and not await desk.database.read(lambda tx: settle.is_news(tx, report)):
        return
    left = await desk.database.write(lambda tx: settle.report(tx, account, report, source))
    if left.changed:
        log.info(
            "order.settled", trade_id=report.client_order_id, state=report.state, source=source
        )
    if left.cancel_now:
        log.warning("order.lives_after_its_end", trade_id=report.client_order_id)
        await request_cancel(
            exchange, report.client_order_id, report.symbol, report.exchange_order_id
        )
    if left.fills_missing or left.cancel_now:
        await _look_once(desk, account, exchange, report)


async def _look_once(desk: Desk, account: Account, exchange: Exchange, report: OrderReport) -> None:
    try:
        found = await exchange.find(report.client_order_id, report.symbol, report.exchange_order_id)
    except NO_ANSWER as error:
        # No evidence, and no reason to doubt what was settled: reconcile asks again.
        log.info("look_up.no_evidence", trade_id=report.client_order_id, detail=error.detail)
        return
    if found is not None:
        await desk.database.write(lambda tx: settle.report(tx, account, found, "look-up"))


async def request_cancel(
    exchange: Exchange, trade_id: str, symbol: str, exchange_order_id: str | None
) -> None:
    """Ask the exchange to cancel. No answer is evidence: the order is looked up after."""
    try:
        await exchange.cancel(trade_id, symbol, exchange_order_id)
    except NO_ANSWER as error:
        log.info("cancel.no_evidence", trade_id=trade_id, detail=error.detail)
