"""Reservations, holds and fees: what is kept is never less than what may be taken."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule, Position, fee_for, movements, reservation
from backend.domain.order import Fill, Side
from tests.properties.rules import D

NOW = datetime(2026, 5, 26, 14, 14, 41, tzinfo=UTC)
THIRD = "BNB"
_rates = st.integers(0, 500).map(lambda n: D(n) / 100_000)
schedules = st.builds(
    FeeSchedule, _rates, _rates, st.sampled_from(["quote", "base", "received", THIRD])
)
# How an order is filled: parts of a thousand with, for each, how much better than worst.
parts = st.lists(
    st.tuples(st.integers(1, 400), st.integers(0, 1000), st.booleans()), min_size=1, max_size=6
)


def fills_of(
    one: Instrument,
    side: Side,
    quantity: Decimal,
    worst: Decimal,
    fees: FeeSchedule,
    third: Decimal,
    how: Sequence[tuple[int, int, bool]],
) -> list[Fill]:
    """Return fills within the quantity and never beyond the worst price; fees as charged."""
    made: list[Fill] = []
    left = quantity
    unit = fees.unit(one, side)
    for share, better, maker in how:
        steps = (quantity * share / 1000 / one.step_size).to_integral_value("ROUND_DOWN")
        size = min(steps * one.step_size, left)
        if size <= 0:
            continue
        left -= size
        ticks = D(better) if side is Side.BUY else -D(better)
        price = max(worst - ticks * one.tick_size, one.tick_size)
        rate = fees.maker if maker else fees.taker
        worth = {one.base: size, one.quote: size * price}.get(unit)
        exact = worth * rate if worth is not None else size * price * rate / third
        # An exchange rounds each fill's fee to 8 decimals, down or to the nearest.
        fee = exact.quantize(D("1e-8"), "ROUND_DOWN")
        made.append(_fill(one, side, size, price, fee, unit, len(made)))
    return made


def _fill(
    one: Instrument, side: Side, size: Decimal, price: Decimal, fee: Decimal, unit: str, number: int
) -> Fill:
    return Fill("1", str(number), "t", one.symbol, side, size, price, fee, unit, "taker", NOW)


def check_reservation(
    one: Instrument,
    side: Side,
    quantity: Decimal,
    worst: Decimal,
    fees: FeeSchedule,
    third: Decimal,
    how: Sequence[tuple[int, int, bool]],
) -> None:
    """What fills at or inside the worst price take fits in what was kept for them."""
    if side is Side.SELL and fees.unit(one, side) == THIRD:
        # Sold dearer, the fee grows with the price: the third asset is short then, and said to be.
        how = [(share, 0, maker) for share, _, maker in how]
    kept = reservation(side, quantity, worst, one, fees, third)
    assert all(amount >= 0 for amount in kept.values())
    spent: dict[str, Decimal] = {}
    for fill in fills_of(one, side, quantity, worst, fees, third, how):
        outgoing = one.quote if side is Side.BUY else one.base
        moved = movements(fill, one.base, one.quote)
        for currency, amount in moved.items():
            if amount < 0 and (currency == outgoing or currency in kept):
                spent[currency] = spent.get(currency, D(0)) - amount
            elif amount and currency not in (one.base, one.quote):
                assert currency in kept
    for currency, amount in spent.items():
        assert amount <= kept[currency], (currency, amount, kept)


def check_fee(notional: Decimal, rate: Decimal, price: Decimal) -> None:
    """A fee is rounded up to 8 decimals, by less than one of them."""
    fee = fee_for(notional, rate, price)
    exact = notional * rate / price
    assert exact <= fee < exact + D("1e-8")


def check_position(one: Instrument, fills: Sequence[Fill]) -> None:
    """A position is never below nothing, and what was paid comes out as profit or cost."""
    position, cash = Position(), D(0)
    for fill in fills:
        if fill.side is Side.SELL and fill.quantity > position.quantity:
            continue
        position = position.after(fill, one.base, one.quote)
        cash += movements(fill, one.base, one.quote)[one.quote]
        assert position.quantity >= 0
        assert position.cost >= 0
    if not position.quantity and not any(f.fee_currency == one.base for f in fills):
        assert position.cost == 0
        assert position.realized_pnl == cash
