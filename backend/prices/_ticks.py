"""Who waits for the next tick of a book: woken by whoever reads the stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from backend.domain.quote import Quote


class Ticks:
    """The watchers of one stream, by the exchange's own code of each book."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def came(self, code: str) -> None:
        """Wake whoever watches this book: it has a newer quote."""
        for event in self._waiting.get(code, ()):
            event.set()

    async def follow(
        self, code: str, newest: Callable[[], Quote | None]
    ) -> AsyncGenerator[Quote, None]:
        """Yield the newest quote, now and after each tick; ticks that came meanwhile are one."""
        with self._woken(code) as event:
            event.set()
            while True:
                await event.wait()
                event.clear()
                quote = newest()
                if quote is not None:
                    yield quote

    @contextmanager
    def _woken(self, code: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        waiting = self._waiting.setdefault(code, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(code, None)
