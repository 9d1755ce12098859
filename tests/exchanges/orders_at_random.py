"""Random orders around every boundary of an instrument, and what our rules say of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from backend import risk
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.money import ONE, ZERO, round_down
from backend.domain.order import OrderTerms, OrderType, Side, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import Capabilities
from backend.services.planning import Facts, Pricing, check_shape, price_order
from tests.exchanges.scripted import START

# The checks that repeat an exchange's own rules; the others are about us.
RULES = (
    *("instrument_open", "tick_size", "step_size", "quantity_bounds", "min_notional"),
    *("exchange_band", "max_open_orders", "max_position"),
)
_CHECKS = {name: check for name, check in risk.load_checks().items() if name in RULES}
_ON = risk.resolve_limits(_CHECKS, "testnet")
_FEES = FeeSchedule(ZERO, ZERO)
_TENTH = Decimal("0.1")
_LARGEST = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class Ground:
    """What an order is judged by.

    Attributes:
        reference: what the price band is around; None where the exchange has none.
        permissions: of the account.
    """

    instrument: Instrument
    quote: Quote
    reference: Decimal | None
    permissions: frozenset[str]
    offered: Capabilities


def a_quote(instrument: Instrument, bid: Decimal, ask: Decimal) -> Quote:
    return Quote(instrument.symbol, bid, ask, bid, START, "simulated")


def our_verdict(terms: OrderTerms, ground: Ground) -> tuple[Pricing, set[str]]:
    """Price an order as a plan does and return the checks that block it.

    The account has no order there and holds nothing.
    """
    check_shape(terms, ground.offered)
    rule = ground.instrument
    facts = Facts(rule, ground.quote, _FEES, None, ONE, ground.reference)
    pricing = price_order(terms, facts, ground.offered.band_bps)
    notional = terms.quantity * pricing.worst_price
    view = risk.RiskView(
        now=START,
        account_id="any:1",
        currency=rule.quote,
        enabled=True,
        stopped=None,
        terms=terms,
        instrument=rule,
        quote=ground.quote,
        price=pricing.price,
        worst_price=pricing.worst_price,
        notional=notional,
        account_notional=notional,
        reserved=pricing.reserved,
        free={},
        kill_switch=None,
        pending_trades=0,
        orders_last_minute=0,
        daily_notional=ZERO,
        twin=None,
        reference_price=ground.reference,
        permissions=ground.permissions,
        base_position=ZERO,
    )
    findings = risk.run(_CHECKS, view, _ON)
    return pricing, {found.check for found in findings if found.status == "block"}


class Dice:
    """Chooses orders for one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def order(self, ground: Ground) -> OrderTerms:
        """Return an order that is often on a boundary, or a tick or step beside it."""
        rule, choose = ground.instrument, self.random.choice
        side = choose(list(Side))
        kind = choose(sorted(ground.offered.order_types))
        limit = stop = None
        if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            limit = self.price(ground, side)
        if kind is OrderType.STOP:
            stop = self.price(ground, side)
        if kind is OrderType.STOP_LIMIT and limit is not None:
            stop = self._beside(limit, rule.tick_size)
        near = limit or stop or ground.quote.touch(side)
        quantity = self.quantity(rule, near)
        tif = self._time_in_force(kind, ground.offered)
        return OrderTerms(rule.symbol, side, quantity, kind, limit, stop, tif)

    def price(self, ground: Ground, side: Side) -> Decimal:
        """Return a price near one of the instrument's limits, or near the touch."""
        rule, touch = ground.instrument, ground.quote.touch(side)
        edges = [touch, touch, *filter(None, (rule.min_price, rule.max_price))]
        band = rule.price_band
        if band is not None and ground.reference is not None:
            ups = (band.buy_up, band.buy_down, band.sell_up, band.sell_down)
            edges += [ground.reference * edge for edge in ups]
        return self._beside(self.random.choice(edges), rule.tick_size)

    def quantity(self, rule: Instrument, price: Decimal) -> Decimal:
        """Return a quantity near one of the limits, or anything between them."""
        least, most = rule.min_quantity, rule.max_quantity
        edges = [least, most]
        edges += [one / price for one in (rule.min_notional, rule.max_notional) if one]
        between = least + (most - least) * Decimal(self.random.randrange(1, 10**6)) / 10**9
        edges += [between, rule.min_notional / price * self.random.randrange(2, 50) or between]
        if rule.max_position is not None:
            edges.append(rule.max_position)
        return self._beside(self.random.choice(edges), rule.step_size)

    def _beside(self, value: Decimal, unit: Decimal) -> Decimal:
        """Return a positive multiple of `unit` at or beside `value`, one in eight off the unit."""
        found = round_down(min(value, _LARGEST / 2), unit)
        found += self.random.choice((-1, 0, 0, 0, 1)) * unit
        if self.random.random() < 0.125:
            found += unit * _TENTH
        return found if found > 0 else unit

    def _time_in_force(self, kind: OrderType, offered: Capabilities) -> TimeInForce:
        allowed: Iterable[TimeInForce] = offered.times_in_force
        if kind is OrderType.MARKET:
            return TimeInForce.IOC
        if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
            return TimeInForce.GTC
        return self.random.choice(sorted(allowed))
