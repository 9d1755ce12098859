"""Block when there is no quote, or it is older than a limit."""

from datetime import timedelta
from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, blocked, within

PRECEDENCE = 70
LIMIT = Limit("s", paper="15", live="5")


def check(view: RiskView, limit: Decimal) -> Finding:
    if view.quote is None:
        return blocked(f"there is no quote for {view.terms.symbol}")
    # A quote of the future is as wrong as an old one: its clock is not ours.
    age = abs(view.now - view.quote.as_of)
    seconds = Decimal(age // timedelta(milliseconds=1)) / 1000
    return within(seconds, limit, "s", "a quote's age")
