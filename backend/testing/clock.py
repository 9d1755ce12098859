"""Clocks that move only when told to."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from backend.domain.clock import system_clock

# 10:14:41 in New York, on a trading day.
START = datetime(2026, 5, 26, 14, 14, 41, tzinfo=UTC)

_LOOKS = 1000


class MovableClock(Protocol):
    """What the kit needs of a clock."""

    def __call__(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...

    def advance(self, seconds: float) -> None:
        """Move by this many seconds; back if negative."""
        ...


class FrozenClock:
    """A clock of its own: the product's time stands still, the system's goes on."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def __call__(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move by this many seconds; back if negative."""
        self._now += timedelta(seconds=seconds)


class FreezegunClock:
    """The system's clock as `freeze_time(…, real_asyncio=True)` shows it.

    Args:
        freezer: what `freeze_time` hands out; it is ticked to advance.

    Raises:
        RuntimeError: asyncio's clock is frozen too: everything that waits would hang.
    """

    def __init__(self, freezer: Any) -> None:
        if _stands_still():
            raise RuntimeError(
                "asyncio's clock is frozen as well, and whatever waits would hang: "
                "use freeze_time(…, real_asyncio=True)"
            )
        self._freezer = freezer

    def __call__(self) -> datetime:
        """Return the frozen system time, aware, in UTC."""
        return system_clock()

    def advance(self, seconds: float) -> None:
        """Tick the freezer by this many seconds; back if negative."""
        self._freezer.tick(timedelta(seconds=seconds))


def present_clock() -> FrozenClock | FreezegunClock:
    """Return the freezegun clock where the system's is frozen now, else a frozen one."""
    freezegun: Any = sys.modules.get("freezegun.api")
    freezers = freezegun.freeze_factories if freezegun else ()
    return FreezegunClock(freezers[-1]) if freezers else FrozenClock()


def _stands_still() -> bool:
    loop = asyncio.get_running_loop()
    start = loop.time()
    return all(loop.time() == start for _ in range(_LOOKS))
