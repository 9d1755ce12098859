"""One SQLite file, one writer at a time: `read(body)` and `write(body)`.

`body` is a plain function: it cannot await, so it cannot hold the lock while an
exchange thinks. Everything else that uses SQLite imports `sqlite3` from here.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlite_utils
from sqlite_utils import Migrations

from backend.domain.clock import Clock, from_row, to_row
from backend.domain.errors import Refused

try:
    import pysqlite3.dbapi2 as sqlite3
except ImportError:  # No wheel for this platform: the interpreter's own.
    import sqlite3  # noqa: TID251

__all__ = [
    "Database",
    "Durability",
    "Row",
    "Transaction",
    "choose_durability",
    "has_wal_reset_bug",
    "small_json",
    "sqlite3",
    "to_json",
]

T = TypeVar("T")

# `json.dumps` would make a new encoder for each call with these settings.
_ENCODED = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class Row(Protocol):
    """A row by column name, as `sqlite3.Row` is: `dict(row)` works, `row.get` does not."""

    def __getitem__(self, name: str) -> Any: ...
    def keys(self) -> Iterable[str]: ...


LOCK_TIMEOUT_S = 5.0
CLOCK_TOLERANCE = timedelta(seconds=5)

# Of the file or the disk, not of a statement: PERM, NOMEM, READONLY, IOERR, CORRUPT, FULL,
# CANTOPEN, NOTADB. Source: sqlite.org/rescode.html, read 2026-11-20.
_TROUBLES = frozenset({3, 7, 8, 10, 11, 13, 14, 26})

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


class Transaction:
    """An open transaction: SQL in, rows out, and the transaction's own time."""

    def __init__(self, connection: Any, clock: Clock, now: datetime | None = None) -> None:
        self._connection = connection
        self._clock = clock
        self._now = now

    @property
    def now(self) -> datetime:
        """Return `max(clock, high water)`: the same for the whole transaction.

        A write stores it, and reads it after the lock was taken.
        """
        if self._now is None:
            mark = self.value("SELECT value FROM meta WHERE key = 'high_water'")
            clock = self._clock()
            self._now = clock if mark is None else max(clock, from_row(mark))
        return self._now

    @property
    def clock_behind(self) -> bool:
        """Say whether the clock is more than 5 s behind the latest time ever stored."""
        return self.now - self._clock() > CLOCK_TOLERANCE

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run one statement and return how many rows it changed."""
        return int(self._connection.execute(sql, values).rowcount)

    def row(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        """Return the first row, or None."""
        found: Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Return all rows."""
        found: list[Row] = self._connection.execute(sql, values).fetchall()
        return found

    def value(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._connection.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def insert(self, table: str, values: Mapping[str, Any]) -> int:
        """Insert one row and return how many rows that made. `table` is never user input."""
        return self.execute(_insert_sql(table, tuple(values)), values)


class Database:
    """A SQLite file with one writing and one reading connection in this process.

    Several processes may open the same file. Bodies run on the event loop: a commit
    costs one fsync, and waiting for another process's lock is done asleep.
    """

    def __init__(
        self, path: Path, clock: Clock, migrations: Migrations, durability: Durability
    ) -> None:
        self.path = path
        self.durability = durability
        self.failure: str | None = None
        self._clock = clock
        self._writing = asyncio.Lock()
        _make_private(path)
        self._writer = _connect(path, durability)
        try:
            _migrate(self._writer, migrations)
            self._reader = _connect(path, durability)
        except BaseException:
            self._writer.close()
            raise

    async def write(self, body: Callable[[Transaction], T]) -> T:
        """Run `body` inside one `BEGIN IMMEDIATE` transaction and return its result.

        Raises:
            Refused: `storage`, when the lock could not be had or the disk refused;
                nothing was written.
        """
        async with self._writing:
            if self.failure:
                raise Refused(
                    f"the database has failed: {self.failure}; restart the server", "storage"
                )
            with _troubles():
                await _patiently(lambda: self._writer.execute("BEGIN IMMEDIATE"))
            try:
                with _troubles():
                    result = body(self._opened())
                await self._commit()
            except BaseException:
                with suppress(sqlite3.DatabaseError):  # SQLite may have rolled back by itself.
                    self._writer.execute("ROLLBACK")
                raise
            return result

    async def read(self, body: Callable[[Transaction], T]) -> T:
        """Run `body` on one consistent snapshot and return its result.

        Raises:
            Refused: `storage`, when the file could not be read.
        """

        def whole() -> T:
            # A commit empties the cache of every other connection, so the writer reads best.
            # It is busy only while its commit waits for another process.
            free = not (self._writing.locked() or self.failure)
            connection = self._writer if free else self._reader
            connection.execute("BEGIN")
            try:
                return body(Transaction(connection, self._clock))
            finally:
                connection.execute("ROLLBACK")

        with _troubles():
            return await _patiently(whole)

    async def read_apart(self, body: Callable[[Transaction], T], *, one_snapshot: bool = True) -> T:
        """Run a long `body` in a thread, on a connection of its own.

        Args:
            one_snapshot: False where each statement may see its own, as with rows that
                are only ever added: a rollback journal lets nobody commit meanwhile.
        """

        def whole() -> T:
            connection = _connect(self.path, self.durability)
            connection.execute(f"PRAGMA busy_timeout={int(LOCK_TIMEOUT_S * 1000)}")
            try:
                if one_snapshot:
                    connection.execute("BEGIN")
                return body(Transaction(connection, self._clock))
            finally:
                connection.close()

        return await asyncio.to_thread(whole)

    def close(self) -> None:
        """Close both connections."""
        self._reader.close()
        self._writer.close()

    def backup(self, target: Path) -> None:
        """Copy the whole database, online, into a new private file."""
        _make_private(target)
        copy = sqlite3.connect(str(target))
        try:
            self._reader.backup(copy)
        finally:
            copy.close()

    def check(self) -> list[str]:
        """Return SQLite's own complaints about the file; empty when it is whole."""
        answers = [row[0] for row in self._reader.execute("PRAGMA quick_check")]
        return [] if answers == ["ok"] else answers

    def _opened(self) -> Transaction:
        """Raise the high-water mark to the clock, or take the mark where the clock is behind."""
        mark = self._writer.execute(
            "INSERT INTO meta(key, value) VALUES('high_water', :now)"
            " ON CONFLICT(key) DO UPDATE SET value = MAX(value, :now) RETURNING value",
            {"now": to_row(self._clock())},
        ).fetchone()
        return Transaction(self._writer, self._clock, from_row(mark[0]))

    async def _commit(self) -> None:
        try:
            # Readers of a rollback journal can hold a commit up: the transaction stays open.
            await _patiently(lambda: self._writer.execute("COMMIT"))
        except sqlite3.DatabaseError as error:
            # What a failed commit left on disk is unknown: nothing more is risked on it.
            self.failure = str(error)
            raise Refused(f"the commit failed: {error}; restart the server", "storage") from error


@contextmanager
def _troubles() -> Iterator[None]:
    """Turn trouble with the file or the disk into a refusal; a bug in a statement stays one."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _TROUBLES:
            raise
        raise Refused(f"the database cannot take this now: {error}", "storage") from error


async def _patiently(step: Callable[[], T]) -> T:
    """Run `step`, asleep between tries while another process has the lock."""
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    pause_s = 0.0005
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            deadline = deadline or loop.time() + LOCK_TIMEOUT_S
            if loop.time() > deadline:
                raise Refused(
                    "the database is busy; nothing happened, try again", "storage"
                ) from error
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, 0.02)


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _connect(path: Path, durability: Durability) -> Any:
    connection = sqlite3.connect(
        str(path),
        timeout=LOCK_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.row_factory = sqlite3.Row
    for pragma in (
        f"journal_mode={durability.journal_mode}",
        f"synchronous={durability.synchronous}",
        "foreign_keys=ON",
        "secure_delete=ON",  # A deleted credential leaves no bytes in the file.
    ):
        connection.execute(f"PRAGMA {pragma}")
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode.lower() != durability.journal_mode.lower():
        connection.close()
        raise RuntimeError(f"{path.name}: journal mode is {mode}, wanted {durability.journal_mode}")
    # From here on waiting is asynchronous: see `_patiently`.
    connection.execute("PRAGMA busy_timeout=0")
    return connection


def _migrate(connection: Any, migrations: Migrations) -> None:
    """Apply what is pending, raceless across processes, and refuse a newer database."""
    connection.execute(f"PRAGMA busy_timeout={int(LOCK_TIMEOUT_S * 1000)}")
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
            connection.execute("ROLLBACK")
            raise
    finally:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout=0")


def _names(migrations: Migrations) -> set[str]:
    return {migration.name for migration in migrations._migrations}  # No public list of names.


def _make_private(path: Path) -> None:
    if not path.exists():
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def to_json(value: Any) -> str:
    """Return compact JSON for a TEXT column."""
    return _ENCODED(value)


@lru_cache(maxsize=128)
def _insert_sql(table: str, names: tuple[str, ...]) -> str:
    marks = ",".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({','.join(names)}) VALUES ({marks})"  # noqa: S608


@lru_cache(maxsize=1024)
def small_json(text: str) -> Any:
    """Return a small JSON column that is read again and again. Do not change the result."""
    return json.loads(text)
