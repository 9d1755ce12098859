"""Which SQLite this is, how safely it keeps data, and what its errors mean for the file.

`backend.database` is where everything else gets these from.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlite_utils
from sqlite_utils import Migrations

from backend.domain.errors import Refused

__all__ = [
    "DAMAGE",
    "RESTART",
    "Durability",
    "choose_durability",
    "complaints",
    "failed_to_sync",
    "has_wal_reset_bug",
    "is_busy",
    "is_damage",
    "is_trouble",
    "keep_what_was_left",
    "lacks_room",
    "migrate",
    "openable",
    "refused",
    "sqlite3",
]

try:
    import pysqlite3.dbapi2 as sqlite3
except ImportError:  # No wheel for this platform: the interpreter's own.
    import sqlite3  # noqa: TID251

# Of the file or the disk, not of a statement: PERM, NOMEM, READONLY, IOERR, CORRUPT, FULL,
# CANTOPEN, NOTADB. Source: sqlite.org/rescode.html, read 2026-11-20.
_TROUBLES = frozenset({3, 7, 8, 10, 11, 13, 14, 26})
_DAMAGED = frozenset({11, 26})  # CORRUPT, NOTADB.
_SYNC_FAILED = frozenset({0x040A, 0x050A})  # IOERR_FSYNC, IOERR_DIR_FSYNC.
_FULL = 13
RESTART = "restart the server: it goes on from what is on the disk"
DAMAGE = "the file is damaged: stop every server of this home and put a backup in its place"

# The WAL-reset bug corrupts a file under two connections; fixed in these releases.
# Source: sqlite.org/wal.html, "The WAL-Reset Bug", read 2026-11-20.
_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Say whether this SQLite may corrupt a WAL file that two connections use."""
    if version >= _FIXED[0]:
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in _FIXED[1:])


@dataclass(frozen=True, slots=True)
class Durability:
    """How a database file is kept safe: the choice made at start, shown by `doctor`."""

    sqlite_version: str
    journal_mode: str
    synchronous: str


def choose_durability(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Durability:
    """Return WAL where this SQLite can be trusted with it, else a rollback journal."""
    text = ".".join(map(str, version))
    if has_wal_reset_bug(version):
        return Durability(text, "DELETE", "EXTRA")
    return Durability(text, "WAL", "FULL")


def _code(error: sqlite3.DatabaseError) -> int:
    """Return SQLite's extended result code; 0 for what Python itself raised."""
    return int(getattr(error, "sqlite_errorcode", 0))


def is_trouble(error: sqlite3.DatabaseError) -> bool:
    """Say whether it is about the file or the disk, not about a statement."""
    return _code(error) & 0xFF in _TROUBLES


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Say whether what stands in the file cannot be right."""
    return _code(error) & 0xFF in _DAMAGED


def failed_to_sync(error: sqlite3.DatabaseError) -> bool:
    """Say whether the disk may have lost what was written to it before."""
    return _code(error) in _SYNC_FAILED


def lacks_room(error: sqlite3.DatabaseError) -> bool:
    """Say whether the disk is full: then nothing of the transaction was committed."""
    return _code(error) & 0xFF == _FULL


@contextmanager
def openable(path: Path) -> Iterator[None]:
    """Say what is wrong with a file that cannot be opened, and what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_trouble(error):
            raise
        todo = DAMAGE if is_damage(error) else "see whether the disk and the folder can be written"
        raise RuntimeError(f"{path.name} cannot be opened ({error}): {todo}") from error
    except UnicodeDecodeError as error:
        raise RuntimeError(f"{path.name} cannot be opened: {DAMAGE}") from error


def refused(error: sqlite3.DatabaseError) -> Refused:
    """Return what a caller is told of a statement that the disk did not let through."""
    text = f"the database cannot take this now ({error}); nothing was written"
    if lacks_room(error):
        text += ": free some space, no restart is needed"
    return Refused(text, "storage")


def complaints(ask: Callable[[str], Iterable[Any]], table: str = "") -> list[str]:
    """Return what SQLite finds wrong with a table, or with the whole file; mostly nothing.

    Args:
        ask: runs a statement and returns its rows.
    """
    only = f"('{table}')" if table else ""
    try:
        answers = [str(row["quick_check"]) for row in ask(f"PRAGMA quick_check{only}")]
    except sqlite3.DatabaseError as error:  # So damaged that it cannot be looked through.
        if not is_damage(error):
            raise
        return [str(error)]
    return [] if answers == ["ok"] else answers


def keep_what_was_left(connection: Any) -> None:
    """Write what an earlier process left in a WAL into the file itself.

    Its last frames may be in the system's memory only, where a sync of them failed: no later
    sync would write them. Where others use the file now it stays as it is.
    """
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_busy(error: Exception) -> bool:
    """Say whether another connection has the lock."""
    return "locked" in str(error) or "busy" in str(error)


def migrate(connection: Any, migrations: Migrations, timeout_s: float) -> None:
    """Apply what is pending, raceless across processes, and refuse a newer database.

    Raises:
        RuntimeError: it is newer than this program.
    """
    connection.execute(f"PRAGMA busy_timeout={int(timeout_s * 1000)}")
    database = sqlite_utils.Database(connection)
    connection.row_factory = None  # sqlite-utils reads rows as tuples.
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            known = {m.name for m in migrations.pending(database)}
            applied = {m.name for m in migrations.applied(database)}
            migrations.apply(database)
            known |= {m.name for m in migrations.applied(database)} & _names(migrations)
            if newer := applied - known:
                raise RuntimeError(
                    f"the database is newer than this program: it has {', '.join(sorted(newer))}"
                )
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.DatabaseError):  # SQLite may have rolled back by itself.
                connection.execute("ROLLBACK")
            raise
    finally:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout=0")


def _names(migrations: Migrations) -> set[str]:
    return {migration.name for migration in migrations._migrations}  # No public list of names.
