"""Block a quantity that is not a whole number of steps. Nothing is rounded."""

from backend.risk import ALWAYS, Finding, RiskView, from_violation

PRECEDENCE = 40
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    quantity, rule = view.terms.quantity, view.instrument
    return from_violation(rule.step_violation(quantity), quantity, rule.step_size, rule.base)
