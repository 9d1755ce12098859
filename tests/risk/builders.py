"""A view of an account on which every check passes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from backend.risk import RiskView
from tests.domain.builders import NOW, a_quote, an_instrument, terms


def a_view(**changes: Any) -> RiskView:
    """Return a view: a market buy of 1 BTC at 101 USD, with 1000 USD free."""
    usual = RiskView(
        now=NOW,
        account_id="paper:main",
        currency="USD",
        enabled=True,
        stopped=None,
        terms=terms(),
        instrument=an_instrument(),
        quote=a_quote(),
        price=Decimal(101),
        worst_price=Decimal(101),
        notional=Decimal(101),
        account_notional=Decimal(101),
        reserved={"USD": Decimal(101)},
        free={"USD": Decimal(1000)},
        kill_switch=None,
        pending_trades=0,
        orders_last_minute=0,
        daily_notional=Decimal(0),
        twin=None,
    )
    return replace(usual, **changes)
