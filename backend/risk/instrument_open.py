"""Block an instrument that takes no new orders now, not this type, or not from this account."""

from backend.domain.order import OrderType
from backend.risk import ALWAYS, Finding, RiskView, blocked

PRECEDENCE = 25
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule, kind = view.instrument, view.terms.order_type
    if rule.status != "trading":
        return blocked(f"{rule.symbol} takes no new orders now: its status is {rule.status}")
    # A market order goes out as a limit order, so it needs no more than that.
    needed = OrderType.LIMIT if kind is OrderType.MARKET else kind
    if rule.order_types is not None and needed not in rule.order_types:
        supported = ", ".join(sorted(rule.order_types))
        return blocked(f"{rule.symbol} takes no {kind} orders; supported: {supported}")
    if not all(view.permissions & any_of for any_of in rule.permissions):
        return blocked(f"the exchange does not let this account trade {rule.symbol}")
    return Finding("pass")
