"""What waits to be written to one client: bounded, and of each price only the newest.

A market update that was not read yet is replaced by the next of its symbol; everything else
keeps its place and is never dropped. Where that does not fit, the connection has to end.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

MAX_MESSAGES = 2048
MAX_BYTES = 8 * 1024 * 1024


class Waiting(NamedTuple):
    """One frame on its way. `key` names what a newer one may replace; None: nothing."""

    text: str
    key: str | None


class Outbox:
    """A queue of frames with a bound.

    Attributes:
        overflowed: it did not fit: nothing more is taken.
        replaced: how many updates were never read.
    """

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.overflowed = False
        self.replaced = 0
        self._most = max_messages
        self._most_bytes = max_bytes
        self._bytes = 0
        self._number = 0
        self._waiting: OrderedDict[int | str, Waiting] = OrderedDict()
        self._filled = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, text: str, key: str | None = None) -> None:
        """Queue one frame; see `overflowed`."""
        if self.overflowed:
            return
        name: int | str = self._number if key is None else key
        self._number += 1
        before = self._waiting.get(name)
        if before is not None:
            self.replaced += 1
            self._bytes -= len(before.text)
        self._waiting[name] = Waiting(text, key)  # In its old place, if it had one.
        self._bytes += len(text)
        self.overflowed = len(self._waiting) > self._most or self._bytes > self._most_bytes
        if self._written.is_set():
            self._written = asyncio.Event()
        self._filled.set()

    async def get(self) -> str:
        """Return the frame that waited longest."""
        while not self._waiting:
            self._written.set()  # Whoever asks again has written what it had.
            self._filled = asyncio.Event()
            await self._filled.wait()
        _, waiting = self._waiting.popitem(last=False)
        self._bytes -= len(waiting.text)
        return waiting.text

    async def written(self) -> None:
        """Wait until everything was written."""
        await self._written.wait()
