"""Block when this order would be one too many in the last 60 seconds, per account and token."""

from decimal import Decimal

from backend.risk import Finding, Limit, RiskView, within

PRECEDENCE = 130
LIMIT = Limit("orders", paper=None, live="30")


def check(view: RiskView, limit: Decimal) -> Finding:
    return within(Decimal(view.orders_last_minute + 1), limit, "orders", "orders in 60 s")
