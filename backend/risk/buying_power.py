"""Block an order that needs more than the account has free: money to buy, holdings to sell."""

from backend.domain.money import ZERO
from backend.risk import ALWAYS, Finding, RiskView, blocked

PRECEDENCE = 100
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    if view.reserved is None:
        return blocked("what the order needs could not be computed: no price for the fee's asset")
    worst = Finding("pass")
    for currency, needed in view.reserved.items():
        free = view.free.get(currency, ZERO)
        if needed > free:
            detail = f"the order needs {needed:f} {currency}, {free:f} is free"
            return Finding("block", needed, free, currency, free - needed, detail)
        if worst.value is None:
            worst = Finding("pass", needed, free, currency, free - needed)
    return worst
