"""Every recorded instrument, at and beside every edge of its rules."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.order import Side
from tests.properties import money, rules
from tests.properties.listed import instruments
from tests.properties.running import PROPERTIES

D = Decimal
NAMES = sorted(instruments())
each = st.sampled_from(NAMES).map(lambda name: instruments()[name])
sides = st.sampled_from(list(Side))
third = st.sampled_from([D("0.01"), D("1"), D("612.34")])


def test_all_instruments_that_were_recorded_are_here() -> None:
    kinds = {name.split()[0] for name in NAMES}
    if kinds == {"paper"}:
        pytest.skip("no recorded rules beside the repository")
    assert kinds == {"paper", "binance", "bitstamp"}


@PROPERTIES
@given(data=st.data(), one=each)
def test_a_quantity_is_taken_on_its_step_and_else_told_what_is_nearest(data, one) -> None:
    rules.check_quantity(one, data.draw(rules.quantities(one)))


@PROPERTIES
@given(data=st.data(), one=each)
def test_a_price_is_taken_on_its_tick_and_else_told_what_is_nearest(data, one) -> None:
    rules.check_price(one, data.draw(rules.prices(one)))


@PROPERTIES
@given(data=st.data(), one=each)
def test_a_notional_outside_its_bounds_is_told_a_quantity_that_passes(data, one) -> None:
    rules.check_notional(one, data.draw(rules.quantities(one)), data.draw(rules.prices(one)))


@PROPERTIES
@given(data=st.data(), one=each)
def test_a_number_of_an_instrument_survives_its_text(data, one) -> None:
    rules.check_text(data.draw(rules.quantities(one) | rules.prices(one)))


@PROPERTIES
@given(data=st.data(), one=each, side=sides, fees=money.schedules, price=third, how=money.parts)
def test_no_fill_at_or_inside_the_worst_price_takes_more_than_is_kept(
    data, one, side, fees, price, how
) -> None:
    quantity = data.draw(st.integers(1, 10**6)) * one.step_size
    worst = data.draw(st.integers(1, 10**7)) * one.tick_size
    money.check_reservation(one, side, quantity, worst, fees, price, how)


@PROPERTIES
@given(
    notional=st.decimals(min_value=0, max_value=10**12, places=10),
    rate=st.decimals(min_value=0, max_value=1, places=6),
    price=st.decimals(min_value=D("0.00000001"), max_value=10**6, places=8),
)
def test_a_fee_is_rounded_up_by_less_than_its_last_digit(notional, rate, price) -> None:
    money.check_fee(notional, rate, price)


@PROPERTIES
@given(data=st.data(), one=each, fees=money.schedules, price=third)
def test_a_position_is_never_below_nothing_and_its_profit_is_the_cash_it_left(
    data, one, fees, price
) -> None:
    fills = []
    for how in data.draw(st.lists(money.parts, max_size=3)):
        side = data.draw(sides)
        quantity = data.draw(st.integers(1, 10**5)) * one.step_size
        worst = data.draw(st.integers(1, 10**6)) * one.tick_size
        fills += money.fills_of(one, side, quantity, worst, fees, price, how)
    money.check_position(one, fills)
