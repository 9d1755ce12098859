"""One SQLite file, one writer at a time: `read(body)` and `write(body)`.

`body` is a plain function: it cannot await, so it cannot hold the lock while an
exchange thinks. Everything else that uses SQLite imports `sqlite3` from here.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from sqlite_utils import Migrations

from backend.disk import make_private
from backend.domain.clock import Clock, from_row, to_row
from backend.domain.errors import Refused
from backend.place import place_of
from backend.sqlite import (
    DAMAGE,
    RESTART,
    Durability,
    choose_durability,
    complaints,
    failed_to_sync,
    has_wal_reset_bug,
    is_busy,
    is_damage,
    is_trouble,
    keep_what_was_left,
    lacks_room,
    migrate,
    openable,
    refused,
    sqlite3,
)

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

log = structlog.get_logger("exec-mcp")

# `json.dumps` would make a new encoder for each call with these settings.
_ENCODED = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class Row(Protocol):
    """A row by column name, as `sqlite3.Row` is: `dict(row)` works, `row.get` does not."""

    def __getitem__(self, name: str) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def keys(self) -> Iterable[str]: ...


LOCK_TIMEOUT_S = 5.0
CLOCK_TOLERANCE = timedelta(seconds=5)
# A larger file is looked through in the background: 1 MiB takes about 2 ms.
_CHECKED_AT_START_BYTES = 16 * 1024 * 1024


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

    def each(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[Row]:
        """Return an iterator over all rows: for what may be long."""
        rows: Iterator[Row] = iter(self._connection.execute(sql, values))
        return rows

    def value(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._connection.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def insert(self, table: str, values: Mapping[str, Any]) -> int:
        """Insert one row and return how many rows that made. `table` is never user input."""
        return self.execute(_insert_sql(table, tuple(values)), values)


def _nothing() -> None:
    """Nobody wants to know of a commit."""


class Database:
    """A SQLite file with one writing and one reading connection in this process.

    Several processes may open the same file. Bodies run on the event loop: a commit
    costs one fsync, and waiting for another process's lock is done asleep.

    Attributes:
        after_commit: called after each commit of this object; it must not raise.
    """

    def __init__(
        self, path: Path, clock: Clock, migrations: Migrations, durability: Durability
    ) -> None:
        self.path = path
        self.durability = durability
        self.failure: str | None = None
        self.after_commit: Callable[[], None] = _nothing
        self._clock = clock
        self._writing = asyncio.Lock()
        make_private(path)
        self._closed = False
        with openable(path):
            self._writer = _connect(path, durability)
            try:
                migrate(self._writer, migrations, LOCK_TIMEOUT_S)
                keep_what_was_left(self._writer)
                self._reader = _connect(path, durability)
                self._place = place_of(path)
                if path.stat().st_size <= _CHECKED_AT_START_BYTES:
                    self._judge(self.check())
            except BaseException:
                self._writer.close()
                raise

    async def write(self, body: Callable[[Transaction], T]) -> T:
        """Run `body` inside one `BEGIN IMMEDIATE` transaction and return its result.

        Raises:
            Refused: `storage`, when the lock could not be had or the disk refused;
                nothing was written, unless `failure` says that it is not known.
        """
        async with self._writing:
            if self.failure:
                raise Refused(f"the database has failed: {self.failure}", "storage")
            with self._troubles():
                await _patiently(lambda: self._writer.execute("BEGIN IMMEDIATE"))
            try:
                with self._troubles():
                    result = body(self._opened())
                await self._commit()
            except BaseException:
                self._roll_back()
                raise
            self.after_commit()
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
                if connection.in_transaction:  # SQLite may have rolled back by itself.
                    connection.execute("ROLLBACK")

        with self._troubles():
            return await _patiently(whole)

    async def read_apart(self, body: Callable[[Transaction], T], *, one_snapshot: bool = True) -> T:
        """Run a long `body` in a thread, on a connection of its own.

        Args:
            one_snapshot: False where each statement may see its own, as with rows that
                are only ever added: a rollback journal lets nobody commit meanwhile.

        Raises:
            Refused: `storage`, when the file could not be read.
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

        with self._troubles():
            return await asyncio.to_thread(whole)

    def close(self) -> None:
        """Close both connections."""
        self._closed = True
        self._reader.close()
        self._writer.close()

    @property
    def is_replaced(self) -> bool:
        """Say whether another file stands at the path than the one that was opened."""
        return not self.path.exists() or place_of(self.path) != self._place

    def backup(self, target: Path) -> None:
        """Copy the whole database, online, into a new private file."""
        make_private(target)
        copy = sqlite3.connect(str(target))
        try:
            self._reader.backup(copy)
        finally:
            copy.close()

    def check(self) -> list[str]:
        """Return SQLite's own complaints about the file; empty when it is whole."""
        # Another process may commit just now, or repair what a crash left.
        self._reader.execute(f"PRAGMA busy_timeout={int(LOCK_TIMEOUT_S * 1000)}")
        try:
            return complaints(self._reader.execute)
        finally:
            self._reader.execute("PRAGMA busy_timeout=0")

    async def check_apart(self) -> None:
        """Look through the file in a thread, table by table; `failure` tells what is found.

        With a rollback journal nobody commits while one table is looked through.

        Raises:
            Refused: `storage`, when the file could not be read.
        """

        def body(tx: Transaction) -> list[str]:
            names = [row["name"] for row in tx.rows("PRAGMA table_list") if row["schema"] == "main"]
            return [t for name in names if not self._closed for t in complaints(tx.rows, name)]

        self._judge(await self.read_apart(body, one_snapshot=False))

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
            if lacks_room(error):  # It lacks room before the instant that commits.
                raise refused(error) from error
            # What any other failed commit left on disk is unknown: nothing more is risked on it.
            self._fail(f"a commit failed ({error}); {RESTART}")
            raise Refused(
                f"the commit failed ({error}): whether it was written shows after a restart;"
                " nothing was sent",
                "storage",
            ) from error

    def _roll_back(self) -> None:
        with suppress(sqlite3.DatabaseError):  # SQLite may have rolled back by itself.
            self._writer.execute("ROLLBACK")
        if self._writer.in_transaction:
            self._fail(f"a transaction could not be rolled back; {RESTART}")

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
            log.error("database.failed", file=self.path.name, why=why)

    def _judge(self, wrong: Sequence[str]) -> None:
        if wrong:
            self._fail(f"{self.path.name}: {wrong[0]}; {DAMAGE}")

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """Turn trouble with the file or the disk into a refusal; a bug in a statement stays one."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            if is_damage(error):
                self._judge([str(error)])
            elif failed_to_sync(error):
                self._fail(f"{error}; {RESTART}")
            raise refused(error) from error
        except UnicodeDecodeError as error:  # Even what SQLite says of a damaged file may be.
            self._judge(["its text is not text"])
            raise Refused(f"the database has failed: {self.failure}", "storage") from error


async def _patiently(step: Callable[[], T]) -> T:
    """Run `step`, asleep between tries while another process has the lock."""
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    pause_s = 0.0005
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            deadline = deadline or loop.time() + LOCK_TIMEOUT_S
            if loop.time() > deadline:
                raise Refused(
                    "the database is busy; nothing happened, try again", "storage"
                ) from error
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, 0.02)


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
