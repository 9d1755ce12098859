"""A storage layer under SQLite, in Python: it sees every write and can fail any call.

SQLite reaches the disk through a table of C functions, its VFS. This one is a copy of the unix
VFS whose `xOpen` and `xDelete` are ours; a file opened below a watched folder gets a copy of its
own table of methods, whose `xRead`, `xWrite`, `xTruncate` and `xSync` are ours. Everything else
(locks, shared memory of a WAL, …) stays the unix VFS's own code on the unix VFS's own object, so
nothing has to be forwarded.

Sources: sqlite.org/c3ref/vfs.html, sqlite.org/c3ref/io_methods.html, read 2026-11-20.
"""

import ctypes
import importlib
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from backend.database import sqlite3

OK = 0
READONLY, FULL, CANTOPEN = 8, 13, 14
IOERR_READ, IOERR_WRITE, IOERR_FSYNC = 0x010A, 0x030A, 0x040A
IOERR_DIR_FSYNC, IOERR_TRUNCATE, IOERR_DELETE = 0x050A, 0x060A, 0x0A0A
_NAMES = ("sqlite3_vfs_find", "sqlite3_vfs_register")

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_READ = _WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3: a table of functions and what they share."""

    _fields_ = (
        ("iVersion", c_int),  # 3: all of the fields below are there.
        ("szOsFile", c_int),  # Room that the caller gives xOpen for the file's object.
        ("mxPathname", c_int),
        ("pNext", c_void_p),  # The list of registered ones is SQLite's.
        ("zName", c_char_p),
        ("pAppData", c_void_p),  # How the unix VFS chooses its way of locking.
        ("xOpen", c_void_p),  # (vfs, path or NULL, file, flags, flags out)
        ("xDelete", c_void_p),  # (vfs, path, whether the folder is to be synced too)
        # xAccess xFullPathname xDlOpen xDlError xDlSym xDlClose xRandomness xSleep xCurrentTime
        # xGetLastError; version 2: xCurrentTimeInt64; version 3: x{Set,Get,Next}SystemCall.
        ("others", c_void_p * 14),
    )


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3: what can be done with one open file."""

    _fields_ = (
        ("iVersion", c_int),
        ("xClose", c_void_p),
        ("xRead", c_void_p),  # (file, buffer, count, offset)
        ("xWrite", c_void_p),  # (file, buffer, count, offset)
        ("xTruncate", c_void_p),  # (file, size)
        ("xSync", c_void_p),  # (file, flags)
        # xFileSize xLock xUnlock xCheckReservedLock xFileControl xSectorSize
        # xDeviceCharacteristics; version 2: xShmMap xShmLock xShmBarrier xShmUnmap; version 3:
        # xFetch xUnfetch.
        ("others", c_void_p * 13),
    )


class _File(ctypes.Structure):
    """`sqlite3_file`: the unix VFS keeps its own fields after this one."""

    _fields_ = (("pMethods", POINTER(_Methods)),)


class Watcher(Protocol):
    """Who sees the storage calls of one folder.

    `before` may refuse a call by an error code; `after` is told of one that was made.
    Operations: `open` (`data` None), `read`, `write`, `truncate`, `sync`, `delete`.
    """

    def before(self, operation: str, path: str) -> int: ...
    def after(self, operation: str, path: str, offset: int, data: bytes | None) -> None: ...


_WATCHERS: dict[str, Watcher] = {}
_PATHS: dict[int, tuple[Watcher, str]] = {}
# SQLite keeps pointers into these for as long as the process lives.
_KEPT: list[Any] = []


def watch(folder: Path, watcher: Watcher) -> None:
    """Let `watcher` see what SQLite does below `folder` from now on."""
    _install()
    _WATCHERS[str(folder.resolve()) + "/"] = watcher


def unwatch(folder: Path) -> None:
    """Look away again: files that are opened from now on are SQLite's own business."""
    del _WATCHERS[str(folder.resolve()) + "/"]


def missing() -> str | None:
    """Say why there can be no such layer on this platform, or None."""
    library = _library()
    absent = [name for name in _NAMES if not hasattr(library, name)]
    return f"{sqlite3.__name__} does not export {', '.join(absent)}" if absent else None


@cache
def _library() -> ctypes.CDLL:
    """Return the very library whose SQLite the product runs on."""
    package = sqlite3.__name__.partition(".")[0]
    extension = importlib.import_module(
        "_sqlite3" if package == "sqlite3" else f"{package}._sqlite3"
    )
    return ctypes.CDLL(extension.__file__)


def _watcher_of(path: str) -> Watcher | None:
    return next((w for folder, w in _WATCHERS.items() if path.startswith(folder)), None)


def _call(
    operation: str,
    watcher: Watcher,
    path: str,
    real: Callable[[], int],
    offset: int = 0,
    data: bytes | None = None,
) -> int:
    """Make a call that the watcher may refuse, and tell it of one that was made."""
    if code := watcher.before(operation, path):
        return code
    code = int(real())
    if code == OK and operation != "read":
        watcher.after(operation, path, offset, data)
    return code


@cache
def _install() -> None:
    """Register the layer as the default, once: from now on SQLite opens files through it."""
    library = _library()
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    unix = library.sqlite3_vfs_find(None)
    ours = _Vfs.from_buffer_copy(unix.contents)
    ours.zName, ours.pNext = b"watched", None
    real_open, real_delete = _OPEN(unix.contents.xOpen), _DELETE(unix.contents.xDelete)
    itself = ctypes.addressof(unix.contents)

    def opening(_: int, name: int | None, file: int, flags: int, out: int) -> int:
        path = ctypes.string_at(name).decode() if name else ""
        watcher, real = _watcher_of(path), partial(real_open, itself, name, file, flags, out)
        if watcher is None:
            return int(real())
        opened = _File.from_address(file)
        opened.pMethods = None  # Where it stays so there is nothing to close.
        code = _call("open", watcher, path, real)
        if code == OK:
            opened.pMethods = ctypes.pointer(_methods(ctypes.addressof(opened.pMethods.contents)))
            _PATHS[file] = (watcher, path)
        return code

    def deleting(_: int, name: bytes, synced: int) -> int:
        path = name.decode()
        watcher, real = _watcher_of(path), partial(real_delete, itself, name, synced)
        if watcher is None:
            return int(real())
        code = _call("delete", watcher, path, real)
        if code != OK or not synced:
            return code
        # A folder whose sync fails has lost the name all the same.
        return _call("sync", watcher, path.rpartition("/")[0], lambda: OK)

    callbacks = (_OPEN(opening), _DELETE(deleting))
    ours.xOpen, ours.xDelete = (ctypes.cast(one, c_void_p) for one in callbacks)
    _KEPT.extend((unix, ours, callbacks))
    if library.sqlite3_vfs_register(ctypes.byref(ours), 1) != OK:
        raise RuntimeError("SQLite takes no VFS")


@cache
def _methods(address: int) -> _Methods:
    """Return a copy of the table at `address`, with our way to read, write, cut and sync."""
    real = _Methods.from_address(address)
    ours = _Methods.from_buffer_copy(real)
    read, write = _READ(real.xRead), _WRITE(real.xWrite)
    truncate, sync = _TRUNCATE(real.xTruncate), _SYNC(real.xSync)

    def reading(file: int, buffer: int, count: int, offset: int) -> int:
        return _call("read", *_PATHS[file], partial(read, file, buffer, count, offset))

    def writing(file: int, buffer: int, count: int, offset: int) -> int:
        data = ctypes.string_at(buffer, count)
        doing = partial(write, file, buffer, count, offset)
        return _call("write", *_PATHS[file], doing, offset, data)

    def cutting(file: int, size: int) -> int:
        return _call("truncate", *_PATHS[file], partial(truncate, file, size), size)

    def syncing(file: int, flags: int) -> int:
        return _call("sync", *_PATHS[file], partial(sync, file, flags))

    callbacks = (_READ(reading), _WRITE(writing), _TRUNCATE(cutting), _SYNC(syncing))
    ours.xRead, ours.xWrite, ours.xTruncate, ours.xSync = (
        ctypes.cast(one, c_void_p) for one in callbacks
    )
    _KEPT.append((ours, callbacks))
    return ours
