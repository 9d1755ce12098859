"""Block when there is no quote, or it is older than a limit."""

from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, blocked, within

PRECEDENCE = 70
LIMIT = Limit("s", paper="15", live="5")


def check(view: RiskView, limit: Decimal) -> Finding:
    if view.quote is None:
        return blocked(f"there is no quote for {view.terms.symbol}")
    age = view.now - view.quote.as_of
    seconds = Decimal(max(age.days * 86_400 + age.seconds, 0))
    return within(seconds, limit, "s", "a quote's age")
