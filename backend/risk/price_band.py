"""Block a limit price far through the market: a buy much above the ask, a sell much below the bid.

Market orders are bounded by their own `worst_price` instead.
"""

from decimal import ROUND_UP, Decimal

from backend.domain.money import BPS, ZERO
from backend.domain.order import OrderType, Side
from backend.risk import Finding, Limit, RiskView, blocked, within

PRECEDENCE = 80
LIMIT = Limit("bps", paper="5000", live="500")


def check(view: RiskView, limit: Decimal) -> Finding:
    terms = view.terms
    if view.quote is None:
        return blocked(f"there is no quote for {terms.symbol}")
    if terms.limit_price is None:
        return Finding("not_run", detail="the order has no limit price")
    # A stop-limit only becomes a limit order once the market is at its stop price.
    touch = terms.stop_price if terms.order_type is OrderType.STOP_LIMIT else None
    touch = touch or view.quote.touch(terms.side)
    through = terms.limit_price - touch if terms.side is Side.BUY else touch - terms.limit_price
    bps = max(through / touch * BPS, ZERO).quantize(Decimal("0.01"), ROUND_UP)
    return within(bps, limit, "bps", "a limit price through the market")
