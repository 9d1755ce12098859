"""Block a price that is not on the instrument's tick, or outside its bounds. Nothing is rounded."""

from backend.risk import ALWAYS, Finding, RiskView, from_violation

PRECEDENCE = 30
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule = view.instrument
    given = [p for p in (view.terms.limit_price, view.terms.stop_price) if p is not None]
    for price in (*given, view.worst_price):
        if violation := rule.price_violation(price):
            return from_violation(violation, price, rule.tick_size, rule.quote)
    value = given[0] if given else view.price
    return from_violation(None, value, rule.tick_size, rule.quote)
