"""The send journal's or the paper exchange's disk fails: nothing is sent twice, lost or guessed."""

import asyncio
import json

import pytest

from backend.cli import run
from tests.processes.started import at_the_exchange
from tests.services.spoken import assert_whole, confirm, funds, look, plan
from tests.storage import vfs
from tests.storage.ailing import BOOK, JOURNAL, MAIN, Ailing, ailing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(vfs.missing()), reason=f"{vfs.missing()}: SQLite cannot be watched"),
]


async def assert_nothing_left(server: Ailing, trade, why: str) -> None:
    """The order never left: its trade has failed, and its hold is free."""
    now = await look(server.stack, trade)
    assert (now.status, now["reason"]) == ("failed", why)
    assert (await funds(server.stack))["USD"][1] == "0"
    await assert_whole(server.stack)


# --- the send journal ---


async def test_a_journal_without_room_sends_nothing_and_goes_on_when_there_is_room(room):
    async with ailing(room) as server:
        made = await plan(server.stack)
        server.disk.fail("write", JOURNAL, vfs.FULL)

        told = await confirm(server.stack, made)

        assert (told.http, told.status, told["reason"]) == (503, "failed", "not_sent")
        assert server.sent == []
        await assert_nothing_left(server, made, "not_sent")
        await server.trades_on()


async def test_a_journal_whose_sync_fails_sends_nothing_until_a_restart(room):
    async with ailing(room) as server:
        made, waiting = await plan(server.stack), await plan(server.stack, quantity=2)
        server.disk.fail("sync", JOURNAL, vfs.IOERR_FSYNC, lose=True)

        told = await confirm(server.stack, made)
        words = await server.refuses_risk(waiting)
        ill = await server.health()
        await server.reads_go_on(waiting)
        await server.restart()

        assert (told.http, told["reason"]) == (503, "not_sent")
        assert words == (
            "the send journal cannot be written (Input/output error): restart the server;"
            " nothing happened"
        )
        assert (ill["http"], ill["status"]) == (503, "degraded")
        assert ill["storage"] in words
        assert (await confirm(server.stack, waiting)).status == "executed"
        await assert_nothing_left(server, made, "not_sent")
        await server.trades_on()


@pytest.mark.parametrize("code", [vfs.READONLY, vfs.CANTOPEN])
async def test_a_journal_that_cannot_be_opened_refuses_before_the_claim(room, code):
    async with ailing(room) as server:
        made = await plan(server.stack)
        server.stack.backend.desk.journal.close()
        server.disk.fail("open", JOURNAL, code, times=None)

        refused = await confirm(server.stack, made)
        server.heal()

        assert (refused.http, refused.code) == (400, "storage")
        assert "the send journal cannot be written" in refused["detail"]
        assert server.sent == []
        assert (await confirm(server.stack, made)).status == "executed"
        await server.trades_on()


async def test_a_journal_that_a_full_disk_cut_is_whole_again_with_the_next_line(room):
    async with ailing(room) as server:
        first = await server.trades_on()
        with (server.stack.home / "sends.log").open("ab") as file:
            file.write(b"0123abcd {")  # What there was room for.
        second = await server.trades_on()
        await server.stack.restart()

        lines = [getattr(one, "trade_id", None) for one in server.stack.backend.desk.journal.all()]
        assert [one for one in lines if one] == [first.trade_id, second.trade_id]
        await server.trades_on()


# --- the paper exchange's own database ---


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
async def test_an_order_that_the_exchange_has_no_room_for_never_left(room, mode):
    async with ailing(room, mode) as server:
        made = await plan(server.stack)
        server.disk.fail("write", BOOK, vfs.FULL, times=None)

        told = await confirm(server.stack, made)
        server.heal()

        assert (told.http, told.status) == (503, "failed")
        assert at_the_exchange(server.stack.home) == []
        await assert_nothing_left(server, made, "not_sent")
        await server.trades_on()


FAILURES = [
    ("WAL", "sync", vfs.IOERR_FSYNC),
    ("WAL", "write", vfs.IOERR_WRITE),
    ("DELETE", "sync", vfs.IOERR_FSYNC),
    ("DELETE", "delete", vfs.IOERR_DELETE),
]


@pytest.mark.parametrize(("mode", "operation", "code"), FAILURES)
async def test_an_order_whose_commit_fails_at_the_exchange_is_unknown_until_a_restart_tells(
    room, mode, operation, code
):
    async with ailing(room, mode) as server:
        for skip in range(3):
            made = await plan(server.stack, quantity=1)
            fault = server.disk.fail(operation, BOOK, code, skip=skip, lose=operation == "sync")
            told = await confirm(server.stack, made)
            if fault.skip or fault.times:
                break
            # Not even its own reading is evidence now.
            await server.stack.advance(3)
            unknown = (await look(server.stack, made)).status
            await server.killed()
            for _ in range(2):
                await server.stack.advance(3)

            assert told.http in (202, 422, 503)
            assert unknown in ("executing", "failed")
            now = await look(server.stack, made)
            there = {one[0] for one in at_the_exchange(server.stack.home)}
            assert now.status == ("executed" if made.trade_id in there else "failed")
            await server.trades_on()


# --- what doctor says ---


async def test_doctor_and_the_server_that_runs_tell_what_ails_the_disk(room, monkeypatch, capsys):
    async with ailing(room) as server:
        await server.trades_on()
        await server.stack.stop()
        monkeypatch.setenv("EXEC_MCP_HOME", str(server.stack.home))
        server.disk.free = 1024
        told = await doctor(capsys)
        server.heal()
        well = await doctor(capsys)
        server.disk.fail("open", MAIN, vfs.CANTOPEN, times=None)
        closed = await doctor(capsys)

        server.heal()
        await server.stack.start()

    assert told["disk"][0] == "wrong"
    assert "nearly full" in told["disk"][1]
    assert well["disk"] == ("ok", "at least 64 MiB are free for each file")
    assert closed["start"][0] == "wrong"
    assert "see whether the disk and the folder can be written" in closed["start"][1]


async def doctor(capsys) -> dict[str, tuple[str, str]]:
    """Run the command and return (status, found) by what it looked at."""
    await asyncio.to_thread(run, ["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return {one["what"]: (one["status"], one["found"]) for one in findings}
