"""The send journal: one fsynced line before each order leaves, apart from the database.

It is the fence against a restored copy: a database that lacks what its journal holds is
older than the orders at the exchange. `services/fence.py` compares the two at start.
"""

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backend.domain.errors import Refused

# Processes that share a home write in turns: what is newest stands within this much of the end.
_TAIL_BYTES = 1024 * 1024
# Room for what must still be written of orders that are out.
_LEAST_FREE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One order that may have left, with all that is needed to write its rows again.

    Attributes:
        audit_seq, audit_hash: of the claim's own audit row.
        trade: the trade's row, the account by its id; holds: what it reserved, by currency.
    """

    audit_seq: int
    audit_hash: str
    trade_id: str
    account_id: str
    sign_time: str
    valid_until: str
    trade: Mapping[str, Any]
    holds: Mapping[str, str]


class Journal:
    """An append-only file, mode 0600.

    Attributes:
        damaged: how many lines could not be read: cut by a crash before their order left, or
            changed since.
    """

    def __init__(self, path: Path, tail_bytes: int = _TAIL_BYTES) -> None:
        self.path = path
        self._tail_bytes = tail_bytes
        self.damaged = 0
        self._file: int | None = None

    def append(self, line: Dispatch) -> None:
        """Write one line and wait for the disk.

        Raises:
            Refused: `storage`: it is not certain to be there, so the order must not leave.
        """
        body = json.dumps(asdict(line), separators=(",", ":")).encode()
        record = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            file = self._open()
            if _is_cut(file):  # By a process that died while it wrote.
                record = b"\n" + record
            if os.write(file, record) != len(record):
                raise OSError(errno.ENOSPC, "the line was cut")
            os.fsync(file)
        except OSError as error:
            self.close()
            raise _refused(error) from error

    def make_ready(self) -> None:
        """Open the file, so that what can fail fails before a claim.

        Raises:
            Refused: `storage`: it cannot be written now, or the disk is all but full.
        """
        try:
            self._open()
            free = os.statvfs(self.path.parent)
            if free.f_bavail * free.f_frsize < _LEAST_FREE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()
            raise _refused(error) from error

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return self.path.stat().st_size if self.path.exists() else 0

    def newest(self, since: int = 0) -> list[Dispatch]:
        """Return the lines at the end of the file, oldest first.

        Args:
            since: bytes that were dealt with before; a shorter file is another one.
        """
        start = max(0, self.size - self._tail_bytes)
        return list(self._lines(max(start, since if since <= self.size else 0), since))

    def all(self, since: int = 0) -> list[Dispatch]:
        """Return every line, oldest first."""
        return list(self._lines(since if since <= self.size else 0, since))

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
        return self._file

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lines(self, start: int, between: int) -> Iterator[Dispatch]:
        self.damaged = 0
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                records = file.read().split(b"\n")
        except FileNotFoundError:
            return
        # What stands before the first whole line, and after the last one, is a part.
        cut = start not in (0, between)
        for record in records[1 if cut else 0 : -1]:
            read = _read(record)
            if read is None:
                self.damaged += 1
            else:
                yield read


def _refused(error: OSError) -> Refused:
    return Refused(
        f"the send journal cannot be written ({error.strerror}); nothing was sent", "storage"
    )


def _read(record: bytes) -> Dispatch | None:
    checksum, _, body = record.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    return Dispatch(**json.loads(body))


def _is_cut(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
