"""Ticks: who waits for the next one of a book is woken by whoever reads the stream, or by time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from backend.domain.clock import Clock
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


async def each_second(
    quote: Callable[[], Awaitable[Quote | None]], clock: Clock
) -> AsyncGenerator[Quote, None]:
    """Yield the quote at each new second of the clock, until there is none."""
    never = asyncio.Event()
    while (now := await quote()) is not None:
        yield now
        with suppress(TimeoutError):
            async with asyncio.timeout((1_000_000 - clock().microsecond) / 1_000_000):
                await never.wait()
