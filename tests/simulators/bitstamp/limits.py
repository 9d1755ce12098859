"""Rate limits by the injected clock: 400 in a second, 10,000 in ten minutes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.simulators.bitstamp.wire import milliseconds

SECOND_MS = 1000
TEN_MINUTES_MS = 600_000


@dataclass(slots=True)
class Limits:
    """Counts every request; a refused one counts too."""

    clock: Callable[[], datetime]
    per_second: int = 400
    per_ten_minutes: int = 10_000
    status: int = 200
    _seen: deque[int] = field(default_factory=deque)

    def is_exceeded(self) -> bool:
        """Count a request that arrives now; whether it is one too many."""
        now = milliseconds(self.clock())
        while self._seen and now - self._seen[0] >= TEN_MINUTES_MS:
            self._seen.popleft()
        self._seen.append(now)
        return len(self._seen) > self.per_ten_minutes or self._in_last_second(now)

    def _in_last_second(self, now: int) -> bool:
        if len(self._seen) <= self.per_second:
            return False
        return now - self._seen[-1 - self.per_second] < SECOND_MS
