"""Milliseconds on the wire, aware UTC inside, and the exchange's clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from backend.domain.clock import Clock
from backend.domain.errors import NO_ANSWER, ExecError, OutcomeUnknown, RateLimited

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

# A request from the future is refused; one from the past only has less time left.
_BEHIND = timedelta(milliseconds=5)
_AHEAD_AT_MOST = timedelta(milliseconds=500)
# What is further off is no clock.
_OFF_AT_MOST = timedelta(days=366)
_MEASURED_EVERY = timedelta(hours=1)
_TRIED_AGAIN_AFTER = timedelta(minutes=1)


def to_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down."""
    return (moment - _EPOCH) // _MS


def from_ms(count: int) -> datetime:
    """Return the aware UTC time of milliseconds since 1970.

    Raises:
        OverflowError: there is no such time.
    """
    return _EPOCH + timedelta(milliseconds=count)


class ServerClock:
    """The exchange's clock: ours, moved by what was measured."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = timedelta()
        self._measured_at: datetime | None = None
        self._due_at: datetime | None = None
        self._doubted = False
        self._measuring = asyncio.Lock()
        self._failures = 0
        self._failure: ExecError | None = None

    @property
    def is_known(self) -> bool:
        """Say whether it was ever measured."""
        return self._measured_at is not None

    def now(self) -> datetime:
        """Return the exchange's time as far as we know it, rather behind than ahead."""
        return self._clock() + self._offset

    def doubt(self) -> None:
        """Measure again before it is next needed: the exchange disagreed."""
        self._doubted = True

    async def ready(self, ask: Callable[[], Awaitable[datetime]]) -> None:
        """Measure by `ask` where it is due: once for all who wait, and so is its failure.

        Raises:
            What `ask` raises, if it was never measured, or is doubted.
        """
        if not self._is_due():
            return
        failures = self._failures
        async with self._measuring:
            if not self._is_due():
                return
            if self._failure is None or self._failures == failures:
                await self._try(ask)
            if self._failure is not None and (not self.is_known or self._doubted):
                raise self._failure.with_traceback(None)

    async def _try(self, ask: Callable[[], Awaitable[datetime]]) -> None:
        self._failure = None
        try:
            await self._measure(ask)
        except (*NO_ANSWER, RateLimited) as error:
            self._failure = error
            self._failures += 1
            self._due_at = self._clock() + _TRIED_AGAIN_AFTER

    async def _measure(self, ask: Callable[[], Awaitable[datetime]]) -> None:
        before = self._clock()
        theirs = await ask()
        after = self._clock()
        # The error is at most half the round trip: never let it make us a second too early.
        moment = max(before + (after - before) / 2, after - _AHEAD_AT_MOST)
        offset = theirs - moment - _BEHIND
        if abs(offset) > _OFF_AT_MOST:
            raise OutcomeUnknown("the exchange's clock is more than a year off ours")
        self._offset = offset
        self._measured_at, self._due_at = after, after + _MEASURED_EVERY
        self._doubted = False

    def _is_due(self) -> bool:
        if self._measured_at is None or self._due_at is None or self._doubted:
            return True
        # A clock that was put back must not keep an old measurement alive.
        return not self._measured_at <= self._clock() < self._due_at
