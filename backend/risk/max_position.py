"""Block a buy beyond what the exchange lets an account hold of the instrument's base."""

from backend.domain.order import Side
from backend.risk import ALWAYS, Finding, RiskView, blocked, within

PRECEDENCE = 96
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule = view.instrument
    if rule.max_position is None or view.terms.side is Side.SELL:
        return Finding("not_run", detail="the exchange sets no limit here")
    if view.base_position is None:
        return blocked(f"what the account holds of {rule.base} is not known")
    after = view.base_position + view.terms.quantity
    return within(after, rule.max_position, rule.base, f"what is held of {rule.base}")
