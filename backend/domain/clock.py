"""Time: aware UTC inside, Eastern Time with offset on the way out (Law 1).

This is the only module that reads the system's clock.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

ET = ZoneInfo("America/New_York")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def elapsed_s() -> float:
    """Return seconds that go on counting while the machine is suspended, where it can."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def to_et(moment: datetime) -> str:
    """Return ISO 8601 in Eastern Time with offset: `2026-05-26T10:14:55-04:00`."""
    return moment.astimezone(ET).isoformat(timespec="seconds")


def seconds(count: float) -> timedelta:
    """Return a span of time."""
    return timedelta(seconds=count)


def to_row(moment: datetime) -> str:
    """Return fixed-width UTC text, so that the order of texts is the order of times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def from_row(text: str) -> datetime:
    """Return the aware UTC time written by `to_row`."""
    return datetime.fromisoformat(text)


def from_row_or_none(text: str | None) -> datetime | None:
    """Return the time of a column that may be empty."""
    return None if text is None else from_row(text)


def session_end(after: datetime, session: str) -> datetime:
    """Return the instant at which a `day` order sent at `after` ends.

    Args:
        after: aware.
        session: `us_equity` ends at 16:00 ET; `continuous` at 00:00 UTC.
    """
    if session == "us_equity":
        local = after.astimezone(ET)
        end = local.replace(hour=16, minute=0, second=0, microsecond=0)
        if end <= local:
            end = (end + timedelta(days=1)).replace(hour=16)
        return end.astimezone(UTC)
    midnight = after.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)


def process_name() -> str:
    """Return a name for this process that no other on this machine has now."""
    return f"{os.getpid()}-{time.monotonic_ns()}"
