"""F09-F14, F37, F40: fills that come early, twice, late, in pieces, or not at all."""

from decimal import Decimal

import pytest

from backend.store import orders
from backend.testing.answers import Answer
from tests.matrix.sides import BinanceSide
from tests.matrix.world import World, each_exchange, world
from tests.services.spoken import until

pytestmark = pytest.mark.anyio
D = Decimal


async def fills(w: World, trade: Answer) -> list[Decimal]:
    """Return the quantities booked for a trade."""
    found = await w.desk.database.read(lambda tx: orders.fills(tx, trade.trade_id))
    return [fill.quantity for fill in found]


async def held(w: World) -> Decimal:
    """Return what is reserved in the payment currency."""
    return D((await w.funds())[w.side.payment][1])


async def cancel(w: World, trade: Answer) -> Answer:
    return await w.stack.call("cancel_order", trade_id=trade.trade_id)


@each_exchange
async def test_f09_a_fill_by_stream_before_or_instead_of_the_answer_is_booked_once(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w, w.listening():
        w.side.next_submit("late")
        first = await w.do()
        await w.side.deliver_late()
        await w.comes_to(first, "executed")
        both = await w.do()
        await w.advance(31, 1)

        assert (first.status, both.status) == ("executing", "executed")
        assert await fills(w, first) == await fills(w, both) == [D("0.01")]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f10_fills_told_twice_and_out_of_order_by_every_way_are_booked_once(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w, w.listening():
        w.side.touch("49990", "50000", "0.004")
        w.side.double_events(20)
        twice = await w.do("buy", "0.004")
        w.side.touch("49990", "50000", "0.004")
        rest = await w.do(quantity="0.01", limit_price="49995")
        w.side.stranger("sell", "49995", "0.003")
        await w.comes_to(rest, "working", "partially_filled")
        w.side.stranger("sell", "49995", "0.002")
        w.side.stranger("sell", "49995", "0.005")
        await w.comes_to(rest, "executed")
        w.side.offer("50010", "1")
        w.side.fills_last()
        swapped = await w.do()
        await w.comes_to(swapped, "executed")
        await w.advance(31, 2400, 1)

        assert await fills(w, twice) == [D("0.004")]
        assert await fills(w, rest) == [D("0.003"), D("0.002"), D("0.005")]
        assert sum(await fills(w, swapped)) == D("0.01")
        assert len(await fills(w, swapped)) > 1
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f11_a_fill_id_that_two_orders_share_is_booked_for_each(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        first = await shared_id(w)
        await w.advance(31, 1)

        booked = await w.desk.database.read(
            lambda tx: [orders.fills(tx, one.trade_id) for one in first]
        )
        ids = [fill.exchange_fill_id for one in booked for fill in one]
        assert len(ids) == 2
        assert len(set(ids)) == 1
        assert [(await w.look(one)).status for one in first] == ["executed"] * 2
        await w.agrees()
        assert await w.stopped() is None


async def shared_id(w: World) -> list[Answer]:
    """Return two trades whose fills have the same id: numbered by symbol, or of one match."""
    if isinstance(w.side, BinanceSide):
        w.side.sim.set_touch("ETHUSDT", "1990", "2000")
        return [await w.do("buy", "0.01"), await w.do("buy", "0.01", symbol="ETH/USDT")]
    rests = await w.do("sell", "0.01", limit_price="49995")
    return [rests, await w.do("buy", "0.01", limit_price="49995")]


@each_exchange
async def test_f12_a_partial_fill_and_then_a_cancel_executes_the_part_and_frees_the_rest(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do(quantity="0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        await w.advance(31)
        partly, before = await w.order(made), await held(w)
        told = await cancel(w, made)
        found = await w.look(made)
        w.side.touch("49990", "50000", "0.004")
        thin = await w.do("buy", "0.02")

        assert partly.state == "partially_filled"
        assert before >= D("0.015") * 49995
        assert (told["state"], found.status) == ("cancelled", "executed")
        assert await fills(w, made) == [D("0.005")]
        assert thin.status == "executed"
        assert 0 < sum(await fills(w, thin)) < D("0.02")
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f13_a_cancel_that_comes_after_the_fill_books_the_fill(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        whole = await w.do(limit_price="49995")
        w.side.stranger("sell", "49995", "0.01")
        told = await cancel(w, whole)
        part = await w.do(quantity="0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        w.side.next_cancel("lose_request")
        asked = await cancel(w, part)
        w.side.stranger("sell", "49995", "0.015")
        await w.advance(31, 1)

        assert told["state"] == "filled"
        assert (asked["state"], asked["cancel_requested"]) == ("partially_filled", True)
        assert [(await w.look(one)).status for one in (whole, part)] == ["executed"] * 2
        assert sum(await fills(w, part)) == D("0.02")
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f14_a_cancel_is_final_only_with_its_last_fill_whatever_was_lost(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        unanswered = await w.do(quantity="0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        w.side.next_cancel("lose_answer")
        w.side.look_ups("lost")
        asked = await cancel(w, unanswered)
        before = await held(w)
        w.side.look_ups(None)
        await w.advance(31, 1)
        found = await w.look(unanswered)

        async with w.listening():
            by_hand = await w.do(quantity="0.02", limit_price="49995")
            w.side.drop_events(1)
            w.side.stranger("sell", "49995", "0.005")
            w.side.cancel_by_hand(by_hand.trade_id)
            await w.comes_to(by_hand, "executed", "cancelled")

        assert asked["state"] == "open"
        assert before >= D("0.02") * 49995
        assert found.status == "executed"
        assert await fills(w, unanswered) == await fills(w, by_hand) == [D("0.005")]
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f37_a_fee_beyond_the_reservation_is_booked_whole(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:

        async def dearer() -> None:
            w.side.set_fees("0.05")

        with w.after_claim(dearer):
            dear = await w.do()
        await w.advance(31, 1)
        await w.agrees()
        ample = await w.stopped()
        fees = await w.desk.database.read(
            lambda tx: [(f.fee, f.fee_currency) for f in orders.fills(tx, dear.trade_id)]
        )

        assert dear.status == "executed"
        assert fees == [{"binance": (D("0.0005"), "BTC"), "bitstamp": (D(25), "USD")}[exchange]]
        assert ample is None
        assert await held(w) == 0


@each_exchange
async def test_f40_a_stream_that_is_silent_while_it_lives_loses_no_fill(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w, w.listening():
        lossy = await w.do(quantity="0.02", limit_price="49996")
        w.side.drop_events(1)
        w.side.stranger("sell", "49996", "0.005")
        w.side.stranger("sell", "49996", "0.015")
        await w.comes_to(lossy, "executed")
        made = await w.do(quantity="0.02", limit_price="49995")
        w.side.silence(True)
        w.side.stranger("sell", "49995", "0.005")
        await w.advance(1)
        unseen = (await w.order(made)).state
        await w.advance(30)
        seen = (await w.order(made)).state
        w.side.stranger("sell", "49995", "0.015")
        await w.advance(31, 1)

        assert (unseen, seen) == ("open", "partially_filled")
        assert (await w.look(made)).status == "executed"
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f40_a_stream_that_begins_while_no_look_up_is_answered_lives_and_loses_no_fill(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do(quantity="0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        number = (await w.account()).number
        w.side.look_ups("limited")
        async with w.listening():
            await until(lambda: number not in w.desk.polled)
            w.side.look_ups(None)
            await w.advance(70, 1)
            caught_up, before = (await w.order(made)).filled_quantity, w.side.subscribed()
            w.side.stranger("sell", "49995", "0.015")
            await w.comes_to(made, "executed")

        assert caught_up == D("0.005")
        assert w.side.subscribed() == before
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f40_a_stream_that_breaks_or_moves_to_another_connection_loses_no_fill(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do(quantity="0.06", limit_price="49995")

        def fill_some() -> None:
            w.side.stranger("sell", "49995", "0.01")

        async with w.listening():
            await until(w.side.subscribed)
            fill_some()
            await w.comes_to(made, "working", filled="0.01")
            # The exchange asks: nothing is missed while two connections overlap.
            before = w.side.subscribed()
            w.side.ask_reconnect()
            fill_some()
            await w.comes_to(made, "working", filled="0.02")
            await until(lambda: w.side.subscribed() > before)
            fill_some()
            await w.comes_to(made, "working", filled="0.03")
            # It breaks, and something happens before the next one listens.
            await w.side.break_stream()
        fill_some()
        async with w.listening():
            await w.comes_to(made, "working", filled="0.04")
            fill_some()
            await w.comes_to(made, "working", filled="0.05")
            # The longest life of a connection is over.
            w.stack.clock.advance(w.side.connection_lasts.total_seconds())
            before = w.side.subscribed()
            fill_some()
            await w.comes_to(made, "executed")
            await until(lambda: w.side.subscribed() > before)

        assert await fills(w, made) == [D("0.01")] * 6
        await w.agrees()
        assert await w.stopped() is None
