"""One clock for many processes: the system's, put forward for all of them by any of them."""

import mmap
import struct
from datetime import datetime, timedelta
from pathlib import Path

from backend.domain.clock import system_clock

_MICROSECONDS = struct.Struct("<q")


class SharedClock:
    """The system's clock plus an offset that stands in a file which every process maps.

    Who has the same file sees a step at the same instant. It is never put back.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_MICROSECONDS.pack(0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _MICROSECONDS.size)

    def __call__(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return system_clock() + self.offset

    @property
    def offset(self) -> timedelta:
        """Return how far ahead of the system's clock it is."""
        return timedelta(microseconds=_MICROSECONDS.unpack(self._shared)[0])

    def advance(self, seconds: float) -> None:
        """Put the clock of every process forward. One process does so at a time."""
        ahead = self.offset + timedelta(seconds=seconds)
        _MICROSECONDS.pack_into(self._shared, 0, ahead // timedelta(microseconds=1))
