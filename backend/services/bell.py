"""Waking whoever waits for news, without anybody polling for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from backend.database import Database
from backend.domain.errors import ExecError
from backend.store import audit

# Another process of the home commits without a word to us.
_LOOK_EVERY_S = 0.2


class Bell:
    """Something that happens now and then, and whoever waits for it."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Wake everybody who waits."""
        for waiting in self._waiting:
            waiting.set()

    @contextmanager
    def wakes(self, event: asyncio.Event) -> Iterator[None]:
        """Set `event` at each ring meanwhile."""
        self._waiting.add(event)
        try:
            yield
        finally:
            self._waiting.discard(event)


class AuditBell(Bell):
    """Rings when the audit has grown: at once for this process, within 0.2 s for others.

    However many wait, one task looks at the audit's head, and only while somebody waits.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._nudged = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        database.after_commit = self._nudged.set

    @contextmanager
    def wakes(self, event: asyncio.Event) -> Iterator[None]:
        """Set `event` whenever the audit has grown meanwhile."""
        with super().wakes(event):
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(), name="look at the audit")
            yield

    async def close(self) -> None:
        """Stop looking, and wake everybody."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self.ring()

    async def _look(self) -> None:
        known = None
        while self._waiting:
            self._nudged.clear()
            head = None
            with suppress(ExecError):  # Who waits looks as well, and tells the caller why.
                head = await self._database.read(audit.head)
            if head is None or head != known:
                known = head
                self.ring()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._nudged.wait()
