"""Block when today's confirmed notional, with this order, would pass a limit.

A day is an Eastern Time day; per account and token; account's currency.
"""

from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, blocked, within

PRECEDENCE = 120
LIMIT = Limit("account currency", paper=None, live="50000")


def check(view: RiskView, limit: Decimal) -> Finding:
    if view.account_notional is None:
        return blocked(f"no fresh price converts {view.instrument.quote} to {view.currency}")
    total = view.daily_notional + view.account_notional
    return within(total, limit, view.currency, "the day's notional")
