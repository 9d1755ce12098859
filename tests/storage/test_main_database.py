"""The main database's disk is full, fails or is damaged: risk stops, and nothing is lost."""

from random import Random

import pytest

from backend.store import controls
from tests.services.spoken import assert_whole, cancel, confirm, look, plan
from tests.storage import vfs
from tests.storage.ailing import MAIN, Ailing, ailing
from tests.storage.images import judge
from tests.storage.trading import Image, Told, Variant

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(vfs.missing()), reason=f"{vfs.missing()}: SQLite cannot be watched"),
]
# Of the many writes every one of a few is refused here; a stride of 1 was played and holds too.
STRIDE = {"write": 6, "sync": 1, "delete": 1}
both_modes = pytest.mark.parametrize("mode", ["WAL", "DELETE"])


@both_modes
async def test_when_there_is_no_room_at_any_write_of_a_confirm_it_recovers_by_itself(room, mode):
    async with ailing(room, mode) as server:
        seen, skip = set(), 0
        while True:
            made = await plan(server.stack, quantity=1)
            before = len(server.sent)
            fault = server.disk.fail("write", MAIN, vfs.FULL, skip=skip, times=None)
            told = await confirm(server.stack, made)
            reached = not fault.skip
            server.heal()

            assert server.stack.backend.desk.database.failure is None
            if told.code == "storage":
                assert len(server.sent) == before
                assert (await look(server.stack, made)).status == "pending"
                assert "free some space, no restart is needed" in told["detail"]
                assert (await confirm(server.stack, made)).status == "executed"
            else:
                await server.stack.advance(1)
                assert (await look(server.stack, made)).status == "executed"
            assert len(server.sent) == before + 1
            seen.add((told.http, told.status))
            if not reached:
                break
            skip += STRIDE["write"] // 2
        await assert_whole(server.stack)

    assert seen == {(400, None), (202, "executing"), (200, "executed")}


async def test_a_disk_that_is_nearly_full_takes_no_new_risk_until_there_is_room(room):
    async with ailing(room) as server:
        waiting, other = await plan(server.stack), await plan(server.stack, quantity=1)
        server.disk.free = 63 * 1024 * 1024

        words = await server.refuses_risk(waiting)
        await server.reads_go_on(waiting)
        ill = await server.health()
        cancelled = await cancel(server.stack, other)
        server.disk.free = 64 * 1024 * 1024

        assert words == (
            "the disk is nearly full: 63 MiB are free below home, and new plans and confirms want"
            " 64 MiB; free some space, no restart is needed; nothing happened"
        )
        assert (ill["http"], ill["status"]) == (503, "degraded")
        assert ill["storage"] in words
        assert cancelled.status == "cancelled"
        assert (await server.health())["status"] == "ok"
        assert (await confirm(server.stack, waiting)).status == "executed"
        await server.trades_on()


FAILURES = [
    ("WAL", "write", vfs.IOERR_WRITE, False),
    ("WAL", "sync", vfs.IOERR_FSYNC, False),
    ("WAL", "sync", vfs.IOERR_FSYNC, True),
    ("DELETE", "write", vfs.IOERR_WRITE, False),
    ("DELETE", "sync", vfs.IOERR_FSYNC, True),
    ("DELETE", "delete", vfs.IOERR_DELETE, False),
]


@pytest.mark.parametrize(("mode", "operation", "code", "lose"), FAILURES)
async def test_a_claim_whose_commit_fails_sends_nothing_and_risk_waits_for_a_restart(
    room, mode, operation, code, lose
):
    async with ailing(room, mode) as server:
        skip = refused = stopped = 0
        while True:
            made, other = [await plan(server.stack, quantity=n) for n in (1, 2)]
            before = len(server.sent)
            fault = server.disk.fail(operation, MAIN, code, skip=skip, lose=lose)
            told = await confirm(server.stack, made)
            if fault.skip or fault.times:
                break
            if told.code == "storage":
                refused += 1
                assert len(server.sent) == before
            if server.stack.backend.desk.database.failure:
                stopped += 1
                if stopped == 1:
                    await _stands_still(server, other)
            await server.killed()
            for _ in range(2):
                await server.stack.advance(3)
            now = await look(server.stack, made)
            arrived = len(server.sent) > before
            assert now.status in (("executed",) if arrived else ("pending", "failed"))
            await assert_whole(server.stack)
            skip += STRIDE[operation]
        assert refused
        assert stopped


async def _stands_still(server: Ailing, made) -> None:
    words = await server.refuses_risk(made)
    await server.reads_go_on(made)
    ill = await server.health()
    assert words.startswith("the database has failed: ")
    assert "restart the server: it goes on from what is on the disk" in words
    assert (ill["http"], ill["status"]) == (503, "failed")
    assert ill["storage"] in words


async def test_what_a_failed_sync_left_in_memory_is_written_before_more_is_built_on_it(room):
    async with ailing(room) as server:
        lost = await plan(server.stack, quantity=1)
        server.disk.fail("sync", "exec-mcp.db-wal", vfs.IOERR_FSYNC, lose=True)
        assert (await confirm(server.stack, lost)).code == "storage"
        await server.killed()
        await server.stack.advance(3)
        done = await server.trades_on()

        left = Image(
            "after a failed sync",
            Variant("WAL"),
            server.disk.loss(Random(1), "paper.db*"),
            server.stack.clock(),
            (Told(done.trade_id, "executed", None), Told(lost.trade_id, "failed", None)),
            frozenset(server.sent),
        )
        keys = server.stack.home
        wrong = await judge(left, keys, room / "image")

    assert wrong == []


# --- a damaged page ---


def spoil(server: Ailing, page: int) -> None:
    """Write over one page of the database, behind the server's back."""
    with (server.stack.home / "exec-mcp.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x5a" * 4096)


async def root_of(server: Ailing, table: str) -> int:
    return int(
        await server.stack.backend.desk.database.read(
            lambda tx: tx.value("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,))
        )
    )


async def test_a_page_found_damaged_at_start_stops_risk_and_looking_goes_on(room):
    async with ailing(room) as server:
        waiting, page = await plan(server.stack), await root_of(server, "snapshots")
        await server.stack.stop()
        spoil(server, page)
        await server.stack.start()

        words = await server.refuses_risk(waiting)
        ill = await server.health()

        assert words.startswith("the database has failed: exec-mcp.db: ")
        assert "put a backup in its place" in words
        assert (ill["status"], ill["storage"]) == (
            "failed",
            words.removesuffix("; nothing happened"),
        )
        await server.reads_go_on(waiting)


async def test_a_page_found_damaged_under_way_stops_risk(room):
    async with ailing(room) as server:
        waiting, page = await plan(server.stack), await root_of(server, "snapshots")
        await server.stack.restart()
        desk = server.stack.backend.desk
        spoil(server, page)
        await desk.database.check_apart()

        assert "put a backup in its place" in await server.refuses_risk(waiting)
        assert (await server.health())["status"] == "failed"


async def test_a_statement_that_meets_a_damaged_page_stops_risk(room):
    async with ailing(room) as server:
        waiting, page = await plan(server.stack), await root_of(server, "holds")
        await server.stack.restart()
        spoil(server, page)

        refused = await confirm(server.stack, waiting)

        assert refused.code == "storage"
        assert server.sent == []
        assert "put a backup in its place" in await server.refuses_risk(waiting)
        assert (await server.health())["status"] == "failed"


async def test_a_file_whose_head_is_gone_does_not_start_and_says_what_to_do(room):
    async with ailing(room) as server:
        await server.stack.stop()
        spoil(server, 1)

        with pytest.raises(RuntimeError, match=r"exec-mcp\.db cannot be opened .* put a backup"):
            await server.stack.start()


# --- no rights, no reading ---


@pytest.mark.parametrize("code", [vfs.CANTOPEN, vfs.READONLY])
async def test_a_file_that_cannot_be_written_does_not_start_and_says_why(room, code):
    async with ailing(room) as server:
        await server.stack.stop()
        server.disk.fail("open", MAIN, code, times=None)
        server.disk.fail("write", MAIN, code, times=None)

        with pytest.raises(RuntimeError, match=r"exec-mcp\.db cannot be opened .*can be written"):
            await server.stack.start()

        server.heal()
        await server.stack.start()
        await server.trades_on()


@both_modes
async def test_a_disk_that_turns_read_only_stops_risk_and_looking_goes_on(room, mode):
    async with ailing(room, mode) as server:
        waiting = await plan(server.stack, quantity=1)
        for operation in ("write", "truncate", "delete"):
            server.disk.fail(operation, MAIN, vfs.READONLY, times=None)

        told = await confirm(server.stack, waiting)
        await server.reads_go_on(waiting)
        await server.restart()

        assert (told.http, told.code) == (400, "storage")
        assert server.sent == []
        assert (await confirm(server.stack, waiting)).status == "executed"
        await server.trades_on()


async def test_a_file_that_cannot_be_read_for_a_while_is_refused_and_read_again_later(room):
    async with ailing(room) as server:
        waiting = await plan(server.stack, quantity=1)
        await server.stack.restart()
        server.disk.fail("read", MAIN, vfs.IOERR_READ, times=None)
        server.stack.backend.desk.database._writer.execute("PRAGMA shrink_memory")

        told = await look(server.stack, waiting)
        refused = await confirm(server.stack, waiting)
        server.heal()

        assert {told.code, refused.code} == {"storage"}
        assert server.sent == []
        assert (await confirm(server.stack, waiting)).status == "executed"
        await server.trades_on()


async def test_the_hourly_look_at_a_whole_file_finds_nothing(room):
    async with ailing(room) as server:
        await server.trades_on()
        await server.stack.backend.desk.database.check_apart()

        assert server.stack.backend.desk.database.failure is None
        assert await server.stack.backend.desk.database.read(controls.quarantine) is None
