"""Block an order whose notional, in the account's currency, is above a limit."""

from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, blocked, within

PRECEDENCE = 110
LIMIT = Limit("account currency", paper=None, live="10000")


def check(view: RiskView, limit: Decimal) -> Finding:
    if view.account_notional is None:
        return blocked(f"no fresh price converts {view.instrument.quote} to {view.currency}")
    return within(view.account_notional, limit, view.currency, "an order's notional")
