"""Block when too many plans of this token wait on the account: they tie up its buying power."""

from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, within

PRECEDENCE = 90
LIMIT = Limit("plans", paper="100", live="10")


def check(view: RiskView, limit: Decimal) -> Finding:
    return within(Decimal(view.pending_trades + 1), limit, "plans", "plans waiting at once")
