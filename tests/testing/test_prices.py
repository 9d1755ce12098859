"""Prices that a test chooses."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.prices import open_prices
from backend.testing import START, ChosenPrices, FrozenClock, Stack

pytestmark = pytest.mark.anyio

D = Decimal


def after(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


async def test_a_price_stands_until_it_is_changed() -> None:
    clock = FrozenClock()
    prices = ChosenPrices(clock)
    prices.set("AAPL", bid="215.38", ask="215.40", last="215.39")
    clock.advance(3600)

    quote = await prices.quote("AAPL")

    assert quote is not None
    assert (quote.bid, quote.ask, quote.last) == (D("215.38"), D("215.40"), D("215.39"))
    assert quote.as_of == after(3600)


async def test_what_is_left_out_stays_as_it_was() -> None:
    prices = ChosenPrices(FrozenClock())
    prices.set("AAPL", bid=215, ask=216)

    moved = prices.set("AAPL", ask="217.50")

    assert (moved.bid, moved.ask, moved.last) == (D(215), D("217.50"), D(215))


async def test_one_price_is_enough_for_a_symbol_without_any() -> None:
    one = ChosenPrices(FrozenClock()).set("AAPL", ask="215.40")

    assert one.bid == one.ask == one.last == D("215.40")


async def test_a_removed_symbol_has_no_quote_and_a_symbol_never_set_neither() -> None:
    prices = ChosenPrices(FrozenClock())
    prices.set("AAPL", ask="215.40")
    prices.remove("AAPL")

    assert await prices.quote("AAPL") is None
    assert await prices.quote("SPY") is None


async def test_a_frozen_quote_grows_old_until_it_is_set_again() -> None:
    clock = FrozenClock()
    prices = ChosenPrices(clock)
    prices.set("AAPL", ask="215.40")
    clock.advance(1)
    prices.freeze("AAPL")
    clock.advance(60)

    old = await prices.quote("AAPL")
    fresh = prices.set("AAPL", ask="215.40")

    assert old is not None
    assert (old.as_of, fresh.as_of) == (after(1), after(61))


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"ask": 215.4}, TypeError, "as text or Decimal, was 215.4"),
        ({"ask": True}, TypeError, "was True"),
        ({"ask": "0"}, ValueError, "above 0, was 0"),
        ({"ask": "NaN"}, ValueError, "above 0, was NaN"),
        ({}, ValueError, "at least one price of AAPL"),
        ({"bid": "2", "ask": "1"}, ValueError, "the bid 2 of AAPL is above the ask 1"),
    ],
)
async def test_what_is_no_price_is_refused(given: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        ChosenPrices(FrozenClock()).set("AAPL", **given)


async def test_only_a_quote_can_grow_old() -> None:
    with pytest.raises(ValueError, match="AAPL has no quote"):
        ChosenPrices(FrozenClock()).freeze("AAPL")


async def test_the_path_is_every_change_and_what_stands_at_its_end() -> None:
    clock = FrozenClock()
    prices = ChosenPrices(clock)
    prices.set("AAPL", ask=100)
    for ask in (101, 102):
        clock.advance(10)
        prices.set("AAPL", ask=ask)

    def path(start: float, end: float) -> list[tuple[Any, Decimal]]:
        return [(q.as_of, q.ask) for q in prices.path("AAPL", after(start), after(end))]

    assert path(0, 30) == [(after(10), D(101)), (after(20), D(102)), (after(30), D(102))]
    assert path(0, 10) == [(after(10), D(101))]
    assert path(10, 15) == [(after(15), D(101))]
    assert path(-10, -5) == []


async def test_the_path_has_nothing_where_there_was_no_fresh_quote() -> None:
    clock = FrozenClock()
    prices = ChosenPrices(clock)
    prices.set("AAPL", ask=100)
    prices.set("SPY", ask=500)
    prices.freeze("AAPL")
    prices.remove("SPY")
    clock.advance(10)

    assert prices.path("AAPL", START, after(10)) == []
    assert prices.path("SPY", START, after(10)) == []


async def test_other_symbols_have_the_prices_of_another_source() -> None:
    clock = FrozenClock()
    simulated = open_prices("simulated", clock, 7)
    prices = ChosenPrices(clock, simulated)
    prices.set("AAPL", ask="1.00")

    assert await prices.quote("MSFT") == await simulated.quote("MSFT")
    assert prices.path("MSFT", START, after(9)) == simulated.path("MSFT", START, after(9))
    assert (await prices.quote("AAPL")) == prices.set("AAPL", ask="1.00")
    assert prices.replayable


@pytest.mark.exec_mcp(instruments=["ACME/USD"])
async def test_a_symbol_may_be_listed_before_it_has_a_price(exec_mcp: Stack) -> None:
    without = await exec_mcp.plan("ACME/USD", "buy", 10)
    exec_mcp.prices.set("ACME/USD", ask="3.00000001")

    plan = await exec_mcp.plan("ACME/USD", "buy", 10)

    assert without.code == "stale_quote"
    assert plan["price"] == D("3.00000001")


async def test_an_order_that_rests_meets_each_price_that_was_set_while_nobody_looked(
    exec_mcp: Stack,
) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10, order_type="limit", limit_price="200.00")
    await exec_mcp.confirm(plan)
    for bid, ask in (("199.00", "199.50"), ("215.38", "215.40")):
        await exec_mcp.advance(10, tick=False)
        exec_mcp.prices.set("AAPL", bid, ask)

    await exec_mcp.advance(10)

    trade = await exec_mcp.trade(plan)
    assert (trade.status, trade["executed_price"]) == ("executed", D("200.00"))
    assert trade["fills"][0]["executed_at"] == "2026-05-26T10:14:51-04:00"
