"""Rate limits in fixed windows of the injected clock, shared by REST and the WebSocket API."""

from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError

_LENGTH_MS = {"SECOND": 1000, "MINUTE": 60_000, "DAY": 86_400_000}


@dataclass(slots=True)
class Window:
    """A count that starts again at every clock-aligned multiple of its length."""

    kind: str
    interval: str
    number: int
    limit: int
    started: int = 0
    used: int = 0

    @property
    def length_ms(self) -> int:
        return _LENGTH_MS[self.interval] * self.number

    def roll(self, now: int) -> bool:
        """Move to the window of `now`; True if that is a new one."""
        start = now - now % self.length_ms
        if start == self.started:
            return False
        self.started, self.used = start, 0
        return True

    def ends(self) -> int:
        return self.started + self.length_ms

    def row(self) -> dict[str, Any]:
        """The window as exchangeInfo shows it."""
        return {
            "rateLimitType": self.kind,
            "interval": self.interval,
            "intervalNum": self.number,
            "limit": self.limit,
        }

    def counted(self) -> dict[str, Any]:
        return {**self.row(), "count": self.used}


def _order_windows() -> list[Window]:
    return [Window("ORDERS", "SECOND", 10, 100), Window("ORDERS", "DAY", 1, 200_000)]


@dataclass(slots=True)
class OrderCount:
    """The unfilled-order count of one account."""

    windows: list[Window] = field(default_factory=_order_windows)
    refund: int = 0

    def roll(self, now: int) -> None:
        """Enter the window of `now`; what fills gave back shows only from here on."""
        for window in self.windows:
            window.roll(now)
            window.used = max(0, window.used - self.refund)
        self.refund = 0

    def admit(self, now: int) -> None:
        """Refuse an order that would be too many. Raises ApiError -1015."""
        self.roll(now)
        for window in self.windows:
            if window.used + 1 > window.limit:
                every = f"{window.number} {window.interval}"
                text = f"Too many new orders; current limit is {window.limit} orders per {every}."
                data = {"serverTime": now, "retryAfter": window.ends()}
                raise ApiError(-1015, text, 429, data, _retry_after(window.ends(), now))

    def add(self) -> None:
        for window in self.windows:
            window.used += 1

    def headers(self) -> dict[str, str]:
        names = (f"X-MBX-ORDER-COUNT-{w.number}{w.interval[0]}" for w in self.windows)
        return dict(zip(names, (str(window.used) for window in self.windows), strict=True))


class Limits:
    """The limits of one IP address: request weight, raw requests, bans."""

    def __init__(self) -> None:
        self.weight = Window("REQUEST_WEIGHT", "MINUTE", 1, 6000)
        self.raw = Window("RAW_REQUESTS", "MINUTE", 5, 300_000)
        self.connections = Window("CONNECTIONS", "MINUTE", 5, 300)
        self.orders = _order_windows()
        self.patience = 3
        self._ignored = self._bans = self._banned_until = 0

    def rows(self) -> list[dict[str, Any]]:
        return [window.row() for window in (self.weight, *self.orders, self.raw)]

    def set_limit(self, kind: str, limit: int, interval: str | None = None) -> list[Window]:
        """Change the limit of a kind (and interval); returns the windows that changed."""
        every = [self.weight, self.raw, self.connections, *self.orders]
        chosen = [w for w in every if w.kind == kind and interval in (None, w.interval)]
        if not chosen:
            raise ValueError(f"no limit of kind {kind!r} and interval {interval!r}")
        for window in chosen:
            window.limit = limit
        return chosen

    def new_order_count(self) -> OrderCount:
        copies = [Window(w.kind, w.interval, w.number, w.limit) for w in self.orders]
        return OrderCount(copies)

    def admit(self, now: int, weight: int) -> None:
        """Refuse a request beyond the limits. Raises ApiError 429, and 418 if that is ignored."""
        if now < self._banned_until:
            raise self._banned(now)
        if self.weight.roll(now):
            self._ignored = 0
        self.raw.roll(now)
        self.raw.used += 1
        if self.weight.used + weight <= self.weight.limit and self.raw.used <= self.raw.limit:
            return
        self._ignored += 1
        if self._ignored > self.patience:
            self.ban(now, 120_000 * 2**self._bans)
            raise self._banned(now)
        raise self._too_much(now)

    def connect(self, now: int) -> bool:
        """Count one WebSocket connection; False if that is one too many."""
        self.connections.roll(now)
        self.connections.used += 1
        return self.connections.used <= self.connections.limit

    def charge(self, weight: int) -> None:
        self.weight.used += weight

    def ban(self, now: int, length_ms: int) -> None:
        """Answer 418 to everything until `now + length_ms`."""
        self._bans += 1
        self._banned_until = now + length_ms

    def headers(self) -> dict[str, str]:
        used = str(self.weight.used)
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    def _too_much(self, now: int) -> ApiError:
        window = self.raw if self.raw.used > self.raw.limit else self.weight
        text = (
            f"Too much request weight used; current limit is {self.weight.limit} request weight "
            "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
        data = {"serverTime": now, "retryAfter": window.ends()}
        return ApiError(-1003, text, 429, data, _retry_after(window.ends(), now))

    def _banned(self, now: int) -> ApiError:
        until = self._banned_until
        text = (
            f"Way too much request weight used; IP banned until {until}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        data = {"serverTime": now, "retryAfter": until}
        return ApiError(-1003, text, 418, data, _retry_after(until, now))


def _retry_after(until: int, now: int) -> dict[str, str]:
    return {"Retry-After": str(max(1, -(-(until - now) // 1000)))}
