"""Regressions R01-R09, R60: an order is sent twice, blindly, or with other digits."""

from decimal import Decimal

import pytest

from tests.matrix.acts import (
    DROP,
    TAKEN,
    booked,
    cancel,
    held,
    hide,
    look_ups,
    lose,
    rest,
    state,
    theirs,
)
from tests.matrix.world import each_exchange, world

pytestmark = pytest.mark.anyio
D = Decimal

# How an order request may end, and what the trade says after its confirm.
ENDS = {
    "lose_answer": "executing",
    "lose_request": "executing",
    "late": "executing",
    "error": "executing",
    "html": "executing",
    "error_not_taken": "executing",
    "truncated": "executing",
    "duplicate_id": "executing",
    "no_funds": "failed",
}


@each_exchange
async def test_r01_a_stream_that_tells_of_an_order_before_its_answer_is_lost(tmp_path, exchange):
    """nautilus_trader#4215: a retry of the POST fires after the stream reported acceptance."""
    async with world(tmp_path / "home", exchange) as w:
        await w.do()  # So that the market is listened to.
        async with w.listening():
            w.side.next_submit("lose_answer")
            made = await w.do()
            await w.comes_to(made, "executed")
            again = await w.confirm(made)
        assert (again.refused, again.status) == (True, "executed")
        assert len(again["trade"]["fills"]) == 1
        assert w.side.orders_received().count(made.trade_id) == 1
        await w.advance(31, 1)
        await w.agrees()


@each_exchange
async def test_r02_a_not_found_is_no_failure(tmp_path, exchange):
    """hummingbot#601: "does not exist" is taken as a failure, and the order placed again."""
    async with world(tmp_path / "home", exchange) as w:
        made = await hide(w, limit_price="49000")
        before = await held(w)
        await w.advance(*[w.side.spacing_s] * 2)
        again = await w.confirm(made)

        assert look_ups(w.side) >= 2
        assert (again.refused, again.status) == (True, "executing")
        assert (await w.look(made)).status == "executing"
        assert await held(w) == before > 0
        w.side.unhide()
        await w.advance(w.side.spacing_s)
        assert (await w.look(made)).status == "working"
        assert len(theirs(w.side, made)) == 1
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("word", TAKEN)
async def test_r03_r04_r06_a_lost_answer_is_never_sent_again(tmp_path, exchange, word):
    """hummingbot#493, catalyst#317, blue_collar_gdax#1: a time-out is a failure, so once more."""
    async with world(tmp_path / "home", exchange) as w:
        made = await lose(w, word)
        again = [await w.confirm(made) for _ in range(3)]
        await w.advance(1, 1)

        assert {(a.refused, a.status) for a in again} == {(True, "executing")}
        assert (await w.look(made)).status == "executed"
        assert (await w.confirm(made)).status == "executed"
        assert w.side.orders_received() == [made.trade_id]
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
@pytest.mark.parametrize("word", sorted(ENDS))
async def test_r05_r07_one_confirm_is_one_request_however_it_ends(tmp_path, exchange, word):
    """python-poloniex#109, trading-signals PR#1178: the library sends a POST again by itself."""
    async with world(tmp_path / "home", exchange) as w:
        w.side.next_submit(word)
        made = await w.do("sell")

        assert made.status == ENDS[word]
        assert w.side.orders_received() == [made.trade_id]
        await w.until_absent()
        assert w.side.orders_received() == [made.trade_id]
        assert len(theirs(w.side, made)) <= 1
        there = bool(theirs(w.side, made))
        assert (await w.look(made)).status == ("executed" if there else "failed")
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r08_a_duplicate_id_after_a_lost_answer_is_no_rejection(tmp_path, exchange):
    """alpaca-py#260: the SDK posts again after a 504, and reads the 422 that follows as failure."""
    async with world(tmp_path / "home", exchange) as w:
        w.side.next_submit("duplicate_id")
        made = await w.do()
        before = await held(w)

        assert (made.status, before > 0) == ("executing", True)
        await w.until_absent()
        done = await w.look(made)
        assert (done.status, done["reason"]) == ("failed", "absent")
        assert await held(w) == 0
        await w.agrees()


@each_exchange
async def test_r09_an_order_that_filled_while_it_was_cancelled_is_not_made_again(
    tmp_path, exchange
):
    """freqtrade#11461: filled, reported as cancelled, and then created once more."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        w.side.touch(*DROP)
        asked = await cancel(w, made)
        again = await w.confirm(made)

        assert asked["state"] == "filled"
        assert (again.refused, again.status) == (True, "executed")
        assert [f.quantity for f in await booked(w, made)] == [D("0.01")]
        assert w.side.orders_received() == [made.trade_id]
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
@pytest.mark.parametrize("quantity", ["2.05", "0.07", "1.1", "0.0003"])
async def test_r60_a_quantity_is_sent_as_it_was_planned(tmp_path, exchange, quantity):
    """ccxt#799, #663, torchtrade PR#352: float steps make 2.049999, or round up beyond funds."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do("sell", quantity)
        assert made.status == "executed", made
        assert theirs(w.side, made)[0].quantity == D(quantity)
        odd = await w.plan("sell", "0.123456789123")
        whole = await w.plan("sell", str(w.side.balances()["BTC"]))
        more = await w.plan("sell", str(w.side.balances()["BTC"] + D("0.001")))

        assert (odd.refused, odd.code) == (True, "step_size")
        assert all(D(str(near)) != D("0.123456789123") for near in odd["nearest"])
        assert (more.refused, more.code) == (True, "buying_power")
        assert whole.status == "pending"
        assert (await w.confirm(whole)).status == "executed"
        assert w.side.balances().get("BTC", D(0)) == 0
        assert await state(w, whole) == "filled"
        await w.advance(31, 1)
        await w.agrees()
