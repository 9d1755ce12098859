"""An exchange's rate limits, counted here so that they are never reached.

Look-ups spend at most half of each window and new orders nine tenths, so that there is
always room for a cancel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from backend.domain.clock import Clock, to_et
from backend.domain.errors import RateLimited


class Purpose(Enum):
    """What a request is for, and which part of a window it may fill."""

    LOOK_UP = 0.5
    ORDER = 0.9
    CANCEL = 1.0


@dataclass(slots=True)
class Window:
    """One limit: so many units in each span of time, which begins on the clock.

    Attributes:
        name: such as `weight`, `orders`.
        used: since `began`.
    """

    name: str
    limit: int
    span: timedelta
    used: int = 0
    began: datetime | None = None

    def at(self, now: datetime) -> "Window":
        """Begin anew when the span is over."""
        span = int(self.span.total_seconds())
        stamp = int(now.timestamp())
        start = datetime.fromtimestamp(stamp - stamp % span, now.tzinfo)
        if start != self.began:
            self.began, self.used = start, 0
        return self

    @property
    def ends(self) -> datetime:
        """Return when the next span begins."""
        assert self.began is not None, "asked after `at`"
        return self.began + self.span


class Budget:
    """The windows of one exchange, shared by all of its connections in this process."""

    def __init__(self, clock: Clock, windows: Iterable[Window]) -> None:
        self._clock = clock
        self._windows = list(windows)
        self._closed_until: datetime | None = None

    def take(self, purpose: Purpose, **units: int) -> None:
        """Spend `units` by window name, or refuse before anything is sent.

        Raises:
            RateLimited: with `retry_at`.
        """
        now = self._clock()
        if self._closed_until is not None and now < self._closed_until:
            raise _limited("the exchange told us to wait", self._closed_until)
        asked = [(w.at(now), units[w.name]) for w in self._windows if units.get(w.name)]
        for window, count in asked:
            if window.used + count > int(window.limit * purpose.value):
                raise _limited(f"the room for {window.name} is used up", window.ends)
        for window, count in asked:
            window.used += count

    def learn(self, name: str, span: timedelta, used: int, limit: int | None = None) -> None:
        """Take over what the exchange itself has counted in the present span."""
        for window in self._windows:
            if (window.name, window.span) == (name, span):
                window.at(self._clock()).used = used
                window.limit = limit or window.limit

    def wait_until(self, moment: datetime) -> None:
        """Send nothing before that moment: the exchange said so."""
        if self._closed_until is None or moment > self._closed_until:
            self._closed_until = moment

    def used(self, name: str) -> int:
        """Return what is used of the first window of that name."""
        now = self._clock()
        return next(w.at(now).used for w in self._windows if w.name == name)


def _limited(why: str, retry_at: datetime) -> RateLimited:
    return RateLimited(
        f"{why}: nothing was sent; try again at {to_et(retry_at)}", retry_at=to_et(retry_at)
    )
