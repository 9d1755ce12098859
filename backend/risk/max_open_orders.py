"""Block one live order more on the instrument than the exchange takes from an account."""

from decimal import Decimal

from backend.domain.order import OrderType
from backend.risk import ALWAYS, Finding, RiskView, within

PRECEDENCE = 95
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule = view.instrument
    if rule.max_open_orders is None and rule.max_stop_orders is None:
        return Finding("not_run", detail="the exchange sets no limit here")
    counted = [(rule.max_open_orders, view.open_orders, "open orders")]
    if view.terms.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
        counted.append((rule.max_stop_orders, view.stop_orders, "stop orders"))
    finding = Finding("pass")
    for most, now, what in counted:
        if most is not None:
            finding = within(Decimal(now + 1), Decimal(most), "orders", f"{what} on {rule.symbol}")
        if finding.status == "block":
            break
    return finding
