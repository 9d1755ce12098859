"""The matching engine both simulators trade on."""

import random
from decimal import Decimal

import pytest

from tests.simulators.matching import Book, Resting

D = Decimal


def _book(*orders: tuple[int, str, str, str]) -> Book:
    book = Book()
    for order_id, side, price, quantity in orders:
        book.rest(Resting(order_id, f"o{order_id}", side, D(price), D(quantity)))
    return book


def test_take_when_several_prices_rest_then_the_best_goes_first_and_older_before_newer():
    book = _book((1, "sell", "11", "1"), (2, "sell", "10", "1"), (3, "sell", "10", "2"))
    matches = book.take("buy", D("2.5"), None)
    assert [(m.maker.order_id, m.price, m.quantity) for m in matches] == [
        (2, D(10), D(1)),
        (3, D(10), D("1.5")),
    ]
    assert book.levels("sell", 5) == [(D(10), D("0.5")), (D(11), D(1))]


def test_take_when_limited_then_nothing_beyond_the_limit_trades():
    book = _book((1, "buy", "9", "1"), (2, "buy", "10", "1"))
    assert [m.maker.order_id for m in book.take("sell", D(5), D(10))] == [2]
    assert book.best_bid == 9


def test_take_when_the_book_is_empty_then_no_match():
    assert Book().take("buy", D(1), None) == []


def test_take_when_a_maker_is_emptied_then_it_leaves_the_book():
    book = _book((1, "sell", "10", "1"))
    book.take("buy", D(1), D(10))
    assert book.best_ask is None
    assert 1 not in book
    assert book.remove(1) is None


def test_fillable_when_asked_then_the_book_stays_as_it_was():
    book = _book((1, "sell", "10", "1"), (2, "sell", "12", "3"))
    assert book.fillable("buy", D(9), D(11)) == 1
    assert book.fillable("buy", D(3), None) == 3
    assert book.levels("sell", 5) == [(D(10), D(1)), (D(12), D(3))]


def test_remove_when_one_of_a_level_goes_then_the_others_keep_their_place():
    book = _book((1, "buy", "10", "1"), (2, "buy", "10", "1"), (3, "buy", "10", "1"))
    removed = book.remove(2)
    assert removed is not None
    assert removed.order_id == 2
    assert [m.maker.order_id for m in book.take("sell", D(2), None)] == [1, 3]


def test_rest_when_a_quantity_is_lowered_then_priority_is_kept():
    book = _book((1, "buy", "10", "5"), (2, "buy", "10", "5"))
    first = book.get(1)
    assert first is not None
    first.remaining = D(1)
    assert [(m.maker.order_id, m.quantity) for m in book.take("sell", D(2), None)] == [
        (1, D(1)),
        (2, D(1)),
    ]


def test_rest_when_the_id_rests_already_then_it_is_refused():
    book = _book((1, "buy", "10", "5"))
    with pytest.raises(ValueError, match="rests already"):
        book.rest(Resting(1, "x", "sell", D(11), D(1)))


def test_levels_when_asked_for_less_then_only_the_best_prices_come():
    book = _book((1, "buy", "8", "1"), (2, "buy", "10", "1"), (3, "buy", "9", "1"))
    assert book.levels("buy", 2) == [(D(10), D(1)), (D(9), D(1))]
    assert book.levels("sell", 2) == []


def test_owned_by_when_several_owners_rest_then_only_theirs_come():
    book = _book((1, "buy", "8", "1"), (2, "sell", "10", "1"))
    assert [order.order_id for order in book.owned_by("o2")] == [2]


def test_take_when_many_random_orders_come_then_quantity_is_conserved_and_never_crossed():
    dice = random.Random(7)
    book = Book()
    resting = traded = sent = D(0)
    for order_id in range(500):
        side = dice.choice(["buy", "sell"])
        price, quantity = D(dice.randint(90, 110)), D(dice.randint(1, 9))
        sent += quantity
        matches = book.take(side, quantity, price)
        filled = sum((m.quantity for m in matches), D(0))
        traded += 2 * filled
        if filled < quantity:
            book.rest(Resting(order_id, "o", side, price, quantity - filled))
        if book.best_bid is not None and book.best_ask is not None:
            assert book.best_bid < book.best_ask
    for side in ("buy", "sell"):
        resting += sum((quantity for _, quantity in book.levels(side, 1000)), D(0))
    assert traded + resting == sent
