"""Regressions R10-R25: an order that is there is taken for failed, lost or cancelled."""

from decimal import Decimal

import pytest

from tests.matrix.acts import (
    DROP,
    RESTING,
    SILENT,
    booked,
    cancel,
    held,
    hide,
    look_ups,
    lose,
    order_of,
    rest,
    simulator,
    state,
    theirs,
)
from tests.matrix.world import each_exchange, world
from tests.simulators.bitstamp import faults

pytestmark = pytest.mark.anyio
D = Decimal


@each_exchange
async def test_r10_an_order_without_the_exchanges_id_is_asked_for_by_ours(tmp_path, exchange):
    """nautilus_trader#4958: an order in flight without an exchange id is never queried."""
    async with world(tmp_path / "home", exchange) as w:
        made = await lose(w)
        assert (await order_of(w, made))["exchange_order_id"] is None

        await w.advance(1)

        order = await order_of(w, made)
        assert order["state"] == "filled"
        assert order["exchange_order_id"]
        await w.advance(31, 1)
        await w.agrees()


async def test_r11_a_stop_order_is_asked_for_where_stop_orders_are(tmp_path):
    """nautilus_trader PR#4411: the wrong endpoint answers -2013 for live conditional orders."""
    async with world(tmp_path / "home", "binance") as w:
        made = await lose(w, order_type="stop", stop_price="51000")
        await w.until_absent()
        assert (await w.look(made)).status == "working"
        assert await held(w) > 0

        w.side.touch("50990", "51010")
        simulator(w.side).print_trade(w.side.code, "51000")
        await w.advance(31, 1)

        assert (await w.look(made)).status == "executed"
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r12_an_order_missing_among_the_open_ones_may_be_filled(tmp_path, exchange):
    """nautilus_trader#3870: only open orders are read, a fast fill is resolved as rejected."""
    async with world(tmp_path / "home", exchange) as w:
        lost, resting = await lose(w), await rest(w)
        w.side.touch(*DROP)

        await w.advance(31, 1)

        assert (await w.look(lost)).status == "executed"
        assert (await w.look(resting)).status == "executed"
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("force", ["ioc", "fok"])
async def test_r13_an_order_that_could_not_rest_is_judged_once_and_left_alone(
    tmp_path, exchange, force
):
    """nautilus_trader#4072: IOC orders that are gone from the lists are polled for ever."""
    async with world(tmp_path / "home", exchange) as w:
        made = await lose(w, time_in_force=force, **RESTING)
        await w.advance(1, 1)
        asked = look_ups(w.side)
        await w.advance(*[31] * 4)

        done = await w.look(made)
        assert (done.status, done["reason"]) == ("failed", "not_filled")
        assert look_ups(w.side) == asked
        assert await held(w) == 0
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("word", ["lose_request", "lose_answer"])
async def test_r14_r15_r17_a_cancel_without_an_answer_ends_nothing(tmp_path, exchange, word):
    """nautilus_trader PR#4288, #4152, #3879: after enough tries an order "is" cancelled."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        before = await held(w)
        for _ in range(4):
            w.side.next_cancel("lose_request")
        w.side.look_ups("lost")
        await cancel(w, made)
        await w.advance(*[31] * 3)
        assert theirs(w.side, made)[0].live
        assert (await state(w, made), await held(w)) == ("open", before)

        w.side.look_ups(None)
        w.side.next_cancel(word)
        await w.advance(*[31] * 6)

        done = await w.look(made)
        assert (done.status, done["reason"]) == ("failed", "order_cancelled")
        assert not theirs(w.side, made)[0].live
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


async def test_r16_a_partly_filled_order_that_is_called_rejected_ends_once(tmp_path):
    """nautilus_trader PR#4479: PartiallyFilled to Rejected is no edge, the event loops for ever."""
    async with world(tmp_path / "home", "binance") as w:
        made = await rest(w, "0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        await w.advance(31)
        assert await state(w, made) == "partially_filled"

        simulator(w.side).rename_status("CANCELED", "REJECTED")
        w.side.cancel_by_hand(made.trade_id)
        await w.advance(31, 1)
        asked = look_ups(w.side)
        await w.advance(31, 31)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.005"))
        assert await state(w, made) == "cancelled"
        assert look_ups(w.side) == asked
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("word", SILENT)
async def test_r18_r20_r21_a_silent_exchange_loses_no_order(tmp_path, exchange, word):
    """hummingbot#8457, #3374, #1357: an outage drops accepted orders, which fill later."""
    async with world(tmp_path / "home", exchange) as w:
        made = [await lose(w, quantity=q, **RESTING) for q in ("0.01", "0.02", "0.03")]
        before = await held(w)
        w.side.look_ups(word)
        for _ in range(3):
            await w.until_absent()
        assert [await state(w, one) for one in made] == ["unknown"] * 3
        assert await held(w) == before

        w.side.touch(*DROP)
        w.side.look_ups(None)
        await w.advance(61, 61, 61)

        assert [(await w.look(one)).status for one in made] == ["executed"] * 3
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r19_an_order_found_absent_that_turns_up_live_does_not_stay(tmp_path, exchange):
    """hummingbot#6716: a failure is told of orders that live, and they are stuck there."""
    async with world(tmp_path / "home", exchange) as w:
        made = await hide(w, **RESTING)
        if exchange == "bitstamp":  # Its events tell of the order all the same.
            simulator(w.side).engine.log.forget(str(simulator(w.side).orders[-1].order_id))
        await w.until_absent()
        assert (await w.look(made))["reason"] == "absent"

        w.side.unhide()
        await w.advance(31, 1)

        done = await w.look(made)
        assert not theirs(w.side, made)[0].live
        assert "live at the exchange" in done["incident"]
        assert await w.stopped()
        assert (await w.plan()).refused
        await w.agrees()


@each_exchange
async def test_r22_an_order_placed_in_the_place_of_a_cancelled_one_is_kept(tmp_path, exchange):
    """hummingbot#6968: an order is lost right after another was cancelled and replaced."""
    async with world(tmp_path / "home", exchange) as w:
        first = await rest(w)
        w.side.next_cancel("lose_answer")
        await cancel(w, first)
        second = await lose(w, limit_price="48995")
        await w.advance(1, 31)
        assert (await w.look(first))["reason"] == "order_cancelled"
        assert (await w.look(second)).status == "working"

        w.side.touch(*DROP)
        await w.advance(31, 1)

        assert (await w.look(second)).status == "executed"
        assert await booked(w, first) == []
        await w.agrees()


@each_exchange
async def test_r23_a_look_up_that_is_behind_says_nothing_of_an_accepted_order(tmp_path, exchange):
    """ccxt#1786: the id of an order does not exist seconds after its placement."""
    async with world(tmp_path / "home", exchange) as w:
        sim = simulator(w.side)
        if exchange == "binance":
            sim.lag("order", True)
            sim.lag("openOrders", True)
        else:
            w.side.next_submit("hidden")
        made = await rest(w)
        before = await held(w)
        await w.advance(2, 2, 2)
        assert (await w.look(made)).status == "working"
        assert await held(w) == before

        w.side.unhide()
        w.side.touch(*DROP)
        await w.advance(31, 1)

        assert (await w.look(made)).status == "executed"
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r24_however_many_not_founds_release_nothing_while_it_may_arrive(tmp_path, exchange):
    """freqtrade#4403: after N not-founds an order is given up, though funds must stay locked."""
    async with world(tmp_path / "home", exchange) as w:
        made = await lose(w, "late", **RESTING)
        before = await held(w)
        early = w.side.validity.total_seconds() - 1
        await w.advance(*[early / 8] * 8)
        assert (await state(w, made), await held(w)) == ("unknown", before)

        await w.side.deliver_late()
        await w.until_absent()

        assert (await w.look(made)).status == "working"
        assert len(theirs(w.side, made)) == 1
        assert await held(w) == before
        await w.agrees()


@each_exchange
async def test_r25_a_stale_list_of_open_orders_proves_nothing(tmp_path, exchange):
    """python-binance#690: the list of open orders is 30 to 40 s old."""
    async with world(tmp_path / "home", exchange) as w:
        sim, goes = simulator(w.side), await rest(w)
        await w.advance(31)
        if exchange == "binance":
            sim.lag("openOrders", True)
        else:
            sim.faults.always("open_orders", faults.stale())
        await cancel(w, goes)
        stays = await rest(w, "0.02")
        await w.advance(31, 10, 31)

        assert (await w.look(goes))["reason"] == "order_cancelled"
        assert (await w.look(stays)).status == "working"
        assert await w.stopped() is None
        if exchange == "binance":
            sim.lag("openOrders", False)
        else:
            sim.faults.clear("open_orders")
        w.side.touch(*DROP)
        await w.advance(31, 1)
        assert (await w.look(stays)).status == "executed"
        await w.agrees()
