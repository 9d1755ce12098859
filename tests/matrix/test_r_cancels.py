"""Regressions R48-R52, R69: a cancel meets a fill, a name, or nothing."""

from decimal import Decimal

import pytest

from tests.matrix.acts import (
    all_is_told,
    booked,
    cancel,
    held,
    lose,
    our_fills,
    rest,
    simulator,
    state,
    tell_again,
    theirs,
    told_fills,
)
from tests.matrix.world import each_exchange, world
from tests.simulators.bitstamp import faults

pytestmark = pytest.mark.anyio
D = Decimal

# Better than the touch of 49,990 / 50,000, so that a stranger meets our order first.
BEST = "49995"


@each_exchange
@pytest.mark.parametrize("filled", ["0.02", "0.005"])
@pytest.mark.parametrize("heard", [True, False], ids=["stream", "no stream"])
async def test_r48_a_fill_during_a_cancel_is_booked(tmp_path, exchange, filled, heard):
    """hummingbot#7140, #7139, #2501: "order not found" on a cancel, and the fill is missed."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w, "0.02", limit_price=BEST)
        w.side.next_cancel("lose_answer")
        if heard:
            async with w.listening():
                w.side.stranger("sell", BEST, filled)
                await cancel(w, made)
                await w.comes_to(made, "executed")
        else:
            w.side.stranger("sell", BEST, filled)
            await cancel(w, made)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D(filled))
        assert await state(w, made) == ("filled" if filled == "0.02" else "cancelled")
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r49_a_fill_that_is_told_after_the_cancel_counts(tmp_path, exchange):
    """hummingbot PR#764: the fill's event comes after the cancel's."""
    async with world(tmp_path / "home", exchange) as w:
        async with w.listening():
            await all_is_told(w)
            made = await rest(w, "0.02", limit_price=BEST)
            before = await held(w)
            w.side.look_ups("lost")
            if exchange == "binance":
                w.side.drop_events(1)
            else:
                simulator(w.side).stream.drop_next("private-my_trades", 1)
            w.side.stranger("sell", BEST, "0.005")
            w.side.cancel_by_hand(made.trade_id)
            other = await w.do("sell", "0.03")  # Its news come after the cancel's.
            await w.comes_to(other, "executed")
            assert ((await w.look(made)).status, await held(w)) == ("working", before)
            tell_again(w.side)
            await w.comes_to(made, "executed", "cancelled")
            w.side.look_ups(None)
            await w.advance(31, 31)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.005"))
        assert our_fills(await booked(w, made)) == told_fills(w.side, made) != set()
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
@pytest.mark.parametrize("word", [None, "lose_answer"])
async def test_r50_what_is_called_cancelled_may_be_filled(tmp_path, exchange, word):
    """freqtrade#1858: the exchange says "cancelled", and some of it was filled."""
    async with world(tmp_path / "home", exchange) as w:
        w.side.touch("49990", "50000", "0.005")
        if word:
            w.side.next_submit(word)
        made = await w.do(quantity="0.02", limit_price="50000", time_in_force="ioc")
        await w.advance(1)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.005"))
        assert await state(w, made) in ("cancelled", "expired")
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()


@each_exchange
async def test_r51_a_partial_fill_and_a_cancel_leave_exact_sums(tmp_path, exchange):
    """freqtrade#8374, #7444, #8229, #3622: a wrong amount, and dust that cannot be sold."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w, "0.02", limit_price=BEST)
        w.side.stranger("sell", BEST, "0.0001")
        await w.advance(31)
        w.side.stranger("sell", BEST, "0.00007")
        await cancel(w, made)
        done = await w.look(made)
        dust = await w.plan("sell", "0.00007")

        assert (done.status, done["filled_quantity"]) == ("executed", D("0.00017"))
        assert len(await booked(w, made)) == 2
        assert await held(w) == 0
        assert (dust.refused, dust.code) == (True, "min_notional")
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


async def test_r51_dust_that_the_exchange_leaves_of_an_order_is_released(tmp_path):
    """freqtrade#8374: an order that ends with 1e-8 left is neither filled nor cancelled."""
    async with world(tmp_path / "home", "bitstamp") as w:
        simulator(w.side).faults.next("submit", faults.dust())
        made = await w.do(quantity="0.02")
        await w.advance(2, 31, 1)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.01999999"))
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r52_the_cancel_of_an_order_that_is_gone_breaks_no_loop(tmp_path, exchange):
    """freqtrade#12360: the cancel of a missing order raises, and the worker crash-loops."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        w.side.roll_back(1)
        asked = await cancel(w, made)
        await w.until_absent()
        await w.advance(*[31] * 4)

        assert asked["cancel_requested"] is True
        assert w.desk.trouble == {}
        assert "no longer knows" in (await w.look(made))["incident"]
        assert (await w.look(made)).status == "working"
        assert await w.stopped()
        await w.stack.crash()
        await w.advance(6, 31)
        assert w.desk.trouble == {}


@each_exchange
@pytest.mark.parametrize("whose", ["ours", "by hand"])
async def test_r69_a_cancelled_order_is_found_whatever_it_is_called_then(tmp_path, exchange, whose):
    """nautilus_trader#4923, ccxt#9757: a cancel renames the order, and the look-up misses it."""
    async with world(tmp_path / "home", exchange) as w:
        w.side.renames_cancelled()
        known = await rest(w, "0.02", limit_price=BEST)
        w.side.stranger("sell", BEST, "0.005")
        if whose == "ours":
            w.side.next_cancel("lose_answer")
            await cancel(w, known)
        else:
            w.side.cancel_by_hand(known.trade_id)
        await w.advance(31)

        done = await w.look(known)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.005"))
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@pytest.mark.parametrize("filled", ["0.005", None])
async def test_r69_a_lost_order_that_was_renamed_is_not_judged_absent_while_it_may_be_ours(
    tmp_path, filled
):
    """nautilus_trader#4923: nobody told us its number, a person cancelled it: its name is gone."""
    async with world(tmp_path / "home", "binance") as w:
        w.side.renames_cancelled()
        made = await lose(w, limit_price=BEST)
        if filled:
            w.side.stranger("sell", BEST, filled)
        w.side.cancel_by_hand(made.trade_id)
        await w.until_absent()

        done = await w.look(made)
        assert (done.status, await held(w) > 0) == ("executing", True)
        assert "could be this one" in done["incident"]
        assert len(theirs(w.side, made)) == 1
        assert await w.stopped() is not None


@each_exchange
async def test_r52_a_cancel_that_comes_twice_is_one(tmp_path, exchange):
    """freqtrade#12360: what is cancelled already is no error to stop at."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        w.side.cancel_by_hand(made.trade_id)
        asked = await cancel(w, made)
        again = await cancel(w, made)

        assert asked["state"] == "cancelled"
        assert (again.refused, again.code) == (True, "order_not_open")
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()
