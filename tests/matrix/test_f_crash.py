"""F01-F04, F15 (paper), F17-F19, F22, F28, F38, F39: dying, racing and waiting around a confirm."""

import asyncio

import pytest

from backend.database import sqlite3
from backend.services.reconcile import reconcile_all
from backend.testing import stack
from tests.matrix.world import World, each_exchange, world
from tests.services.spoken import funds, until

pytestmark = pytest.mark.anyio


def known(w: World) -> list[str]:
    """Return the ids of our orders in the exchange's own books."""
    ids = [order.client_order_id or "" for order in w.side.theirs()]
    return [one for one in ids if one.startswith("trd-")]


async def held(w: World) -> set[str]:
    """Return what is reserved in each currency."""
    return {reserved for _, reserved in (await w.funds()).values()}


@each_exchange
async def test_f01_crash_before_the_claim_leaves_a_plan_that_can_be_confirmed(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan()
        asked = asyncio.create_task(w.confirm(made))
        await until(lambda: w.desk.tasks.running)
        await w.stack.crash()
        lost = await asked
        found = await w.look(made)
        left = w.side.orders_received()

        done = await w.confirm(made)

        assert (lost.status, found.status, left) == ("unknown", "pending", [])
        assert done.status == "executed"
        assert w.side.orders_received() == [made.trade_id]
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f02_crash_between_claim_and_submit_is_never_sent_and_proven_absent(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan()
        await w.crash_at_claim(made)
        again = await w.confirm(made)
        early = (await w.order(made)).state
        await w.advance(6)
        before = await held(w)
        await w.until_absent()
        found = await w.look(made)

        assert (again.code, again.status) == ("trade_not_pending", "executing")
        assert early == "sending"
        assert before != {"0"}
        assert (found.status, found["reason"]) == ("failed", "absent")
        assert w.side.orders_received() == []
        assert await held(w) == {"0"}
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f03_crash_with_a_request_on_the_wire_that_was_not_taken_is_absent_later(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        w.side.next_submit("lose_request")
        made = await w.plan()
        await w.crash_in_flight(made)
        await w.advance(6)
        early, before = await w.look(made), await held(w)
        await w.until_absent()
        found = await w.look(made)

        assert (early.status, before != {"0"}) == ("executing", True)
        assert (found.status, found["reason"]) == ("failed", "absent")
        assert w.side.orders_received() == [made.trade_id]
        assert known(w) == []
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f04_crash_after_submit_before_recording(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        filled = await w.plan()
        lost = await w.crash_in_flight(filled)
        resting = await w.plan(limit_price="49000")
        await w.crash_in_flight(resting)
        states = [(await w.order(one)).state for one in (filled, resting)]
        await w.advance(6, 1)
        found = [await w.look(one) for one in (filled, resting)]
        again = await w.confirm(filled)

        assert lost.status == "unknown"
        assert states == ["sending", "sending"]
        assert [one.status for one in found] == ["executed", "working"]
        assert again["trade"]["executed_price"] == 50000
        assert known(w) == [filled.trade_id, resting.trade_id]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f17_a_confirm_at_the_expiry_instant_is_too_late_and_sends_nothing(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        in_time, too_late = await w.plan(), await w.plan()
        w.stack.clock.advance(59.999999)
        done = await w.confirm(in_time)
        w.stack.clock.advance(0.000001)
        refused = await w.confirm(too_late)

        assert done.status == "executed"
        assert (refused.code, refused.status) == ("trade_not_pending", "expired")
        assert w.side.orders_received() == [in_time.trade_id]
        await w.agrees()


@each_exchange
async def test_f18_f19_confirm_racing_cancel_or_sweeper_has_one_winner(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        raced, due = [await w.plan() for _ in range(4)], await w.plan()
        raced_late = await w.plan()
        answers = [
            await asyncio.gather(*(w.confirm(one), w.stack.cancel(one))[:: 1 - 2 * (number % 2)])
            for number, one in enumerate(raced)
        ]

        async def cancel() -> None:
            answers.append([await w.stack.cancel(raced_late)])

        with w.after_claim(cancel):
            won_late = await w.confirm(raced_late)
        w.stack.clock.advance(60)
        late, _ = await asyncio.gather(w.confirm(due), w.stack.backend.keeper.tick())

        found = [await w.look(one) for one in raced]
        assert {one.status for one in found} <= {"executed", "cancelled"}
        assert [sum(not one.refused for one in pair) for pair in answers] == [1, 1, 1, 1, 0]
        assert (answers[-1][0].status, answers[-1][0]["next"]) == ("executing", "cancel_order")
        assert (won_late.status, late.status) == ("executed", "expired")
        won = [one.trade_id for one in found if one.status == "executed"]
        assert w.side.orders_received() == [*won, raced_late.trade_id]
        await w.agrees()


@each_exchange
async def test_f22_a_busy_database_after_the_submit_waits_and_loses_nothing(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan()
        other = sqlite3.connect(w.desk.database.path, isolation_level=None)

        async def lock() -> None:
            other.execute("BEGIN IMMEDIATE")

        with w.after_claim(lock):
            asked = asyncio.create_task(w.confirm(made))
            await until(lambda: known(w))
            meanwhile = (await w.order(made)).state
            other.execute("ROLLBACK")
            other.close()
            done = await asked

        assert (meanwhile, done.status) == ("sending", "executed")
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f20_f28_two_servers_claim_and_reconcile_the_same_orders_once(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        second = await w.stack.second_server()
        raced = await w.plan()
        answers = await asyncio.gather(w.confirm(raced), second.confirm(raced))
        w.side.next_submit("lose_answer")
        there = await w.do()
        w.side.next_submit("lose_request")
        gone = await w.do()

        spacing = w.side.spacing_s
        for seconds in (1, w.side.absent_after_s, spacing, spacing, spacing):
            w.stack.clock.advance(seconds)
            desks = (w.desk, second.backend.desk)
            await asyncio.gather(*(reconcile_all(desk) for desk in desks))

        assert sorted(one.refused for one in answers) == [False, True]
        statuses = [(await w.look(one)).status for one in (raced, there, gone)]
        assert statuses == ["executed", "executed", "failed"]
        assert sorted(w.side.orders_received()) == sorted(
            one.trade_id for one in (raced, there, gone)
        )
        assert len(await w.events("order.absent")) == 1
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f38_a_client_that_leaves_while_confirming_stops_nothing(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan()
        asked = asyncio.create_task(w.confirm(made))
        await until(lambda: w.side.orders_received())
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await w.comes_to(made, "executed")
        again = await w.confirm(made)

        assert (again.code, again.status) == ("trade_not_pending", "executed")
        assert again["trade"]["executed_price"] == 50000
        assert w.side.orders_received() == [made.trade_id]
        await w.agrees()


@each_exchange
async def test_f39_an_order_that_was_held_up_after_its_claim_is_not_sent(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:

        async def suspend() -> None:
            w.stack.clock.advance(1.000001)

        made = await w.plan()
        with w.after_claim(suspend):
            told = await w.confirm(made)

        assert (told.status, told["reason"]) == ("failed", "not_sent")
        assert w.side.orders_received() == []
        assert await held(w) == {"0"}
        await w.agrees()


async def test_f15_a_paper_book_restored_from_an_older_copy_stops_the_account(tmp_path):
    async with stack(tmp_path / "home") as opened:
        book = opened.home / "paper.db"
        await opened.stop()
        older = {file: file.read_bytes() for file in book.parent.glob("paper.db*")}
        await opened.start()
        filled = await opened.plan("AAPL", "buy", 1)
        await opened.confirm(filled)
        resting = await opened.plan("AAPL", "buy", 1, order_type="limit", limit_price="200")
        await opened.confirm(resting)
        await opened.stop()
        for file in book.parent.glob("paper.db*"):
            file.unlink()
        for file, content in older.items():
            file.write_bytes(content)
        await opened.start()
        for seconds in (6, 31, 31):
            await opened.advance(seconds)
        status = await opened.call("risk_status", account_id="paper:main")
        found = [await opened.trade(one) for one in (filled, resting)]
        refused = await opened.plan("AAPL", "buy", 1)

        assert status["stopped"] is not None
        assert [one.status for one in found] == ["executed", "working"]
        assert "was it reset?" in found[1]["incident"]
        assert refused.refused
        assert (await funds(opened))["USD"] == ("99784.6", "200")
