"""Approval: a second person agrees to exactly the plan that was shown (Law 10)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.errors import Forbidden, Refused, TradeNotPending
from backend.domain.money import ZERO, stored
from backend.domain.trade import CancelReason, TradeStatus
from backend.services import Desk, views
from backend.services.expiry import end_plan, expire_due
from backend.services.lookup import cancelled, not_pending, visible
from backend.store import audit, trades
from backend.store.accounts import Account
from backend.store.tokens import Token

_DAY = timedelta(days=1)
_LONGEST_PLAN = timedelta(seconds=3600)


async def approve(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Approve exactly the plan that was shown, once. It never executes anything.

    Raises:
        NotFound, TradeNotPending.
        Forbidden: the planner cannot approve itself (Law 10).
        Refused: `approval_refused`: none is needed, or it was given before.
    """

    def body(tx: Transaction) -> dict[str, Any] | TradeNotPending:
        trade, account = visible(tx, caller, trade_id)
        expire_due(tx, trade.account)
        trade = trades.get(tx, trade_id)
        if trade.status is not TradeStatus.PENDING:
            return not_pending(tx, trade, account)
        if trade.principal == caller.principal:
            raise Forbidden("a plan is approved by another principal than its planner")
        if not trade.approval_required:
            raise Refused("this plan needs no approval", "approval_refused", trade_id=trade_id)
        ttl = timedelta(seconds=desk.config.plan_ttl_s)
        until = min(max(trade.expires_at, tx.now + ttl), trade.created_at + _LONGEST_PLAN)
        if not trades.approve(tx, trade, caller.principal, until):
            raise Refused("this plan is approved already", "approval_refused", trade_id=trade_id)
        audit.append(
            tx,
            "trade.approved",
            caller.principal,
            account=trade.account,
            trade_id=trade_id,
            plan_hash=trade.plan_hash,
        )
        return views.load(tx, trade_id)

    return _told(await desk.database.write(body))


async def reject(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Cancel a pending plan on the operator's word.

    Raises:
        NotFound, TradeNotPending.
    """

    def body(tx: Transaction) -> dict[str, Any] | TradeNotPending:
        trade, account = visible(tx, caller, trade_id)
        expire_due(tx, trade.account)
        released = end_plan(
            tx,
            trade,
            TradeStatus.CANCELLED,
            caller.principal,
            CancelReason.OPERATOR_REJECTED,
        )
        now = trades.get(tx, trade_id)
        if not released:
            return not_pending(tx, now, account)
        return cancelled(now, account, released)

    return _told(await desk.database.write(body))


def _told(answer: dict[str, Any] | TradeNotPending) -> dict[str, Any]:
    """Raise what was returned so that its transaction commits: an end that is told stands."""
    if isinstance(answer, TradeNotPending):
        raise answer
    return answer


def approval_threshold(account: Account) -> Decimal | None:
    """Return the notional above which an operator must approve; None where none need be."""
    text = account.limits.get("approval_threshold", "0" if account.environment == "live" else None)
    return None if text is None else stored(text)


def needs_approval(
    tx: Transaction, account: Account, principal: str, notional: Decimal | None, trade_id: str
) -> tuple[Decimal | None, bool]:
    """Return the account's approval threshold and whether this plan needs an operator."""
    threshold = approval_threshold(account)
    if threshold is None:
        return None, False
    earlier = trades.notionals_since(tx, account.number, principal, tx.now - _DAY, trade_id)
    known = [n for n in (notional, *earlier) if n is not None]
    # What cannot be converted cannot be shown to be small (Law 7).
    return threshold, len(known) <= len(earlier) or sum(known, ZERO) > threshold
