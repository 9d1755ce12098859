"""Disks with faults: SQLite connections and files of simulated processes.

The files are real, as is SQLite. What fails is what the operating system would have failed.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.database import sqlite3
from tests.simulation.loop import CURRENT, Died
from tests.simulation.process import Process, die

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

_WORDS = {
    "BEGIN": ("stall", "kill"),
    "BEGIN IMMEDIATE": ("busy", "stall", "kill"),
    "COMMIT": ("busy", "io, done", "io, not done", "stall", "kill before", "kill after", "power"),
    "SELECT": ("io", "kill"),
}
_WRITE_WORDS = ("full", "full, rolled back", "io", "kill")
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
_PATIENCE = "PRAGMA busy_timeout="
_STALLS_S = (0.01, 0.3, 1.2, 3.0)
_FILE_WORDS = ("full", "cut", "stall", "kill before", "kill after")


@lru_cache(maxsize=4096)
def _verb(sql: str) -> str:
    # A plain BEGIN takes no lock, and never fails.
    return sql if sql == "BEGIN IMMEDIATE" else sql.lstrip().partition(" ")[0].upper()


@lru_cache(maxsize=1024)
def _sites(place: str, verb: str) -> tuple[tuple[str, str], ...]:
    words = _WRITE_WORDS if verb in _WRITES else _WORDS.get(verb, ())
    return tuple((f"sql {place} {verb}: {word}", word) for word in words)


def _failure(text: str, code: int, name: str) -> Exception:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error  # type: ignore[no-any-return]


def _busy() -> Exception:
    return _failure("database is locked", 5, "SQLITE_BUSY")


def _full() -> Exception:
    return _failure("database or disk is full", 13, "SQLITE_FULL")


def _io() -> Exception:
    return _failure("disk I/O error", 10, "SQLITE_IOERR")


class SimConnection(sqlite3.Connection):  # type: ignore[misc]
    """A real connection of a simulated process."""

    sim: Sim | None = None
    process: Process | None = None
    place = ""
    dead = False
    patient = False

    def execute(self, sql: str, *values: Any) -> Any:
        if self.dead:
            raise Died("its process is dead")
        if sql.startswith(_PATIENCE):
            self.patient = sql != _PATIENCE + "0"
        process = self.process
        if process is not None and process.exposed and self.sim is not None:
            verb = _verb(sql)
            for site, word in _sites(self.place, verb):
                if self.sim.sites.chance(site):
                    self.sim.trace.add(site)
                    return self._go_wrong(word, sql, values)
        return super().execute(sql, *values)

    def _go_wrong(self, word: str, sql: str, values: tuple[Any, ...]) -> Any:
        assert self.sim is not None
        assert self.process is not None
        # Who waits inside SQLite for a lock gets it in the end.
        if word == "stall" or (word == "busy" and self.patient):
            self.sim.loop.stall(self.sim.dice.choice(_STALLS_S))
            return super().execute(sql, *values)
        if word in ("kill", "kill before"):
            die(self.process)
        if word == "kill after":
            super().execute(sql, *values)
            die(self.process)
        if word == "power":
            if self.sim.dice.random() < 0.5:
                super().execute(sql, *values)
            die(self.process, goodbye=False)
        if word == "io, done":
            super().execute(sql, *values)
        if word == "full, rolled back" and self.in_transaction:
            super().execute("ROLLBACK")
        raise _busy() if word == "busy" else _full() if word.startswith("full") else _io()

    def close(self) -> None:
        if not self.dead and self.process is not None:
            self.process.resources.pop(self, None)
        super().close()

    def take_back(self) -> None:
        """Its process is dead: roll back, and let nothing through any more."""
        self.dead = True
        super().close()


class SimSqlite:
    """Stands in for the module `sqlite3` where the product opens its connections."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, path: str, **options: Any) -> Any:
        process = CURRENT.get()
        if process is not None and not process.alive:
            raise Died(process.name)
        made: Any = sqlite3.connect(path, factory=SimConnection, **options)
        made.sim, made.process, made.place = self._sim, process, Path(path).stem
        if process is not None:
            process.resources[made] = None
        return made


class _File:
    """An open descriptor of a simulated process."""

    def __init__(self, number: int, place: str, process: Process | None, disk: SimOs) -> None:
        self.number, self.place, self.process = number, place, process
        self._disk = disk

    def take_back(self) -> None:
        self._disk.close(self.number)


class SimOs:
    """Stands in for the module `os` where the product writes a file by itself."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._files: dict[int, _File] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        process = CURRENT.get()
        if process is not None and not process.alive:
            raise Died(process.name)
        file = _File(os.open(path, flags, mode), Path(path).name, process, self)
        self._files[file.number] = file
        if process is not None:
            process.resources[file] = None
        return file.number

    def close(self, number: int) -> None:
        """Close what is open; what the kernel took back from the dead is closed already."""
        file = self._files.pop(number, None)
        if file is not None:
            os.close(number)
            if file.process is not None:
                file.process.resources.pop(file, None)

    def close_all(self) -> None:
        """The seed is over."""
        for number in list(self._files):
            self.close(number)

    def write(self, number: int, data: bytes) -> int:
        file = self._file(number)
        word = self._drawn(file, _FILE_WORDS)
        if word == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if word in ("cut", "kill before"):
            # Half a line, or none of it, is all that the disk has.
            data = data[: int(len(data) * self._sim.dice.choice((0.0, 0.5, 0.99)))]
        if word == "stall":
            self._sim.loop.stall(self._sim.dice.choice(_STALLS_S))
        written = os.write(number, data) if data else 0
        if word in ("kill before", "kill after") and file.process is not None:
            die(file.process)
        return written

    def fsync(self, number: int) -> None:
        if self._drawn(self._file(number), ("fsync",)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def statvfs(self, path: Any) -> Any:
        process = CURRENT.get()
        if process is not None and process.exposed:
            site = f"disk {Path(path).name if Path(path).is_file() else 'folder'} room: full"
            if self._sim.sites.chance(site):
                self._sim.trace.add(site)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.statvfs(path)

    def _file(self, number: int) -> _File:
        file = self._files.get(number)
        if file is None:
            raise Died("its process is dead")
        return file

    def _drawn(self, file: _File, words: tuple[str, ...]) -> str | None:
        if file.process is None or not file.process.exposed:
            return None
        for word in words:
            site = f"disk {file.place}: {word}"
            if self._sim.sites.chance(site):
                self._sim.trace.add(site)
                return word
        return None


def entropy_of(seed: int) -> Callable[[int], bytes]:
    """Return what stands in for the system's source of randomness."""
    return random.Random(f"entropy {seed}").randbytes
