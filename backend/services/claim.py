"""The claim: pending -> executing, for exactly one caller, in one write transaction (Law 4).

Everything a plan was checked for is checked again here, on the account without this
trade. Nothing waits: what can wait was learnt before, in `planning.gather`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from backend.database import Transaction
from backend.domain import ledger as arithmetic
from backend.domain.clock import to_row
from backend.domain.errors import (
    AwaitingApproval,
    ExecError,
    Forbidden,
    Refused,
    Unauthorised,
)
from backend.domain.money import ZERO, to_text
from backend.domain.order import Order, OrderType, Side
from backend.domain.quote import Quote
from backend.domain.trade import CancelReason, TradeStatus
from backend.journal import Dispatch
from backend.risk import RiskView, resolve_limits, run
from backend.services import Desk, planning, views
from backend.services.expiry import end_plan, expire_due
from backend.services.lookup import not_pending, visible
from backend.services.planning import Facts, Pricing
from backend.services.trading import refuse_if_blocked, refuse_new_risk
from backend.store import audit, ledger, orders, restored, tokens, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade


@dataclass(frozen=True, slots=True)
class Claimed:
    """A won claim: the order to send, and when it was won on the suspension-proof clock.

    Attributes:
        dispatch: what the send journal is told before a byte leaves.
    """

    order: Order
    dispatch: Dispatch
    account: Account
    at: datetime
    elapsed_s: float


def claim(
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
    if trade.order_expires_at is not None and tx.now >= trade.order_expires_at:
        raise _changed(trade, "the session in which the order would have ended is over")
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
            error.facts = {**error.facts, "current_status": trade.status}
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
    # Changed rules are checked like any others below; an approval was for the old ones.
    if facts.instrument.version != trade.rules_version and trade.approved_by is not None:
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
    unit = facts.fees.unit(facts.instrument, trade.side)
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
    seq, digest = audit.append(
        tx,
        "trade.claimed",
        caller.principal,
        account=account.number,
        trade_id=trade.id,
        plan_hash=trade.plan_hash,
        sign_time=order.sign_time.isoformat(),
        valid_until=order.valid_until.isoformat(),
    )
    holds = {h.currency: to_text(h.reserved) for h in ledger.holds(tx, trade.id)}
    dispatch = Dispatch(
        seq,
        digest,
        trade.id,
        account.id,
        to_row(order.sign_time),
        to_row(order.valid_until),
        restored.trade_row(tx, trade.id),
        holds,
    )
    return Claimed(order, dispatch, account, tx.now, desk.elapsed_s())
