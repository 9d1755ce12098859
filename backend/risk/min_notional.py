"""Block quantity x worst price below the instrument's minimum notional, or above its maximum."""

from backend.risk import ALWAYS, Finding, RiskView, from_violation

PRECEDENCE = 60
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule, quantity = view.instrument, view.terms.quantity
    price = view.worst_price
    violation = rule.notional_violation(quantity, price)
    return from_violation(violation, quantity * price, rule.min_notional, rule.quote)
