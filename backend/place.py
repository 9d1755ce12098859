"""Which file this is: a copy of it is another file, a moved folder's is the same.

The file's number alone does not tell: it is given out again once the file is deleted.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

# Source: statx(2) and linux/stat.h, read 2026-11-20.
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_SIZE = 256
_BTIME_AT = 80


def place_of(path: Path) -> str:
    """Return the file's number on its volume and, where that is kept, when it was made.

    Raises:
        OSError: there is no such file.
    """
    found = os.stat(path)
    return f"{found.st_ino} {_made(path, found)}".rstrip()


def _made(path: Path, found: os.stat_result) -> str:
    if sys.platform == "linux":  # Where `os.stat` does not tell it.
        return _made_on_linux(path)
    return str(getattr(found, "st_birthtime", ""))


def _made_on_linux(path: Path) -> str:
    library = ctypes.CDLL(None)
    if not hasattr(library, "statx"):
        return ""
    told = ctypes.create_string_buffer(_STATX_SIZE)
    if library.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, told):
        return ""
    (mask,) = struct.unpack_from("=I", told)
    seconds, nanoseconds = struct.unpack_from("=qI", told, _BTIME_AT)
    return f"{seconds}.{nanoseconds:09}" if mask & _STATX_BTIME else ""
