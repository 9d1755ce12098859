"""Block a price outside the exchange's own band around its reference price."""

from backend.domain.money import ONE
from backend.risk import ALWAYS, Finding, RiskView, blocked, from_violation

PRECEDENCE = 85
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule, terms = view.instrument, view.terms
    if rule.price_band is None:
        return Finding("not_run", detail="the exchange sets no band here")
    reference = view.reference_price
    if reference is None:
        return blocked(f"the exchange's reference price of {terms.symbol} is not known")
    # A stop price only triggers: what is sent as the price is what the band is about.
    for price in {view.worst_price, terms.limit_price or view.worst_price}:
        if violation := rule.band_violation(terms.side, price, reference):
            return from_violation(violation, price, ONE, rule.quote)
    return Finding("pass", view.worst_price, unit=rule.quote)
