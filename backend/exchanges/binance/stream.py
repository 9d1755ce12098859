"""The account's own news: executionReport events of a WebSocket API connection of their own.

There is no snapshot: whoever subscribes looks everything up. A connection that is about to
end is replaced by one that overlaps it, and what both tell is told once.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from itertools import count
from typing import NamedTuple

import msgspec

from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, RateLimited
from backend.domain.order import Fill, OrderReport, Side
from backend.exchanges import Event
from backend.exchanges.binance.answers import read, understood
from backend.exchanges.binance.api_socket import SHUTDOWN, ApiSocket, OnEvent, kind_of
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.orders import number, reason_of, state_of
from backend.exchanges.binance.times import from_ms

_REPORT = "executionReport"
_TERMINATED = "eventStreamTerminated"
_TRADED = "TRADE"
_SILENCE = msgspec.Raw(b'{"e":""}')

# The exchange ends a connection after 24 h.
_RENEW_AFTER = timedelta(hours=23)
_LOOK_AT_THE_CLOCK_S = 60
_WAITING_AT_MOST = 10_000
_REMEMBERED = 10_000


class ExecutionReport(msgspec.Struct):
    """One event of one order; each attribute by the letter that the exchange gives it."""

    code: str = msgspec.field(name="s")
    client_order_id: str = msgspec.field(name="c")
    side: str = msgspec.field(name="S")
    quantity: str = msgspec.field(name="q")
    kind: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    order_id: int = msgspec.field(name="i")
    filled: str = msgspec.field(name="z")
    last_quantity: str = msgspec.field(name="l")
    last_price: str = msgspec.field(name="L")
    at: int = msgspec.field(name="T")
    execution_id: int = msgspec.field(name="I")
    former_client_order_id: str = msgspec.field(name="C", default="")
    refused: str = msgspec.field(name="r", default="")
    expiry: str = msgspec.field(name="eR", default="")
    fee: str | None = msgspec.field(name="n", default=None)
    fee_currency: str | None = msgspec.field(name="N", default=None)
    fill_id: int = msgspec.field(name="t", default=-1)
    is_maker: bool = msgspec.field(name="m", default=False)

    @property
    def order_name(self) -> str:
        """Return the order's client id: a cancel's report has it as the former one."""
        return self.former_client_order_id or self.client_order_id


def report_of(told: ExecutionReport, codes: Codes) -> OrderReport:
    """Return what an event says.

    Raises:
        ValueError: a number is malformed.
    """
    symbol = codes.symbol(told.code)
    filled = number(told.filled)
    fill = _fill(told, symbol, codes) if told.kind == _TRADED else None
    return OrderReport(
        client_order_id=told.order_name,
        exchange_order_id=str(told.order_id),
        symbol=symbol,
        side=Side(told.side.lower()),
        quantity=number(told.quantity),
        state=state_of(told.status, filled),
        filled_quantity=filled,
        fills=() if fill is None else (fill,),
        reason=reason_of(told.status, told.expiry or told.refused),
    )


def _fill(told: ExecutionReport, symbol: str, codes: Codes) -> Fill | None:
    quantity = number(told.last_quantity)
    # Without a number it cannot be told from another: the look-up brings it.
    if not quantity or told.fill_id < 0:
        return None
    return Fill(
        str(told.order_id),
        str(told.fill_id),
        told.order_name,
        symbol,
        Side(told.side.lower()),
        quantity,
        number(told.last_price),
        number(told.fee or "0"),
        told.fee_currency or codes.quote(symbol),
        "maker" if told.is_maker else "taker",
        from_ms(told.at),
    )


class Line(NamedTuple):
    """One subscribed connection."""

    number: int
    socket: ApiSocket


# Opens a connection and subscribes; what it brings goes to the function given.
Subscribe = Callable[[OnEvent], Awaitable[ApiSocket]]


class UserStream:
    """One reader's stream: at most two connections at a time."""

    def __init__(self, subscribe: Subscribe, codes: Codes, clock: Clock) -> None:
        self._subscribe = subscribe
        self._codes = codes
        self._clock = clock
        self._numbers = count(1)
        self._lines: list[Line] = []
        self._inbox: asyncio.Queue[tuple[int, msgspec.Raw | None]] = asyncio.Queue(_WAITING_AT_MOST)
        self._fell_behind = False
        self._closed = False
        self._seen: dict[tuple[str, int, int], None] = {}

    async def events(self) -> AsyncGenerator[Event, None]:
        """Stream the news from now on; begins with "look everything up".

        Raises:
            ExchangeUnavailable, OutcomeUnknown: the connection is over.
        """
        try:
            await self._open()
            yield Event(None)
            async with aclosing(self._news()) as news:
                async for event in news:
                    yield event
        finally:
            await self.close()

    async def close(self) -> None:
        """End its connections, and with them the stream."""
        self._closed = True
        while self._lines:
            await self._lines.pop().socket.close()

    async def _news(self) -> AsyncGenerator[Event, None]:
        while True:
            line, event = await self._next()
            kind = "" if event is None else kind_of(event)
            is_newest = bool(self._lines) and line == self._lines[-1].number
            if event is not None and kind == _REPORT:
                told = read(event, ExecutionReport)
                if self._is_new(told):
                    with understood():
                        report = report_of(told, self._codes)
                    yield Event(report)
            elif event is None and (is_newest or not self._lines):
                raise ExchangeUnavailable("the private stream was closed")
            elif kind is None:
                yield Event(None)
            ends = is_newest and kind in (SHUTDOWN, _TERMINATED)
            if (ends or self._is_old()) and not await self._replaced(kind != _TERMINATED):
                yield Event(None)

    async def _next(self) -> tuple[int, msgspec.Raw | None]:
        """Return what came next and on which line; line 0 when a minute passed in silence."""
        if self._fell_behind:
            raise ExchangeUnavailable("the private stream brought more than could be read")
        try:
            async with asyncio.timeout(_LOOK_AT_THE_CLOCK_S):
                return await self._inbox.get()
        except TimeoutError:
            return 0, _SILENCE

    def _is_new(self, told: ExecutionReport) -> bool:
        key = told.code, told.order_id, told.execution_id
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def _is_old(self) -> bool:
        if not self._lines:
            return False
        return self._clock() - self._lines[-1].socket.opened_at >= _RENEW_AFTER

    async def _replaced(self, was_live: bool) -> bool:
        """Open the next connection before the last one goes; say whether they overlapped."""
        old = self._lines[-1]
        await self._open()
        overlapped = was_live and old.socket.connected
        self._lines = self._lines[-1:]
        await old.socket.close()
        return overlapped

    async def _open(self) -> None:
        number = next(self._numbers)

        def take(event: msgspec.Raw | None) -> None:
            try:
                self._inbox.put_nowait((number, event))
            except asyncio.QueueFull:
                self._fell_behind = True

        try:
            socket = await self._subscribe(take)
        except RateLimited as error:
            raise ExchangeUnavailable(error.detail) from None
        self._lines.append(Line(number, socket))
        if self._closed:  # Meanwhile.
            await self.close()
            raise ExchangeUnavailable("the private stream was closed")
