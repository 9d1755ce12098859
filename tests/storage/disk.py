"""A disk whose power can go: what of a home's files is certain to be there, and what only may be.

A write is certain once its file was synced, and a name (made or deleted) once its folder was.
Until then any part of it may be missing, torn at sectors of 512 bytes, in any order. The disk can
also be told to fail. SQLite comes here through `vfs`, the send journal through `JournalOs`.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from shutil import disk_usage
from typing import Any, NamedTuple

import backend.disk
import backend.journal
from tests.storage import vfs

_SECTOR = 512
# How much of what was not synced is there: nothing, a little, about half, nearly all, all.
_ODDS = (0.0, 0.1, 0.5, 0.9, 1.0)
_ERRNO = {vfs.FULL: errno.ENOSPC, vfs.READONLY: errno.EROFS, vfs.CANTOPEN: errno.EACCES}


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


class Change(NamedTuple):
    """Bytes at an offset; a cut to that size where `data` is None."""

    offset: int
    data: bytes | None


@dataclass(slots=True)
class Kept:
    """One file: what is certain of it, and what was done to it since, in order."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        """Make everything certain."""
        for change in self.since:
            apply(self.synced, change, b"\0")
        self.since.clear()

    def whole(self) -> bytes:
        """Return the file as its readers see it."""
        content = bytearray(self.synced)
        for change in self.since:
            apply(content, change, b"\0")
        return bytes(content)

    def torn(self, chance: Random, odds: float) -> bytes:
        """Return what may be left of it: each sector that is not certain is there by `odds`."""
        content, rest = bytearray(self.synced), chance.choice((b"\0", b"\xa5"))
        for change in self.since:
            for part in _sectors(change):
                if chance.random() < odds:
                    apply(content, part, rest)
        return bytes(content)


def apply(content: bytearray, change: Change, rest: bytes) -> None:
    """Do one change; a hole before it is filled with `rest`, as it is by an unfinished disk."""
    content.extend(rest * (change.offset - len(content)))
    if change.data is None:
        del content[change.offset :]
    else:
        content[change.offset : change.offset + len(change.data)] = change.data


def _sectors(change: Change) -> Iterator[Change]:
    if change.data is None:
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, start - start % _SECTOR + _SECTOR)
        yield Change(start, change.data[start - change.offset : stop - change.offset])
        start = stop


@dataclass(slots=True)
class Fault:
    """Calls that fail: those of `operation` on files like `pattern`, after `skip` good ones.

    Attributes:
        times: how often; None for ever.
        lose: a sync that fails also forgets what it was asked to keep, and later ones do not
            notice: so do real disks (Rebello et al., "Can Applications Recover from fsync
            Failures?", USENIX ATC 2020).
    """

    operation: str
    pattern: str
    code: int
    skip: int = 0
    times: int | None = 1
    lose: bool = False

    def hits(self, operation: str, path: str) -> bool:
        if operation != self.operation or not fnmatch(path.rpartition("/")[2], self.pattern):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Disk:
    """The disk below one folder.

    Attributes:
        faults: what fails now.
        moments: how many instants there were at which the power could have gone: before and
            after each write, cut, sync and deletion.
        at_moment: called at each of them with its number.
        free: bytes of room that it says it has; None for the truth.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.faults: list[Fault] = []
        self.moments = 0
        self.at_moment: Callable[[int], None] = lambda moment: None
        self.free: int | None = None
        self._live: dict[str, Kept] = {}
        self._certain: dict[str, Kept] = {}
        # Names made and deleted (None) since their folder was synced.
        self._since: list[tuple[str, Kept | None]] = []

    def fail(self, operation: str, pattern: str, code: int, **more: Any) -> Fault:
        """Let calls fail from now on: see `Fault`."""
        self.faults.append(Fault(operation, pattern, code, **more))
        return self.faults[-1]

    def before(self, operation: str, path: str) -> int:
        """Say whether a call may go on: `vfs.Watcher`."""
        if operation != "read":
            self._moment()
        for fault in self.faults:
            if fault.hits(operation, path):
                if fault.lose and path in self._live:
                    self._live[path].since.clear()
                return fault.code
        return vfs.OK

    def after(self, operation: str, path: str, offset: int, data: bytes | None) -> None:
        """Remember what was done: `vfs.Watcher`."""
        if operation == "open":
            if path not in self._live:
                self._live[path] = Kept()
                self._since.append((path, self._live[path]))
            return
        if operation == "delete":
            self._live.pop(path, None)
            self._since.append((path, None))
        elif operation != "sync":
            self._live[path].since.append(Change(offset, data))
        elif path in self._live:
            kept = self._live[path]
            kept.sync()
            # The unix VFS syncs the folder of a journal when it first syncs the journal.
            if path.endswith(("-journal", "-wal")) and self._certain.get(path) is not kept:
                self._sync_folder()
        else:
            self._sync_folder()
        self._moment()

    def loss(self, chance: Random, spared: str = "") -> dict[str, bytes]:
        """Return the files by name as a loss of power may leave them.

        Args:
            spared: a pattern of files that are on another machine: they lose nothing.
        """
        odds, names = chance.choice(_ODDS), dict(self._certain)
        for path, kept in self._since:
            if chance.random() < odds:
                names[path] = kept or _GONE
        left = {path: kept.torn(chance, odds) for path, kept in names.items() if kept is not _GONE}
        if spared:
            left = {path: data for path, data in left.items() if not _is_like(path, spared)}
            left |= {p: k.whole() for p, k in self._live.items() if _is_like(p, spared)}
        return {path.rpartition("/")[2]: data for path, data in left.items()}

    def usage(self, folder: Path) -> Usage:
        """Say how much room there is: `shutil.disk_usage`."""
        total, used, free = disk_usage(folder)
        return Usage(total, used, free if self.free is None else self.free)

    def _sync_folder(self) -> None:
        self._certain, self._since = dict(self._live), []

    def _moment(self) -> None:
        self.moments += 1
        self.at_moment(self.moments)


_GONE = Kept()


def _is_like(path: str, pattern: str) -> bool:
    return fnmatch(path.rpartition("/")[2], pattern)


class JournalOs:
    """The `os` of `backend.journal` and `backend.disk`: the disk sees what they write and sync."""

    def __init__(self, disk: Disk, syncs: bool = True) -> None:
        self._disk = disk
        self._syncs = syncs
        self._paths: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._may("open", str(path))
        file = os.open(path, flags, mode)
        self._paths[file] = str(path)
        if not os.path.isdir(path):
            self._disk.after("open", str(path), 0, None)
        return file

    def write(self, file: int, data: bytes) -> int:
        self._may("write", self._paths[file])
        end = os.fstat(file).st_size
        count = os.write(file, data)
        self._disk.after("write", self._paths[file], end, data[:count])
        return count

    def ftruncate(self, file: int, size: int) -> None:
        self._may("truncate", self._paths[file])
        os.ftruncate(file, size)
        self._disk.after("truncate", self._paths[file], size, None)

    def fsync(self, file: int) -> None:
        if self._syncs:
            self._may("sync", self._paths[file])
            self._disk.after("sync", self._paths[file], 0, None)

    def _may(self, operation: str, path: str) -> None:
        if code := self._disk.before(operation, path):
            number = _ERRNO.get(code, errno.EIO)
            raise OSError(number, os.strerror(number))


@contextmanager
def standing_in(module: Any, **others: Any) -> Iterator[None]:
    """Let a module of the product see something else by these names."""
    before: Mapping[str, Any] = {name: vars(module)[name] for name in others}
    vars(module).update(others)
    try:
        yield
    finally:
        vars(module).update(before)


@contextmanager
def watched(folder: Path, journal_syncs: bool = True) -> Iterator[Disk]:
    """Put a disk of ours below `folder`, for SQLite and for the send journal."""
    disk = Disk(folder)
    vfs.watch(folder, disk)
    try:
        ours = JournalOs(disk, journal_syncs)
        with (
            standing_in(backend.journal, os=ours),
            standing_in(backend.disk, os=ours, disk_usage=disk.usage),
        ):
            yield disk
    finally:
        vfs.unwatch(folder)
