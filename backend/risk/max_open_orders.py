"""Block one live order more than the exchange takes, on the instrument or from the account."""

from decimal import Decimal

from backend.domain.order import OrderType
from backend.risk import ALWAYS, Finding, RiskView, within

PRECEDENCE = 95
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    rule, here = view.instrument, f"on {view.instrument.symbol}"
    counted = [
        (rule.max_open_orders, view.open_orders, f"open orders {here}"),
        (rule.account_max_orders, view.account_orders, "open orders of the account"),
    ]
    if view.terms.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
        counted += [
            (rule.max_stop_orders, view.stop_orders, f"stop orders {here}"),
            (rule.account_max_stops, view.account_stops, "stop orders of the account"),
        ]
    findings = [
        within(Decimal(now + 1), Decimal(most), "orders", what)
        for most, now, what in counted
        if most is not None
    ]
    blocked = [finding for finding in findings if finding.status == "block"]
    if blocked or findings:
        return (blocked or findings)[0]
    limits = (rule.max_open_orders, rule.account_max_orders, rule.max_stop_orders)
    if all(most is None for most in (*limits, rule.account_max_stops)):
        return Finding("not_run", detail="the exchange sets no limit here")
    return Finding("pass")  # Of stop orders only, and this is none.
