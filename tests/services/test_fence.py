"""The restore fence: a copy that is older than its send journal trades nothing until it agrees."""

import shutil

import pytest

from backend.services.fence import raise_fence
from backend.store import controls
from tests.services.spoken import assert_whole, confirm, funds, look, plan

pytestmark = pytest.mark.anyio


def keep(stack, folder):
    """Copy the main database of a stopped server."""
    folder.mkdir()
    for part in stack.home.glob("exec-mcp.db*"):
        shutil.copy(part, folder / part.name)


def put_back(stack, folder):
    for part in stack.home.glob("exec-mcp.db*"):
        part.unlink()
    for part in folder.iterdir():
        shutil.copy(part, stack.home / part.name)


async def restored(stack, tmp_path, between):
    """Stop, keep a copy, go on with `between`, and start again on the copy."""
    await stack.stop()
    keep(stack, tmp_path / "kept")
    await stack.start()
    made = await between()
    await stack.stop()
    put_back(stack, tmp_path / "kept")
    await stack.start()
    return made


async def quarantine(stack):
    return await stack.backend.desk.database.read(controls.quarantine)


async def test_a_restart_on_the_same_database_is_no_restore(exec_mcp):
    await confirm(exec_mcp, await plan(exec_mcp))
    await exec_mcp.restart()
    await exec_mcp.crash()

    assert await quarantine(exec_mcp) is None
    assert (await plan(exec_mcp)).http == 201


async def test_an_order_sent_after_the_copy_is_written_again_found_and_booked_once(
    exec_mcp, tmp_path
):
    before = await plan(exec_mcp, quantity=1)

    async def trade():
        after = await plan(exec_mcp, quantity=2)
        await confirm(exec_mcp, before)
        await confirm(exec_mcp, after)
        return after

    after = await restored(exec_mcp, tmp_path, trade)
    held = await funds(exec_mcp)
    stopped = await quarantine(exec_mcp)
    await exec_mcp.advance(3)
    await exec_mcp.advance(3)

    assert stopped is not None
    assert "restored" in stopped
    assert held["USD"][1] != "0"
    for made, quantity in ((before, 1), (after, 2)):
        found = await look(exec_mcp, made)
        assert (found.status, found["filled_quantity"]) == ("executed", quantity)
    assert (await funds(exec_mcp))["AAPL"][0] == "3"
    assert (await plan(exec_mcp)).code == "quarantined"
    await assert_whole(exec_mcp)


async def test_an_order_that_never_arrived_is_proven_absent_after_the_restore(exec_mcp, tmp_path):
    async def lose():
        made = await plan(exec_mcp, quantity=2)
        exec_mcp.faults.lose_request()
        await confirm(exec_mcp, made)
        return made

    made = await restored(exec_mcp, tmp_path, lose)
    for _ in range(3):
        await exec_mcp.advance(3)

    found = await look(exec_mcp, made)
    assert (found.status, found["reason"]) == ("failed", "absent")
    assert (await funds(exec_mcp))["USD"][1] == "0"
    await assert_whole(exec_mcp)


async def test_plans_of_a_restored_copy_are_void(exec_mcp, tmp_path):
    waiting = await plan(exec_mcp, quantity=1)

    async def trade():
        await confirm(exec_mcp, await plan(exec_mcp, quantity=2))

    await restored(exec_mcp, tmp_path, trade)

    found = await look(exec_mcp, waiting)
    assert (found.status, found["reason"]) == ("cancelled", "quarantine")
    refused = await confirm(exec_mcp, waiting)
    assert refused.code == "trade_not_pending"


async def test_a_copy_without_later_orders_trades_on(exec_mcp, tmp_path):
    async def nothing():
        await plan(exec_mcp)

    await restored(exec_mcp, tmp_path, nothing)

    assert await quarantine(exec_mcp) is None


async def test_what_the_fence_dealt_with_is_not_dealt_with_again(exec_mcp, tmp_path):
    async def trade():
        await confirm(exec_mcp, await plan(exec_mcp, quantity=2))

    await restored(exec_mcp, tmp_path, trade)
    before = await funds(exec_mcp)

    assert not await raise_fence(exec_mcp.backend.desk)
    await exec_mcp.restart()
    assert await funds(exec_mcp) == before
    await exec_mcp.advance(3)
    assert (await funds(exec_mcp))["AAPL"][0] == "2"
    await assert_whole(exec_mcp)


async def test_a_journal_that_cannot_be_written_stops_orders_before_the_claim(exec_mcp):
    made = await plan(exec_mcp)
    journal = exec_mcp.backend.desk.journal
    journal.close()
    journal.path = journal.path.parent / "nowhere" / "sends.log"

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "storage")
    assert (await look(exec_mcp, made)).status == "pending"
    assert exec_mcp.faults.attempts == []


async def test_what_was_claimed_stands_in_the_journal_and_what_was_refused_does_not(exec_mcp):
    done, never = await plan(exec_mcp), await plan(exec_mcp, quantity=3)
    await confirm(exec_mcp, done)
    await exec_mcp.advance(61)
    await confirm(exec_mcp, never)

    lines = exec_mcp.backend.desk.journal.all()

    assert [line.trade_id for line in lines] == [done.trade_id]
    assert lines[0].holds == {"USD": "2154"}
