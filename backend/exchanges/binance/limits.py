"""The rate limits as this account meets them: those of the IP address, shared, and its own."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from backend.domain.clock import Clock
from backend.exchanges._budget import Budget, Purpose
from backend.exchanges.binance.answers import Answer
from backend.exchanges.binance.endpoints import (
    LIMIT_NAMES,
    PLACE,
    SOCKET_WEIGHT,
    SPANS,
    Endpoint,
    order_windows,
)

_TOO_MANY_ORDERS = -1015
_MOST = 10**12
_INTERVALS_AT_MOST = 1000
_HEADERS = {
    "x-mbx-used-weight-1m": ("weight", timedelta(minutes=1)),
    "x-mbx-order-count-10s": ("orders", timedelta(seconds=10)),
    "x-mbx-order-count-1d": ("orders", timedelta(days=1)),
}


class LimitRow(msgspec.Struct):
    """One limit, as exchangeInfo and each answer of the WebSocket API tell it."""

    kind: str = msgspec.field(name="rateLimitType", default="")
    interval: str = ""
    interval_count: int = msgspec.field(name="intervalNum", default=0)
    limit: int = 0
    count: int | None = None

    @property
    def span(self) -> timedelta:
        """Return its length; no time at all for a word we do not know."""
        return SPANS.get(self.interval, timedelta()) * self.interval_count

    @property
    def is_sane(self) -> bool:
        """Say whether its numbers are such as a limit has."""
        counts = (self.limit, self.count or 0)
        if not 0 < self.interval_count <= _INTERVALS_AT_MOST or not self.span:
            return False
        return all(0 <= count <= _MOST for count in counts)


class Limits:
    """Counts before each request, and takes over what the exchange has counted."""

    def __init__(
        self, clock: Clock, shared: Budget, order_limits: Mapping[timedelta, int] | None = None
    ) -> None:
        self._shared = shared
        self._orders = Budget(clock, order_windows(order_limits))

    def take(self, endpoint: Endpoint) -> None:
        """Spend what a request costs.

        Raises:
            RateLimited: there is no room, or the exchange told us to be silent.
        """
        if endpoint is PLACE:
            self._orders.take(Purpose.ORDER, orders=1)
        self._shared.take(endpoint.purpose, weight=endpoint.weight, raw=1)

    def take_socket(self, purpose: Purpose) -> None:
        """Spend what opening a connection, or a subscription, costs."""
        self._shared.take(purpose, weight=SOCKET_WEIGHT, raw=1)

    def may_send(self) -> None:
        """Check once more that we are not to be silent, spending nothing.

        Raises:
            RateLimited: we are.
        """
        self._orders.take(Purpose.ORDER)
        self._shared.take(Purpose.ORDER)

    def learn_headers(self, headers: Mapping[str, str]) -> None:
        """Take over the counts of a REST answer."""
        for header, (name, span) in _HEADERS.items():
            text = headers.get(header)
            if text is not None and text.isascii() and text.isdigit() and len(text) <= 12:
                self._budget(name).learn(name, span, int(text))

    def learn_rows(self, rows: Iterable[LimitRow]) -> None:
        """Take over the counts of an answer of the WebSocket API."""
        for row in rows:
            name = LIMIT_NAMES.get(row.kind)
            if name is not None and row.count is not None and row.is_sane:
                self._budget(name).learn(name, row.span, row.count, row.limit)

    def obey(self, answer: Answer) -> None:
        """Be silent for as long as the exchange said."""
        if answer.retry_at is not None:
            self._silenced(answer).wait_until(answer.retry_at)

    def wait_until(self, moment: datetime) -> None:
        """Send nothing before that moment."""
        self._shared.wait_until(moment)

    def _silenced(self, answer: Answer) -> Budget:
        return self._orders if answer.code == _TOO_MANY_ORDERS else self._shared

    def _budget(self, name: str) -> Budget:
        return self._orders if name == "orders" else self._shared
