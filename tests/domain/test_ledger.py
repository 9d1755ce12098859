from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.ledger import FeeSchedule, Position, fee_for, movements, reservation
from backend.domain.order import Fill, Side
from tests.domain.builders import BTC, a_fill

D = Decimal
BUY, SELL = Side.BUY, Side.SELL


def fees(rate: str, currency: str = "quote") -> FeeSchedule:
    return FeeSchedule(maker=D(0), taker=D(rate), currency=currency)


@pytest.mark.parametrize(
    ("side", "schedule", "fee_price", "held"),
    [
        (BUY, fees("0"), None, {"USD": "200"}),
        (BUY, fees("0.001"), None, {"USD": "200.2"}),
        (BUY, fees("0.001", "base"), None, {"USD": "200"}),  # Taken from what comes in.
        (BUY, fees("0.001", "BNB"), "50", {"USD": "200", "BNB": "0.004"}),
        (SELL, fees("0"), None, {"BTC": "2"}),
        (SELL, fees("0.001"), None, {"BTC": "2"}),  # Taken from what comes in.
        (SELL, fees("0.001", "base"), None, {"BTC": "2.002"}),
        (SELL, fees("0.001", "BNB"), "50", {"BTC": "2", "BNB": "0.004"}),
    ],
)
def test_a_reservation_holds_what_may_be_taken(
    side: Side, schedule: FeeSchedule, fee_price: str | None, held: dict[str, str]
) -> None:
    price = D(fee_price) if fee_price else None
    found = reservation(side, D(2), D(100), BTC, schedule, price)

    assert found == {currency: D(amount) for currency, amount in held.items()}


def test_the_worse_of_the_two_rates_is_reserved() -> None:
    maker_is_dearer = FeeSchedule(maker=D("0.002"), taker=D("0.001"))
    assert reservation(BUY, D(1), D(100), BTC, maker_is_dearer, None) == {"USD": D("100.2")}


def test_a_third_fee_asset_without_a_price_cannot_be_reserved() -> None:
    with pytest.raises(ValueError, match="no price for the fee asset BNB"):
        reservation(BUY, D(1), D(100), BTC, fees("0.001", "BNB"), None)


@pytest.mark.parametrize(
    ("notional", "rate", "price", "fee"),
    [
        ("100", "0.001", "1", "0.1"),
        ("0.00001", "0.001", "1", "0.00000001"),  # Never in our favour.
        ("100", "0.001", "3", "0.03333334"),
        ("0", "0.001", "1", "0"),
    ],
)
def test_a_fee_is_rounded_up(notional: str, rate: str, price: str, fee: str) -> None:
    assert fee_for(D(notional), D(rate), D(price)) == D(fee)


@pytest.mark.parametrize(
    ("fill", "moved"),
    [
        (a_fill(BUY, "2", "100"), {"BTC": "2", "USD": "-200"}),
        (a_fill(BUY, "2", "100", "0.2"), {"BTC": "2", "USD": "-200.2"}),
        (a_fill(BUY, "2", "100", "0.002", "BTC"), {"BTC": "1.998", "USD": "-200"}),
        (a_fill(BUY, "2", "100", "1", "BNB"), {"BTC": "2", "USD": "-200", "BNB": "-1"}),
        (a_fill(SELL, "2", "100", "0.2"), {"BTC": "-2", "USD": "199.8"}),
        (a_fill(SELL, "2", "100", "0.002", "BTC"), {"BTC": "-2.002", "USD": "200"}),
    ],
)
def test_a_fill_moves_base_quote_and_fee(fill: Fill, moved: dict[str, str]) -> None:
    found = movements(fill, "BTC", "USD")
    assert found == {currency: D(amount) for currency, amount in moved.items()}


@pytest.mark.parametrize(
    ("fills", "quantity", "cost", "realized"),
    [
        ([(BUY, "2", "100")], "2", "200", "0"),
        ([(BUY, "2", "100"), (BUY, "1", "130")], "3", "330", "0"),
        ([(BUY, "2", "100"), (SELL, "1", "130")], "1", "100", "30"),
        ([(BUY, "2", "100"), (SELL, "2", "130")], "0", "0", "60"),
        ([(BUY, "2", "100", "1")], "2", "200", "-1"),
        ([(BUY, "2", "100", "1"), (SELL, "2", "130", "2")], "0", "0", "57"),
        # A fee in base lowers the position; its worth lowers the profit.
        ([(BUY, "2", "100", "0.5", "BTC")], "1.5", "150", "-50"),
        ([(BUY, "2", "100"), (SELL, "1", "130", "0.5", "BTC")], "0.5", "50", "-20"),
        # A fee in a third asset is not in this instrument's profit.
        ([(BUY, "2", "100", "1", "BNB")], "2", "200", "0"),
        # What was not bought here is sold without a profit of ours.
        ([(SELL, "5", "130")], "0", "0", "0"),
        ([(BUY, "2", "100"), (SELL, "5", "130")], "0", "0", "60"),
        # A third: what no division ends, stays with the position.
        ([(BUY, "3", "1"), (SELL, "1", "2")], "2", "2", "1"),
    ],
)
def test_a_position_keeps_average_cost(
    fills: list[tuple[Side, str, str]], quantity: str, cost: str, realized: str
) -> None:
    position = Position()
    for told in fills:
        position = position.after(a_fill(*told), "BTC", "USD")

    assert position == Position(D(quantity), D(cost), D(realized))


def test_nothing_held_has_no_average() -> None:
    assert Position().avg_price is None
    assert Position(D(2), D(300)).avg_price == 150


_price = st.decimals(min_value=D("0.01"), max_value=D(10**9), places=2)
_quantity = st.decimals(min_value=D("0.001"), max_value=D(10**9), places=3)


@given(st.lists(st.tuples(st.sampled_from(Side), _quantity, _price), max_size=12))
def test_no_cent_appears_or_vanishes_whatever_is_traded(
    told: list[tuple[Side, Decimal, Decimal]],
) -> None:
    position, spent = Position(), D(0)
    for side, quantity, price in told:
        traded = quantity if side is BUY else min(quantity, position.quantity)
        spent += traded * price if side is BUY else -traded * price
        position = position.after(a_fill(side, str(quantity), str(price)), "BTC", "USD")

    assert position.cost - position.realized_pnl == spent
    assert position.quantity >= 0
    assert position.cost >= 0
