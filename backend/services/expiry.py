"""Plans end: by their time, or by somebody's word. Every end gives the hold back."""

from decimal import Decimal

from backend.database import Transaction
from backend.domain.trade import CancelReason, TradeStatus
from backend.store import accounts, audit, ledger, trades
from backend.store.trades import Trade


def end_plan(
    tx: Transaction, trade: Trade, status: TradeStatus, actor: str, reason: CancelReason | None
) -> dict[str, Decimal]:
    """Move a pending trade to `expired` or `cancelled` and release its hold.

    Returns:
        what was released, by currency; {} when the trade was no longer pending.
    """
    if not trades.move(tx, trade.id, status, reason.value if reason else None):
        return {}
    released = ledger.void(tx, trade.account, trade.id)
    accounts.touch_ledger(tx, trade.account)
    audit.append(
        tx,
        f"trade.{status}",
        actor,
        account=trade.account,
        trade_id=trade.id,
        reason=reason.value if reason else None,
        released={currency: format(amount, "f") for currency, amount in released.items()},
    )
    return released


def expire_due(tx: Transaction, account: int) -> int:
    """Expire what is due on one account. Returns how many.

    Every write that looks at buying power calls this first, so a plan stops counting
    at its instant whether or not a sweeper ran.
    """
    due = trades.due(tx, account)
    for trade in due:
        end_plan(tx, trade, TradeStatus.EXPIRED, "system", None)
    return len(due)


def sweep(tx: Transaction) -> int:
    """Expire what is due on every account. Returns how many."""
    return sum(expire_due(tx, account.number) for account in accounts.all_accounts(tx))


def cancel_pending(
    tx: Transaction, account: int, actor: str, reason: CancelReason, symbol: str | None = None
) -> list[str]:
    """Cancel every pending trade of an account, or of one symbol there. Returns their ids."""
    expire_due(tx, account)
    ended = []
    for trade in trades.pending(tx, account):
        if symbol is None or trade.symbol == symbol:
            end_plan(tx, trade, TradeStatus.CANCELLED, actor, reason)
            ended.append(trade.id)
    return ended
