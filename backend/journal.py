"""The send journal: one fsynced line before each order leaves, apart from the database.

It is the fence against a restored copy: a database that lacks what its journal holds is
older than the orders at the exchange. `services/fence.py` compares the two at start. Each
line names a row of the audit that was committed before it:

| line       | written                                             |
|------------|-----------------------------------------------------|
| `Dispatch` | before an order leaves                              |
| `Switch`   | after a kill switch was engaged or released         |
| `Head`     | first in the file, and when a server stops in order |
"""

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backend.disk import sync_folder
from backend.domain.errors import Refused

# Processes that share a home write in turns: what is newest stands within this much of the end.
_TAIL_BYTES = 1024 * 1024
# What passes by itself: there is no room now.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


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


@dataclass(frozen=True, slots=True)
class Switch:
    """One kill switch that was engaged or released, by the name of its scope."""

    audit_seq: int
    audit_hash: str
    scope: str
    engaged: bool
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Head:
    """How far the audit had come."""

    audit_seq: int
    audit_hash: str


Line = Dispatch | Switch | Head
_KINDS: dict[frozenset[str], type[Line]] = {
    frozenset(one.name for one in fields(kind)): kind for kind in (Dispatch, Switch, Head)
}


class Journal:
    """An append-only file, mode 0600.

    Attributes:
        damaged: how many lines could not be read: cut by a crash before their order left, or
            changed since.
        failure: why nothing more is written until a restart: a disk that failed to keep one
            line is not asked again.
    """

    def __init__(self, path: Path, tail_bytes: int = _TAIL_BYTES) -> None:
        self.path = path
        self._tail_bytes = tail_bytes
        self.damaged = 0
        self.failure: str | None = None
        self._file: int | None = None

    def append(self, line: Line) -> None:
        """Write one line and wait for the disk.

        Raises:
            Refused: `storage`: it is not certain to be there, so the order must not leave.
        """
        self.make_ready()
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
            if error.errno not in _NO_ROOM:
                self.failure = error.strerror
            raise _refused(error.strerror) from error

    def make_ready(self) -> None:
        """Open the file, so that what can fail fails before a claim.

        Raises:
            Refused: `storage`: it cannot be written now, or it failed before.
        """
        if self.failure:
            raise _refused(f"{self.failure}: restart the server")
        try:
            self._open()
        except OSError as error:
            self.close()
            raise _refused(error.strerror) from error

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def name(self) -> str | None:
        """Return what tells this journal from another: its first line's sum; None without one."""
        try:
            with self.path.open("rb") as file:
                first = file.readline()
        except FileNotFoundError:
            return None
        return first[:8].decode("ascii", "replace") if first.endswith(b"\n") else None

    def newest(self, since: int = 0) -> list[Line]:
        """Return the lines at the end of the file, oldest first.

        Args:
            since: bytes that were dealt with before; a shorter file is another one.
        """
        start = max(0, self.size - self._tail_bytes)
        return list(self._lines(max(start, since if since <= self.size else 0), since))

    def all(self, since: int = 0) -> list[Line]:
        """Return every line, oldest first."""
        return list(self._lines(since if since <= self.size else 0, since))

    def each(self) -> Iterator[Line]:
        """Yield every line one at a time, oldest first."""
        return self._lines(0, 0)

    def _open(self) -> int:
        if self._file is not None and not self._is_there(self._file):
            self.close()  # Deleted or replaced: what is written to it is lost.
        if self._file is None:
            self._file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
            sync_folder(self.path.parent)
        return self._file

    def _is_there(self, file: int) -> bool:
        return self.path.exists() and os.path.samestat(os.fstat(file), self.path.stat())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lines(self, start: int, between: int) -> Iterator[Line]:
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


def _refused(why: str | None) -> Refused:
    return Refused(f"the send journal cannot be written ({why}); nothing was sent", "storage")


def _read(record: bytes) -> Line | None:
    checksum, _, body = record.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    members = json.loads(body)
    kind = _KINDS.get(frozenset(members))  # Another kind was written by a later program.
    return None if kind is None else kind(**members)


def _is_cut(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
