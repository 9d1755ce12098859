"""Domain objects with defaults, so that a test names only what matters to it."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from backend.domain.instrument import Instrument
from backend.domain.order import Fill, OrderTerms, OrderType, Side, TimeInForce
from backend.domain.quote import Quote

NOW = datetime(2026, 5, 26, 14, 14, 41, tzinfo=UTC)

BTC = Instrument(
    symbol="BTC/USD",
    name="Bitcoin",
    base="BTC",
    quote="USD",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.002"),
    max_quantity=Decimal(100),
    min_notional=Decimal(10),
    max_notional=Decimal(1_000_000),
    price_decimals=2,
    quantity_decimals=3,
    session="continuous",
    version="1",
)


def an_instrument(**changes: Any) -> Instrument:
    """Return BTC/USD under these rules."""
    return replace(BTC, **changes)


def terms(**changes: Any) -> OrderTerms:
    """Return a market buy of 1 BTC."""
    usual = OrderTerms(
        "BTC/USD", Side.BUY, Decimal(1), OrderType.MARKET, None, None, TimeInForce.IOC
    )
    return replace(usual, **changes)


def a_quote(bid: str = "99", ask: str = "101", as_of: datetime = NOW) -> Quote:
    """Return a quote of BTC/USD."""
    return Quote("BTC/USD", Decimal(bid), Decimal(ask), Decimal(ask), as_of, "test")


def a_fill(
    side: Side, quantity: str, price: str, fee: str = "0", fee_currency: str = "USD"
) -> Fill:
    """Return one fill of BTC/USD."""
    return Fill(
        exchange_order_id="o-1",
        exchange_fill_id="f-1",
        client_order_id=None,
        symbol="BTC/USD",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_currency=fee_currency,
        liquidity="taker",
        executed_at=NOW,
    )
