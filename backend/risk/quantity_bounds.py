"""Block a quantity below the instrument's minimum or above its maximum."""

from backend.risk import ALWAYS, Finding, RiskView, from_violation

PRECEDENCE = 50
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    quantity, rule = view.terms.quantity, view.instrument
    return from_violation(rule.bounds_violation(quantity), quantity, rule.max_quantity, rule.base)
