"""Confirm: prepare, claim, send, settle (design: at most one order per trade).

| step    | durable before    | if we die here                  | twice, late, never           |
|---------|-------------------|---------------------------------|------------------------------|
| prepare | plan `pending`    | the plan lives until it expires | nothing was written          |
| claim   | plan `pending`    | before COMMIT: as above         | one UPDATE wins              |
| send    | order `sending`   | looked up by id, not re-sent    | 1 s gate, then `valid_until` |
| settle  | order `sending`   | looked up, booked then          | idempotent, see `settle`     |

From before the claim the work runs in a task the server owns: the request awaits it
for a while, and going away does not stop it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain import ledger as arithmetic
from backend.domain.clock import elapsed_s, to_row
from backend.domain.errors import (
    AwaitingApproval,
    ExchangeRejected,
    ExchangeUnavailable,
    ExecError,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unauthorised,
)
from backend.domain.money import ZERO, to_text
from backend.domain.order import Order, OrderReport, OrderType, Side
from backend.domain.quote import Quote
from backend.domain.trade import CancelReason, TradeStatus
from backend.exchanges import Exchange
from backend.risk import RiskView, resolve_limits, run
from backend.services import Desk, log, market, planning, settle, views
from backend.services.expiry import end_plan, expire_due
from backend.services.planning import Facts, Pricing
from backend.services.trading import (
    not_pending,
    refuse_if_blocked,
    refuse_new_risk,
    visible,
)
from backend.store import audit, ledger, orders, tokens, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade

ANSWER_WITHIN_S = 10.0
SEND_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A won claim: the order to send, and when it was won on the suspension-proof clock."""

    order: Order
    account: Account
    at: datetime
    elapsed_s: float


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
    task = desk.tasks.start(_execute(desk, caller, trade_id), f"execute {trade_id}")
    done, _ = await asyncio.wait({task}, timeout=answer_within_s)
    if done:
        task.result()
    not_known = {"trade_id": trade_id, "status": "executing", "next": "call get_trade"}
    try:
        found = await desk.database.read(lambda tx: _answer(tx, trade_id))
    except Refused as error:
        # The order may have left: that nothing happened is not ours to say any more.
        log.error("confirm.not_readable", trade_id=trade_id, detail=error.detail)
        return not_known
    return found or not_known


def _answer(tx: Transaction, trade_id: str) -> dict[str, Any] | None:
    """Return the outcome, or None while it is still being prepared: nothing was claimed."""
    return views.confirmed(tx, trade_id) if orders.find(tx, trade_id) else None


async def _execute(desk: Desk, caller: Token, trade_id: str) -> None:
    trade, account = await desk.database.read(lambda tx: visible(tx, caller, trade_id))
    if trade.status is not TradeStatus.PENDING:
        # No facts are needed to say so; the claim below decides every other case.
        raise await desk.database.read(
            lambda tx: not_pending(tx, trades.get(tx, trade_id), account)
        )
    exchange = await desk.exchange(account)
    facts = await planning.gather(desk, account, trade.symbol)
    with market.unanswered():
        sign_time = await exchange.now()
    claimed = await desk.database.write(
        lambda tx: _claim(tx, desk, caller, trade_id, facts, sign_time)
    )
    if isinstance(claimed, ExecError):
        raise claimed
    try:
        await _send(desk, exchange, replace(claimed, elapsed_s=elapsed_s()))
    except Refused as error:
        # The order may have left, and its row says so: reconcile settles it.
        log.error("settle.held_up", trade_id=trade_id, detail=error.detail)


def _claim(
    tx: Transaction,
    desk: Desk,
    caller: Token,
    trade_id: str,
    facts: Facts,
    sign_time: datetime,
) -> Claimed | ExecError:
    """Move pending -> executing for exactly one caller, or say why not.

    A refusal that changed something (expired, killed) is returned, so that the
    change is committed; every other one is raised and rolls back.
    """
    trade, account = visible(tx, caller, trade_id)
    expired = expire_due(tx, trade.account)
    if expired:
        trade = trades.get(tx, trade_id)
    if trade.status is not TradeStatus.PENDING:
        refusal = not_pending(tx, trade, account)
        if expired:
            return refusal
        raise refusal
    _refuse_other_caller(tx, caller, trade)
    pricing = _pricing(trade, facts)
    own = {h.currency: h.remaining for h in ledger.holds(tx, trade_id)}
    limits = resolve_limits(
        desk.checks, account.environment, desk.config.risk, account.limits, caller.limits
    )
    view = planning.risk_view(
        tx, account, caller.principal, trade.terms, facts, pricing, limits, trade_id, own
    )
    if stop := _stopping(tx, trade, view):
        return stop
    _refuse_changed(trade, account, facts, pricing, own)
    refuse_if_blocked(
        run(desk.checks, view, limits), current_status=trade.status, trade_id=trade_id
    )
    if account.environment != "paper" and _left_the_band(trade, view.quote):
        raise Refused(
            "the market left the planned band; plan_trade again, or confirm when it is back",
            "price_moved",
            current_status=trade.status,
            trade_id=trade_id,
        )
    if not trades.claim(tx, trade_id):
        raise not_pending(tx, trades.get(tx, trade_id), account)
    return _write_claim(tx, desk, caller, trade, account, view, sign_time)


def _refuse_other_caller(tx: Transaction, caller: Token, trade: Trade) -> None:
    if trade.principal != caller.principal:
        raise Forbidden(
            "only the principal that planned a trade may confirm it",
            "not_the_planner",
            trade_id=trade.id,
        )
    # The token may have been revoked since the request came in.
    if not tokens.is_alive(tx, caller.kid):
        raise Unauthorised("the token was revoked or has expired", trade_id=trade.id)
    if trade.approval_required and trade.approved_by is None:
        raise AwaitingApproval(
            f"an operator must approve this plan first: exec-mcp approve {trade.id}",
            current_status=trade.status,
            trade_id=trade.id,
            next="tell the operator, then confirm again before expires_at",
        )


def _stopping(tx: Transaction, trade: Trade, view: RiskView) -> ExecError | None:
    """Cancel the plan when a kill switch, a disabled account or quarantine stops it."""
    try:
        refuse_new_risk(tx)
    except Refused as error:
        if error.code != "quarantined":
            raise
        return _cancel_for(tx, trade, CancelReason.QUARANTINE, error.detail, error.code)
    if view.kill_switch:
        detail = f"the kill switch is engaged ({view.kill_switch}); the plan was cancelled"
        return _cancel_for(tx, trade, CancelReason.KILL_SWITCH, detail, "kill_switch")
    if not view.enabled:
        detail = f"account {view.account_id} is disabled; the plan was cancelled"
        return _cancel_for(tx, trade, CancelReason.ACCOUNT_DISABLED, detail, "account_enabled")
    return None


def _cancel_for(
    tx: Transaction, trade: Trade, reason: CancelReason, detail: str, code: str
) -> ExecError:
    end_plan(tx, trade, TradeStatus.CANCELLED, "system", reason)
    return Refused(
        detail,
        code,
        current_status=TradeStatus.CANCELLED,
        trade_id=trade.id,
        trade=views.load(tx, trade.id),
    )


def _refuse_changed(
    trade: Trade, account: Account, facts: Facts, pricing: Pricing, own: Mapping[str, Decimal]
) -> None:
    """Refuse when what was planned, and perhaps approved, is not what would be sent."""
    if facts.instrument.version != trade.rules_version:
        raise _changed(trade, f"the exchange's rules for {trade.symbol}")
    planned = planning.plan_hash(
        account.id, trade.terms, trade.price, trade.worst_price, trade.band_bps, trade.rules_version
    )
    if (account.credential_version, planned) != (trade.credential_version, trade.plan_hash):
        raise _changed(trade, "the account's credentials or the plan's terms")
    if pricing.reserved is None:
        raise _changed(trade, "the price of the fee's asset")
    if any(need > own.get(currency, ZERO) for currency, need in pricing.reserved.items()):
        raise _changed(trade, "the fees, and more would have to be reserved")


def _changed(trade: Trade, what: str) -> Refused:
    return Refused(
        f"since the plan changed: {what}; plan_trade again",
        "plan_changed",
        current_status=trade.status,
        trade_id=trade.id,
    )


def _pricing(trade: Trade, facts: Facts) -> Pricing:
    """Return the planned prices with what they would need at today's fees."""
    reserved = None
    unit = facts.fees.unit(facts.instrument)
    priced = unit in (facts.instrument.base, facts.instrument.quote) or facts.fee_price
    if priced or not facts.fees.worst:
        reserved = arithmetic.reservation(
            trade.side,
            trade.quantity,
            trade.worst_price,
            facts.instrument,
            facts.fees,
            facts.fee_price,
        )
    return Pricing(
        trade.price, trade.worst_price, trade.band_bps, trade.fee, trade.fee_currency, reserved
    )


def _left_the_band(trade: Trade, quote: Quote | None) -> bool:
    if trade.order_type is not OrderType.MARKET or quote is None:
        return False
    touch = quote.touch(trade.side)
    return touch > trade.worst_price if trade.side is Side.BUY else touch < trade.worst_price


def _write_claim(
    tx: Transaction,
    desk: Desk,
    caller: Token,
    trade: Trade,
    account: Account,
    view: RiskView,
    sign_time: datetime,
) -> Claimed:
    validity = desk.exchanges[account.exchange].CAPABILITIES.validity
    order = Order(
        client_order_id=trade.id,
        terms=trade.terms,
        price=trade.price,
        worst_price=trade.worst_price,
        sign_time=sign_time,
        valid_until=sign_time + validity,
        expires_at=trade.order_expires_at,
    )
    orders.insert_sending(tx, trade.id, account.number, order.sign_time, order.valid_until)
    if trade.notional is not None:
        total = view.daily_notional + trade.notional
        day = planning.today(tx.now)
        trades.set_daily_notional(tx, account.number, caller.principal, day, total)
    audit.append(
        tx,
        "trade.claimed",
        caller.principal,
        account=account.number,
        trade_id=trade.id,
        plan_hash=trade.plan_hash,
        sign_time=order.sign_time.isoformat(),
        valid_until=order.valid_until.isoformat(),
    )
    return Claimed(order, account, tx.now, elapsed_s())


async def _send(desk: Desk, exchange: Exchange, claimed: Claimed) -> None:
    """Send once, and settle what comes back. No transaction is open here."""
    account, order = claimed.account, claimed.order
    if _too_late(desk, claimed):
        await _settle(
            desk,
            lambda tx: settle.not_sent(tx, account, order.client_order_id, "the 1 s gate"),
        )
        return
    try:
        report = await exchange.submit(order)
    except ExchangeRejected as error:
        why = f"{error.exchange_code}: {error.detail}"
        await _settle(desk, lambda tx: settle.rejected(tx, account, order.client_order_id, why))
    except ExchangeUnavailable as error:
        why = error.detail
        await _settle(desk, lambda tx: settle.not_sent(tx, account, order.client_order_id, why))
    except OutcomeUnknown as error:
        why = error.detail
        await _settle(desk, lambda tx: settle.unknown(tx, account, order.client_order_id, why))
    else:
        await take_report(desk, account, exchange, report, "submit")


def _too_late(desk: Desk, claimed: Claimed) -> bool:
    """Say whether more than a second passed since the claim, on either clock."""
    waited = elapsed_s() - claimed.elapsed_s
    return waited > SEND_WITHIN_S or desk.clock() - claimed.at > timedelta(seconds=SEND_WITHIN_S)


async def _settle(desk: Desk, body: Callable[[Transaction], None]) -> None:
    await desk.database.write(body)


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
    if left.cancel_now:
        log.warning("order.lives_after_its_end", trade_id=report.client_order_id)
        await request_cancel(exchange, report.client_order_id, report.symbol)
    if left.fills_missing or left.cancel_now:
        await _look_once(desk, account, exchange, report)


async def _look_once(desk: Desk, account: Account, exchange: Exchange, report: OrderReport) -> None:
    try:
        found = await exchange.find(report.client_order_id, report.symbol)
    except (ExchangeRejected, ExchangeUnavailable, OutcomeUnknown) as error:
        # No evidence, and no reason to doubt what was settled: reconcile asks again.
        log.info("look_up.no_evidence", trade_id=report.client_order_id, detail=error.detail)
        return
    if found is not None:
        await desk.database.write(lambda tx: settle.report(tx, account, found, "look-up"))


async def request_cancel(exchange: Exchange, trade_id: str, symbol: str) -> None:
    """Ask the exchange to cancel. No answer is evidence: the order is looked up after."""
    try:
        await exchange.cancel(trade_id, symbol)
    except (ExchangeRejected, ExchangeUnavailable, OutcomeUnknown) as error:
        log.info("cancel.no_evidence", trade_id=trade_id, detail=error.detail)


async def cancel_order(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Ask for the cancel of a live order. The flag stays until the order is final.

    Returns:
        the order; `cancel_requested` is true, and its state is what is known now.

    Raises:
        NotFound: no such trade within reach, or it never became an order.
        Refused: `order_not_open`, when the order is already final.
    """

    def body(tx: Transaction) -> tuple[Trade, Account]:
        trade, account = visible(tx, caller, trade_id)
        _flag_cancel(tx, trade, account, caller.principal)
        return trade, account

    trade, account = await desk.database.write(body)
    await ask_for_cancel(desk, account, trade)
    order = await desk.database.read(lambda tx: views.whole_order(tx, trades.get(tx, trade_id)))
    assert order is not None
    return order


async def ask_for_cancel(desk: Desk, account: Account, trade: Trade) -> None:
    """Ask the exchange to cancel a flagged order and look at it, for at most 10 s."""
    exchange = await desk.exchange(account)
    work = _cancel_and_look(desk, account, exchange, trade)
    task = desk.tasks.start(work, f"cancel {trade.id}")
    done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
    if done:
        task.result()


def _flag_cancel(tx: Transaction, trade: Trade, account: Account, actor: str) -> None:
    order = orders.find(tx, trade.id)
    if order is None:
        raise NotFound()
    if trade.status not in (TradeStatus.EXECUTING, TradeStatus.WORKING):
        raise Refused(
            f"the order is already {order.state}; nothing to cancel",
            "order_not_open",
            current_status=trade.status,
            trade_id=trade.id,
            trade=views.trade_view(tx, trade, account),
        )
    flag_cancel(tx, order, actor)


def flag_cancel(tx: Transaction, order: orders.OrderRow, actor: str) -> None:
    """Write down that this order shall be cancelled, once."""
    if order.cancel_requested_at is None:
        orders.update(tx, order.trade_id, cancel_requested_at=to_row(tx.now))
        audit.append(
            tx,
            "order.cancel_requested",
            actor,
            account=order.account,
            trade_id=order.trade_id,
            filled=to_text(order.filled_quantity),
        )


async def _cancel_and_look(desk: Desk, account: Account, exchange: Exchange, trade: Trade) -> None:
    await request_cancel(exchange, trade.id, trade.symbol)
    try:
        found = await exchange.find(trade.id, trade.symbol)
    except (ExchangeUnavailable, OutcomeUnknown):
        return  # No evidence: reconcile asks again.
    if found is not None:
        await take_report(desk, account, exchange, found, "look-up")
