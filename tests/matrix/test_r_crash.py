"""Regressions R26-R30: a crash, a locked database or a restart loses or doubles something."""

from decimal import Decimal

import pytest

from backend.store import orders
from tests.matrix.acts import (
    DROP,
    RESTING,
    booked,
    cancel,
    held,
    lose,
    rest,
    state,
    theirs,
)
from tests.matrix.world import World, each_exchange, world

pytestmark = pytest.mark.anyio
D = Decimal


async def fill_keys(w: World) -> list[tuple[str, str, str]]:
    """Return the identity of every booked fill, and of the money that each moved."""
    rows = await w.desk.database.read(
        lambda tx: tx.rows(
            "SELECT f.trade_id, f.exchange_fill_id, p.amount FROM fills f JOIN postings p"
            " ON p.trade_id = f.trade_id AND p.exchange_fill_id = f.exchange_fill_id"
            " ORDER BY 1, 2, 3"
        )
    )
    return [(row[0], row[1], row[2]) for row in rows]


@each_exchange
async def test_r26_an_order_placed_while_the_database_is_locked_is_not_lost(tmp_path, exchange):
    """freqtrade#7184: the order is placed, the database locked, the trade lost from view."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan()
        database = w.desk.database

        async def lock() -> None:
            database.failure = "the database is locked"

        with w.after_claim(lock):
            told = await w.confirm(made)
        database.failure = None

        assert told.status == "executing"
        assert theirs(w.side, made)[0].filled == D("0.01")
        await w.advance(1)
        assert (await w.look(made)).status == "executed"
        assert w.side.orders_received() == [made.trade_id]
        await w.advance(31, 1)
        await w.agrees()


@each_exchange
async def test_r27_an_order_cancelled_by_us_and_filled_there_is_ours(tmp_path, exchange):
    """freqtrade#3647: cancelled locally, filled at the exchange, the position is unmanaged."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        w.side.next_cancel("lose_request")
        w.side.look_ups("lost")
        await cancel(w, made)
        w.side.touch(*DROP)
        await w.stack.crash()
        await w.advance(6, 31)
        assert await state(w, made) == "open"
        assert await held(w) > 0

        w.side.look_ups(None)
        await w.advance(31, 1)

        done = await w.look(made)
        assert (done.status, done["filled_quantity"]) == ("executed", D("0.01"))
        assert await held(w) == 0
        await w.advance(31, 1)
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("quantity", ["0.01", "0.004"])
async def test_r28_the_fill_of_another_order_is_never_attached(tmp_path, exchange, quantity):
    """freqtrade#13399: recovery takes another trade's fill for the lost order, and crash-loops."""
    async with world(tmp_path / "home", exchange) as w:
        made = await lose(w, "lose_request")
        w.side.by_hand(quantity)
        await w.stack.crash()
        await w.advance(6)
        await w.until_absent()
        await w.advance(31, 1)

        assert await booked(w, made) == []
        assert w.desk.trouble == {}
        assert (await w.look(made))["filled_quantity"] == 0
        assert await w.stopped()  # By the fill, or by the balance that it moved.
        assert w.side.orders_received() == [made.trade_id]


@each_exchange
async def test_r28_a_fill_of_our_older_order_is_not_taken_for_the_lost_ones(tmp_path, exchange):
    """freqtrade#13399: nor is it a riddle: the order it belongs to is in the books."""
    async with world(tmp_path / "home", exchange) as w:
        older = await rest(w)
        await w.advance(31)
        made = await lose(w, "lose_request")
        spacing = w.side.spacing_s
        await w.advance(w.side.absent_after_s, spacing)
        w.side.touch(*DROP)  # Booked only after the lost order was judged, in the same round.
        await w.advance(spacing, spacing, spacing)
        await w.advance(31, 1)

        assert ((await w.look(made))["reason"], await booked(w, made)) == ("absent", [])
        assert (await w.look(older)).status == "executed"
        assert await w.stopped() is None
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_r29_r30_a_restart_books_nothing_again(tmp_path, exchange, how):
    """nautilus_trader#3046, #3878: a restart replays fills, under ids that it made anew."""
    async with world(tmp_path / "home", exchange) as w:
        whole = await w.do(quantity="0.02")
        part = await rest(w, "0.03", limit_price="49995")
        w.side.stranger("sell", "49995", "0.01")
        lost = await lose(w, quantity="0.005")
        await w.advance(31)
        before = await fill_keys(w)

        for _ in range(3):
            await getattr(w.stack, how)()
            async with w.listening():
                await w.advance(6, 31)

        assert len(before) >= 3
        assert await fill_keys(w) == before
        assert [await state(w, one) for one in (whole, part, lost)] == [
            "filled",
            "partially_filled",
            "filled",
        ]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r29_r30_a_crash_before_anything_was_booked_books_it_once(tmp_path, exchange):
    """nautilus_trader#3046, #3878: what a start books must be what the dead would have booked."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan(**RESTING)
        await w.crash_in_flight(made)
        w.side.touch(*DROP)
        async with w.listening():
            await w.advance(6, 31)
        await w.stack.restart()
        await w.advance(31, 31)

        ours = await w.desk.database.read(lambda tx: orders.get(tx, made.trade_id))
        assert (ours.state, len(await booked(w, made))) == ("filled", 1)
        assert w.side.orders_received() == [made.trade_id]
        await w.agrees()
