"""Properties of the money: what is reserved suffices, and nothing appears or vanishes."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.ledger import FeeSchedule, Position, fee_for, movements, reservation
from backend.domain.money import BPS, ZERO, parse_positive, stored, to_text
from backend.domain.order import Side
from backend.services.planning import FEE_ASSET_BAND_BPS, worst_price
from tests.services.fakes import BTC, a_fill

D = Decimal
prices = st.integers(1, 10**9).map(lambda n: D(n) / 100)
quantities = st.integers(1, 10**6).map(lambda n: D(n) / 1000)
rates = st.integers(0, 100).map(lambda n: D(n) / BPS)
units = st.sampled_from(["quote", "base", "BNB"])
sides = st.sampled_from(list(Side))


def charged(side, quantity, price, fee, unit):
    """Return a fill with this fee."""
    changed = {"quantity": quantity, "price": price, "fee": fee, "fee_currency": unit}
    return replace(a_fill("1", side=side), **changed)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.from_regex(r"[0-9]{1,18}(\.[0-9]{1,18})?", fullmatch=True))
def test_a_number_survives_from_text_to_text(text):
    value = parse_positive(text)

    if value is None:
        assert D(text) == 0
    else:
        assert stored(to_text(value)) == value == D(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    side=sides,
    quantity=quantities,
    touch=prices,
    band=st.integers(0, 500).map(D),
    parts=st.lists(st.tuples(st.integers(1, 10), st.integers(0, 10)), min_size=1, max_size=5),
    maker=rates,
    taker=rates,
    unit=units,
    drift=st.integers(0, int(FEE_ASSET_BAND_BPS)),
)
def test_a_reservation_covers_every_fill_within_the_worst_price(
    side, quantity, touch, band, parts, maker, taker, unit, drift
):
    fees = FeeSchedule(maker, taker, unit)
    worst = worst_price(side, touch, band, BTC.tick_size)
    fee_price = D(500)
    cautious = fee_price * (1 - FEE_ASSET_BAND_BPS / BPS)
    held = reservation(side, quantity, worst, BTC, fees, cautious)
    spent = dict.fromkeys((*held, "USD", "BTC", "BNB"), ZERO)
    at_fill = fee_price * (1 - D(drift) / BPS)
    whole = sum(weight for weight, _ in parts)

    for weight, place in parts:
        # Anywhere between the touch and the worst price, by either rate.
        price = touch + (worst - touch) * place / 10
        part = quantity * weight / whole
        rate = maker if place % 2 else taker
        fee = {
            "quote": lambda n=part * price, r=rate: fee_for(n, r),
            "base": lambda n=part, r=rate: fee_for(n, r),
            "BNB": lambda n=part * price, r=rate: fee_for(n, r, at_fill),
        }[unit]()
        fill = charged(side, part, price, fee, fees.unit(BTC, side))
        for currency, amount in movements(fill, "BTC", "USD").items():
            spent[currency] -= amount

    # Each fill's fee is rounded up on its own: one step of it for each further fill.
    room = D("0.00000001") * len(parts)
    if side is Side.BUY:
        assert worst >= touch
        assert spent["USD"] <= held["USD"] + room
    else:
        # A sell that fills above the worst price brings in more, and its fee comes from that.
        assert worst <= touch
        assert spent["BTC"] <= held["BTC"] + room
    if unit == "BNB" and side is Side.BUY:
        assert spent["BNB"] <= held.get("BNB", ZERO) + room


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    trades=st.lists(
        st.tuples(sides, quantities, prices, rates, st.sampled_from(["USD", "BTC"])), max_size=12
    )
)
def test_cash_is_what_was_realized_less_what_the_position_cost(trades):
    position, cash, coins = Position(), ZERO, ZERO

    for side, quantity, price, rate, unit in trades:
        # Never more than was bought here, its fee in coins included.
        quantity = quantity if side is Side.BUY else min(quantity, position.quantity / 2)
        if not quantity:
            continue
        worth = quantity if unit == "BTC" else quantity * price
        fill = charged(side, quantity, price, fee_for(worth, rate), unit)
        if fill.fee_currency == "BTC" and side is Side.SELL and fill.fee > position.quantity / 2:
            continue
        position = position.after(fill, "BTC", "USD")
        moved = movements(fill, "BTC", "USD")
        cash, coins = cash + moved["USD"], coins + moved["BTC"]

    assert cash == position.realized_pnl - position.cost
    assert coins == position.quantity
    assert position.cost >= 0
    assert position.quantity >= 0


@settings(max_examples=150, deadline=None, derandomize=True)
@given(side=sides, price=prices, band=st.integers(0, 1000).map(D))
def test_the_worst_price_is_a_tick_within_the_band_and_not_inside_the_touch(side, price, band):
    worst = worst_price(side, price, band, BTC.tick_size)

    assert worst % BTC.tick_size == 0
    if side is Side.BUY:
        assert price <= worst <= max(price * (1 + band / BPS), price)
    else:
        assert min(price * (1 - band / BPS), price) <= worst <= price
