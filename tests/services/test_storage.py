"""What the database promises: one writer, durable commits, and an audit nobody can edit."""

import asyncio
import resource
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import backend.database
from backend.database import (
    Database,
    choose_durability,
    has_wal_reset_bug,
    sqlite3,
)
from backend.disk import nearly_full
from backend.domain.clock import to_row
from backend.domain.errors import Refused
from backend.domain.money import stored
from backend.store import audit, ledger, trades
from backend.store.migrations import migrations
from backend.testing import START, FrozenClock
from tests.services.spoken import change, confirm, plan

pytestmark = pytest.mark.anyio
OLD = (3, 40, 1)


@pytest.fixture(params=["WAL", "DELETE"])
def durability(request):
    return choose_durability(OLD) if request.param == "DELETE" else choose_durability((3, 51, 3))


@pytest.fixture
def opened(tmp_path, durability):
    """An empty database of ours, in either journal mode, with the clock of it."""
    clock = FrozenClock()
    database = Database(tmp_path / "exec-mcp.db", clock, migrations, durability)
    yield database, clock
    database.close()


@pytest.mark.parametrize(
    ("version", "bug"),
    [
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_the_journal_is_chosen_by_the_version_of_sqlite(version, bug):
    chosen = choose_durability(version)

    assert has_wal_reset_bug(version) is bug
    expected = ("DELETE", "EXTRA") if bug else ("WAL", "FULL")
    assert (chosen.journal_mode, chosen.synchronous) == expected


async def test_a_connection_has_the_durability_that_was_chosen(opened, durability):
    database, _ = opened
    level = {"FULL": 2, "EXTRA": 3}[durability.synchronous]
    for connection in (database._writer, database._reader):
        assert connection.execute("PRAGMA journal_mode").fetchone()[0].upper() == (
            durability.journal_mode
        )
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == level
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


async def test_files_are_private_and_tables_are_strict(opened, tmp_path):
    database, _ = opened

    tables = await database.read(lambda tx: tx.rows("PRAGMA table_list"))

    ours = [
        t for t in tables if t["schema"] == "main" and not t["name"].startswith(("sqlite_", "_"))
    ]
    assert len(ours) > 10
    assert [t["name"] for t in ours if not t["strict"]] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


async def test_a_number_that_is_not_text_is_refused_by_the_schema(opened):
    database, _ = opened

    def body(tx):
        tx.insert("meta", {"key": "x", "value": b"1"})

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(body)


async def test_a_newer_database_is_refused(opened, tmp_path, durability):
    database, clock = opened
    await database.write(
        lambda tx: tx.insert(
            "_sqlite_migrations",
            {"migration_set": "exec-mcp", "name": "from_the_future", "applied_at": "2030"},
        )
    )

    with pytest.raises(RuntimeError, match="newer than this program: it has from_the_future"):
        Database(tmp_path / "exec-mcp.db", clock, migrations, durability)


async def test_a_body_that_raises_changes_nothing_not_even_the_clocks_mark(opened):
    database, clock = opened
    await database.write(lambda tx: tx.now)
    clock.advance(10)

    def body(tx):
        tx.insert("meta", {"key": "x", "value": "1"})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(body)

    left = await database.read(lambda tx: tx.rows("SELECT * FROM meta"))
    assert [dict(row) for row in left] == [{"key": "high_water", "value": to_row(START)}]


async def test_now_never_goes_back(opened):
    database, clock = opened
    clock.advance(100)
    high = await database.write(lambda tx: tx.now)
    clock.advance(-5)
    near = await database.write(lambda tx: (tx.now, tx.clock_behind))
    clock.advance(-0.000001)

    read = await database.read(lambda tx: (tx.now, tx.clock_behind))

    assert high == START + timedelta(seconds=100)
    assert near == (high, False)
    assert read == (high, True)


async def test_now_is_read_after_the_lock_was_taken(opened, tmp_path, durability):
    database, clock = opened
    rival = sqlite3.connect(str(tmp_path / "exec-mcp.db"), isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(database.write(lambda tx: tx.now))
    await asyncio.sleep(0)

    clock.advance(60)
    rival.execute("ROLLBACK")
    rival.close()

    assert await waiting == START + timedelta(seconds=60)


async def test_a_lock_that_cannot_be_had_is_refused_and_nothing_happened(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(backend.database, "LOCK_TIMEOUT_S", 0.02)
    database, _ = opened
    rival = sqlite3.connect(str(tmp_path / "exec-mcp.db"), isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")

    with pytest.raises(Refused, match="nothing happened") as caught:
        await database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "1"}))

    rival.execute("ROLLBACK")
    rival.close()
    assert caught.value.code == "storage"
    await database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "2"}))


def reading(path):
    """Return a connection that holds a read transaction open."""
    rival = sqlite3.connect(str(path), isolation_level=None)
    rival.execute("BEGIN")
    rival.execute("SELECT * FROM meta").fetchall()
    return rival


async def test_a_commit_waits_for_a_reader_of_the_rollback_journal(tmp_path):
    database = Database(tmp_path / "a.db", FrozenClock(), migrations, choose_durability(OLD))
    rival = reading(tmp_path / "a.db")
    written = asyncio.create_task(
        database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "1"}))
    )
    for _ in range(3):
        await asyncio.sleep(0)
    assert not written.done()

    rival.execute("ROLLBACK")
    rival.close()
    await written

    assert await database.read(lambda tx: tx.value("SELECT value FROM meta WHERE key = 'x'")) == "1"
    database.close()


async def test_a_commit_that_a_reader_holds_up_too_long_is_rolled_back(tmp_path, monkeypatch):
    monkeypatch.setattr(backend.database, "LOCK_TIMEOUT_S", 0.02)
    database = Database(tmp_path / "a.db", FrozenClock(), migrations, choose_durability(OLD))
    rival = reading(tmp_path / "a.db")

    with pytest.raises(Refused) as caught:
        await database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "1"}))
    rival.execute("ROLLBACK")
    rival.close()

    assert caught.value.code == "storage"
    assert database.failure is None
    assert await database.read(lambda tx: tx.value("SELECT value FROM meta WHERE key='x'")) is None
    await database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "2"}))
    database.close()


async def test_a_caller_cancelled_while_its_commit_waits_leaves_no_transaction_open(tmp_path):
    database = Database(tmp_path / "a.db", FrozenClock(), migrations, choose_durability(OLD))
    rival = reading(tmp_path / "a.db")
    written = asyncio.create_task(
        database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "1"}))
    )
    await asyncio.sleep(0)

    written.cancel()
    await asyncio.gather(written, return_exceptions=True)
    rival.execute("ROLLBACK")
    rival.close()

    assert written.cancelled()
    assert database._writer.in_transaction is False
    assert await database.read(lambda tx: tx.value("SELECT value FROM meta WHERE key='x'")) is None
    database.close()


async def test_a_full_disk_is_refused_and_a_bug_in_a_statement_is_not_hidden(opened):
    database, _ = opened
    pages = database._writer.execute("PRAGMA page_count").fetchone()[0]
    database._writer.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(Refused, match="full") as caught:
        await database.write(lambda tx: tx.insert("meta", {"key": "x", "value": "1" * 100_000}))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.write(lambda tx: tx.execute("DELETE FROM nowhere"))

    assert caught.value.code == "storage"
    assert database.failure is None


async def test_a_damaged_file_refuses_reads_and_writes(tmp_path):
    path = tmp_path / "a.db"
    database = Database(path, FrozenClock(), migrations, choose_durability(OLD))
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\0" * path.stat().st_size)

    for attempt in (database.read, database.write):
        with pytest.raises(Refused) as caught:
            await attempt(lambda tx: tx.rows("SELECT * FROM trades"))
        assert caught.value.code == "storage"
    database.close()


async def test_after_a_commit_that_failed_nothing_more_is_written(opened):
    database, _ = opened
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def body(tx):
        tx.insert("meta", {"key": "x", "value": "1" * 500_000})
        # The commit cannot write it all, and gets an I/O error.
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))

    try:
        with pytest.raises(Refused, match="commit failed"):
            await database.write(body)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert database.failure
    with pytest.raises(Refused, match="the database has failed"):
        await database.write(lambda tx: tx.insert("meta", {"key": "y", "value": "1"}))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a volume without room")
def test_a_volume_without_room_is_said_to_be_nearly_full():
    assert "nearly full" in (nearly_full([Path("/proc")]) or "")


async def test_while_the_disk_ails_no_plan_is_made_and_none_is_confirmed(exec_mcp):
    made = await plan(exec_mcp)
    exec_mcp.backend.desk.journal.failure = "an I/O error"

    refused = [await plan(exec_mcp), await confirm(exec_mcp, made)]

    assert [(r.http, r.code) for r in refused] == [(400, "storage")] * 2
    assert exec_mcp.faults.attempts == []


# --- balances and holds ---


async def test_a_hold_beyond_what_is_held_or_given_back_twice_is_impossible(exec_mcp):
    made = await plan(exec_mcp)
    database = exec_mcp.backend.desk.database

    first = await database.write(lambda tx: ledger.void(tx, 1, made.trade_id))
    second = await database.write(lambda tx: ledger.void(tx, 1, made.trade_id))

    assert (first, second) == ({"USD": stored("2154")}, {})
    with pytest.raises(AssertionError, match="held of USD"):
        await database.write(
            lambda tx: ledger._write(tx, 1, ledger.funds(tx, 1, "USD"), stored("1"), stored("-1"))
        )


async def test_a_balance_that_changed_underneath_is_not_overwritten(exec_mcp):
    database = exec_mcp.backend.desk.database
    stale = await database.read(lambda tx: ledger.funds(tx, 1, "USD"))
    await plan(exec_mcp)

    with pytest.raises(AssertionError, match="changed under"):
        await database.write(lambda tx: ledger._write(tx, 1, stale, stored("1"), stored("0")))


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO fills SELECT * FROM fills",
        "INSERT INTO orders SELECT * FROM orders",
        "INSERT INTO holds SELECT * FROM holds",
    ],
)
async def test_a_fill_an_order_and_a_hold_stand_once(exec_mcp, sql):
    await confirm(exec_mcp, await plan(exec_mcp))

    with pytest.raises(sqlite3.IntegrityError):
        await change(exec_mcp, sql)


@pytest.mark.parametrize(
    ("change_it", "won"),
    [
        ("UPDATE trades SET status = status", True),
        ("UPDATE trades SET status = 'executing'", False),
        ("UPDATE trades SET status = 'cancelled'", False),
        ("UPDATE trades SET expires_at = created_at", False),
    ],
    ids=["pending", "claimed", "cancelled", "due"],
)
async def test_the_claim_is_one_guarded_update(exec_mcp, change_it, won):
    made = await plan(exec_mcp)
    await change(exec_mcp, change_it)

    claimed = await exec_mcp.backend.desk.database.write(
        lambda tx: [trades.claim(tx, made.trade_id) for _ in range(2)]
    )

    assert claimed == [won, False]


async def test_an_approval_is_one_guarded_update_of_what_was_shown(exec_mcp):
    made = await plan(exec_mcp)
    database = exec_mcp.backend.desk.database
    shown = await database.read(lambda tx: trades.get(tx, made.trade_id))
    until = shown.expires_at + timedelta(seconds=1)

    async def approved(trade) -> bool:
        done: bool = await database.write(lambda tx: trades.approve(tx, trade, "operator", until))
        return done

    other = await approved(replace(shown, plan_hash="of other terms"))
    exec_mcp.clock.advance(60)
    late = await approved(shown)
    await change(exec_mcp, "UPDATE trades SET expires_at = '2030'")
    first, second = await approved(shown), await approved(shown)

    assert (other, late, first, second) == (False, False, True, False)


async def test_what_comes_in_is_added_to_no_hold(exec_mcp):
    made = await plan(exec_mcp)
    database = exec_mcp.backend.desk.database

    await database.write(lambda tx: ledger.post(tx, 1, made.trade_id, "f-1", {"USD": stored("5")}))

    (hold,) = await database.read(lambda tx: ledger.holds(tx, made.trade_id))
    free = await database.read(lambda tx: ledger.funds(tx, 1, "USD"))
    assert (hold.posted, hold.remaining) == (stored("0"), stored("2154"))
    assert (free.total, free.held) == (stored("100005"), stored("2154"))


# --- the audit ---


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'x' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2",
        "REPLACE INTO audit SELECT 1, at, event, actor, account, trade_id, detail, previous, hash"
        " FROM audit WHERE seq = 2",
        "INSERT OR IGNORE INTO audit SELECT * FROM audit WHERE seq = 2",
    ],
)
async def test_the_audit_refuses_every_change(exec_mcp, sql):
    await confirm(exec_mcp, await plan(exec_mcp))

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await change(exec_mcp, sql)

    assert (await exec_mcp.backend.desk.database.read(audit.first_break))[1] is None


@pytest.mark.parametrize(
    ("tamper", "whole", "wrong"),
    [
        ("UPDATE audit SET actor = 'x' WHERE seq = 3", 2, "row 3 was changed"),
        ("UPDATE audit SET at = at || ' ' WHERE seq = 1", 0, "row 1 was changed"),
        ("UPDATE audit SET trade_id = NULL WHERE seq = 5", 4, "row 5 was changed"),
        ("UPDATE audit SET hash = 'x' WHERE seq = 4", 3, "row 4 was changed"),
        ("DELETE FROM audit WHERE seq = 2", 1, "row 2 is missing"),
        ("DELETE FROM audit WHERE seq = 1", 0, "row 1 is missing"),
        ("UPDATE audit SET seq = seq + 100 WHERE seq = 4", 3, "row 4 is missing"),
        (
            "UPDATE audit SET detail = (SELECT detail FROM audit WHERE seq = 3) WHERE seq = 4",
            3,
            "row 4 was changed",
        ),
    ],
)
async def test_tampering_behind_the_triggers_is_found_at_its_row(exec_mcp, tamper, whole, wrong):
    await confirm(exec_mcp, await plan(exec_mcp))
    for trigger in ("updated", "deleted", "replaced"):
        await change(exec_mcp, f"DROP TRIGGER audit_is_never_{trigger}")

    await change(exec_mcp, tamper)

    count, found, _ = await exec_mcp.backend.desk.database.read(audit.first_break)
    assert (count, found) == (whole, wrong)
    verified = (await exec_mcp.operator.get("/api/v1/audit/verify")).json()
    assert (verified["whole"], verified["broken"]) == (False, wrong)


async def test_a_row_added_with_a_hash_of_its_own_does_not_join_the_chain(exec_mcp):
    await change(
        exec_mcp,
        "INSERT INTO audit SELECT seq + 1, at, 'x.forged', actor, account, trade_id, detail,"
        " hash, hash FROM audit ORDER BY seq DESC LIMIT 1",
    )

    count, found, _ = await exec_mcp.backend.desk.database.read(audit.first_break)

    assert found == f"row {count + 1} was changed"


async def test_a_row_that_was_written_anew_hash_and_all_breaks_the_chain_after_it(exec_mcp):
    await confirm(exec_mcp, await plan(exec_mcp))
    await change(exec_mcp, "DROP TRIGGER audit_is_never_updated")
    database = exec_mcp.backend.desk.database
    third = await database.read(lambda tx: tx.row("SELECT * FROM audit WHERE seq = 3"))
    forged = {**{name: third[name] for name in third.keys()}, "actor": "somebody else"}  # noqa: SIM118

    rewrite = "UPDATE audit SET actor = ?, hash = ? WHERE seq = 3"
    await change(exec_mcp, rewrite, forged["actor"], audit.row_hash(forged))

    count, found, _ = await database.read(audit.first_break)
    assert (count, found) == (3, "row 4 was changed")
