"""The restore fence: a copy that is older than its send journal trades nothing until it agrees."""

import shutil

import pytest

from backend.database import Database, choose_durability
from backend.journal import Head
from backend.services.fence import raise_fence
from backend.store import audit, controls
from backend.store.migrations import migrations
from backend.store.restored import mark_copy
from backend.testing import stack
from tests.services.spoken import assert_whole, confirm, funds, look, plan, row

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


def write_over(stack, folder):
    """Write the copy into the old file, as `cp` does and a volume's snapshot."""
    for part in folder.iterdir():
        (stack.home / part.name).write_bytes(part.read_bytes())


def lose_journal(stack):
    journal = stack.backend.desk.journal
    journal.close()
    journal.path = journal.path.parent / "nowhere" / "sends.log"


async def post(stack, path, **body):
    answer = await stack.operator.post(f"/api/v1/risk/{path}", json={"reason": "a test", **body})
    return answer.raise_for_status().json()


async def restored(stack, tmp_path, between, put_back=put_back):
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


async def test_a_copy_is_known_for_one_though_nothing_happened_since(exec_mcp, tmp_path):
    async def nothing():
        await exec_mcp.trade("trd-" + "a" * 20)

    await restored(exec_mcp, tmp_path, nothing)

    stopped = await quarantine(exec_mcp)
    assert "another file than before" in stopped
    assert "exec-mcp resume --quarantine" in stopped


async def test_a_copy_of_the_whole_home_is_known_for_one(tmp_path):
    home, copy = tmp_path / "home", tmp_path / "copy"
    async with stack(home) as before:
        await before.stop()
        shutil.copytree(home, copy)
        await before.start()
        await confirm(before, await plan(before))
    home.rename(tmp_path / "broken")
    copy.rename(home)

    async with stack(home) as after:
        assert "another file than before" in await quarantine(after)
        assert (await plan(after)).code == "quarantined"


async def test_a_home_that_is_moved_on_its_volume_trades_on(tmp_path):
    async with stack(tmp_path / "home") as before:
        await confirm(before, await plan(before))
    (tmp_path / "home").rename(tmp_path / "moved")

    async with stack(tmp_path / "moved") as after:
        assert await quarantine(after) is None
        assert (await plan(after)).http == 201


async def test_a_copy_over_the_old_file_is_told_by_what_the_stopped_server_left(exec_mcp, tmp_path):
    async def let_expire():
        await exec_mcp.advance(61)

    waiting = await plan(exec_mcp)
    await restored(exec_mcp, tmp_path, let_expire, put_back=write_over)

    assert "a copy was restored" in await quarantine(exec_mcp)
    assert (await look(exec_mcp, waiting)).status in ("cancelled", "expired")


async def test_a_kill_switch_engaged_after_the_copy_is_engaged_again(exec_mcp, tmp_path):
    async def engage_two_and_release_one():
        for symbol in ("AAPL", "SPY"):
            await post(exec_mcp, "kill-switch", scope="symbol", symbol=symbol)
        await post(exec_mcp, "kill-switch/release", scope="symbol", symbol="SPY")

    await restored(exec_mcp, tmp_path, engage_two_and_release_one, put_back=write_over)
    await post(exec_mcp, "quarantine/lift")

    assert (await plan(exec_mcp)).code == "kill_switch"
    assert (await plan(exec_mcp, symbol="SPY")).http == 201


async def test_a_kill_switch_released_after_the_copy_stays_engaged(exec_mcp, tmp_path):
    async def release():
        await post(exec_mcp, "kill-switch/release", scope="global")

    await post(exec_mcp, "kill-switch", scope="global")
    await restored(exec_mcp, tmp_path, release, put_back=write_over)
    await post(exec_mcp, "quarantine/lift")

    assert (await plan(exec_mcp)).code == "kill_switch"


async def test_a_kill_switch_is_engaged_though_the_journal_cannot_be_written(exec_mcp):
    lose_journal(exec_mcp)

    told = await post(exec_mcp, "kill-switch", scope="global")

    assert told["engaged"] is True
    assert (await plan(exec_mcp)).code == "kill_switch"


async def test_a_lost_journal_quarantines_and_one_that_was_moved_does_not(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "volume" / "sends.log"
    async with stack(home) as before:
        await confirm(before, await plan(before))
    elsewhere.parent.mkdir()
    (home / "sends.log").rename(elsewhere)

    async with stack(home, journal=elsewhere) as moved:
        assert await quarantine(moved) is None
    elsewhere.unlink()
    async with stack(home, journal=elsewhere) as lost:
        assert "the send journal is another file" in await quarantine(lost)
        await post(lost, "quarantine/lift")
        await lost.restart()
        assert await quarantine(lost) is None


async def test_nothing_leaves_a_server_whose_database_was_replaced_under_it(exec_mcp):
    made = await plan(exec_mcp)
    path = exec_mcp.backend.desk.database.path
    path.rename(path.with_suffix(".old"))
    shutil.copy(path.with_suffix(".old"), path)

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "storage")
    assert "restart it" in refused["detail"]
    assert exec_mcp.faults.attempts == []


async def test_a_journal_that_is_deleted_under_a_server_begins_anew(exec_mcp):
    first, second = await plan(exec_mcp), await plan(exec_mcp)
    await confirm(exec_mcp, first)
    journal = exec_mcp.backend.desk.journal
    journal.path.unlink()

    await confirm(exec_mcp, second)

    assert [line.trade_id for line in journal.all()] == [second.trade_id]


async def test_an_order_whose_plan_ended_in_these_books_stops_its_account(exec_mcp, tmp_path):
    waiting = await plan(exec_mcp, quantity=1)
    journal = exec_mcp.backend.desk.journal.path

    async def trade():
        await confirm(exec_mcp, waiting)
        journal.rename(tmp_path / "kept.log")  # It is found again after the first start.

    await restored(exec_mcp, tmp_path, trade)
    await exec_mcp.stop()
    (tmp_path / "kept.log").rename(journal)
    await exec_mcp.start()

    status = await exec_mcp.call("risk_status")
    assert waiting.trade_id in status["stopped"]
    assert (await look(exec_mcp, waiting)).status == "cancelled"


async def test_what_was_bought_and_sold_since_the_copy_leaves_no_account_short(exec_mcp, tmp_path):
    async def buy_and_sell():
        await confirm(exec_mcp, await plan(exec_mcp, quantity=3))
        for quantity in (1, 2):
            await confirm(exec_mcp, await plan(exec_mcp, side="sell", quantity=quantity))

    await restored(exec_mcp, tmp_path, buy_and_sell)
    await exec_mcp.advance(3)
    await exec_mcp.advance(3)

    assert (await funds(exec_mcp))["AAPL"] == ("0", "0")
    assert (await exec_mcp.call("risk_status"))["stopped"] is None
    await assert_whole(exec_mcp)


async def test_orders_written_again_count_towards_their_days_limit(exec_mcp, tmp_path):
    before = await plan(exec_mcp, quantity=1)

    async def trade():
        await confirm(exec_mcp, before)
        await confirm(exec_mcp, await plan(exec_mcp, quantity=2))

    await restored(exec_mcp, tmp_path, trade)

    counted = await row(exec_mcp, "SELECT notional FROM daily_notionals")
    claimed = await row(exec_mcp, "SELECT COUNT(claimed_at) AS times FROM trades")
    assert counted == {"notional": "646.2"}
    assert claimed == {"times": 2}


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
    lose_journal(exec_mcp)

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "storage")
    assert (await look(exec_mcp, made)).status == "pending"
    assert exec_mcp.faults.attempts == []


async def test_what_was_claimed_stands_in_the_journal_and_what_was_refused_does_not(exec_mcp):
    done, never = await plan(exec_mcp), await plan(exec_mcp, quantity=3)
    await confirm(exec_mcp, done)
    await exec_mcp.advance(61)
    await confirm(exec_mcp, never)

    head, *lines = exec_mcp.backend.desk.journal.all()

    assert isinstance(head, Head)
    assert [line.trade_id for line in lines] == [done.trade_id]
    assert lines[0].holds == {"USD": "2154"}


async def test_a_copy_that_went_on_by_itself_is_told_by_what_its_audit_says(exec_mcp, tmp_path):
    async def trade():
        made = await plan(exec_mcp, quantity=2)
        await confirm(exec_mcp, made)
        return made

    async def go_on():
        path = exec_mcp.home / "exec-mcp.db"
        copy = Database(path, exec_mcp.clock, migrations, choose_durability())
        await copy.write(lambda tx: [audit.append(tx, "x.other", "system") for _ in range(20)])
        copy.close()

    await exec_mcp.stop()
    keep(exec_mcp, tmp_path / "kept")
    await exec_mcp.start()
    after = await trade()
    await exec_mcp.stop()
    put_back(exec_mcp, tmp_path / "kept")
    await go_on()
    await exec_mcp.start()

    assert "copy was restored" in str(await quarantine(exec_mcp))
    assert (await look(exec_mcp, after))["order"]["state"] in ("sending", "unknown")


async def test_an_order_that_is_written_again_keeps_its_validity(exec_mcp, tmp_path):
    times = "SELECT sign_time, valid_until FROM orders"

    async def lose():
        made = await plan(exec_mcp, quantity=2)
        exec_mcp.faults.lose_request()
        await confirm(exec_mcp, made)
        return await row(exec_mcp, times)

    before = await restored(exec_mcp, tmp_path, lose)

    assert await row(exec_mcp, times) == before


async def test_a_backup_is_known_by_its_mark_alone(exec_mcp):
    await exec_mcp.backend.desk.database.write(lambda tx: mark_copy(tx, "yesterday"))

    await exec_mcp.crash()

    assert "copy was restored" in str(await quarantine(exec_mcp))
