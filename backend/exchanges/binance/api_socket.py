"""The WebSocket API: many requests in flight on one connection, answers matched by id."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import OutcomeUnknown
from backend.exchanges.binance.answers import NOT_UNDERSTOOD, Answer, ErrorBody, from_socket
from backend.exchanges.binance.limits import LimitRow, Limits
from backend.exchanges.binance.signing import Params

# One event as JSON, or None: the connection is over.
OnEvent = Callable[[msgspec.Raw | None], None]
_NOTHING = msgspec.Raw(b"")


class Frame(msgspec.Struct):
    """Whatever the exchange sends: an answer, or an event."""

    id: int | str | None = None
    status: int = 0
    result: msgspec.Raw = _NOTHING
    error: ErrorBody | None = None
    rate_limits: list[LimitRow] | None = msgspec.field(name="rateLimits", default=None)
    event: msgspec.Raw = _NOTHING


class EventKind(msgspec.Struct):
    """What an event says it is."""

    kind: str = msgspec.field(name="e")


SHUTDOWN = "serverShutdown"
_decoder = msgspec.json.Decoder(Frame)
_kinds = msgspec.json.Decoder(EventKind)
_encode = msgspec.json.Encoder().encode


def kind_of(event: msgspec.Raw) -> str | None:
    """Return an event's name, or None: it cannot be read."""
    try:
        return _kinds.decode(event).kind
    except NOT_UNDERSTOOD:
        return None


class ApiSocket:
    """One connection. What was in flight when it broke has an unknown outcome."""

    def __init__(
        self,
        socket: ClientConnection,
        clock: Clock,
        limits: Limits,
        on_event: OnEvent | None = None,
        answer_s: float = wire.ANSWER_S,
    ) -> None:
        self._socket = socket
        self._clock = clock
        self._limits = limits
        self._on_event = on_event
        self._answer_s = answer_s
        self._ids = count(1)
        self._waiting: dict[int | str | None, asyncio.Future[Frame | None]] = {}
        self._retired = False
        self.opened_at = clock()
        self._reader = asyncio.create_task(self._read())

    @property
    def is_open(self) -> bool:
        """Say whether a new request may go out on it."""
        return not self._retired and self._socket.state is State.OPEN

    @property
    def connected(self) -> bool:
        """Say whether it still delivers, even if it takes no new request."""
        return self._socket.state is State.OPEN

    @property
    def ended(self) -> bool:
        """Say whether nothing of it is left."""
        return self._reader.done()

    async def ask(self, method: str, params: Params) -> Answer:
        """Send one request, once, and wait for its answer.

        Raises:
            ExchangeUnavailable: the connection was closed before: no byte was written.
            OutcomeUnknown: no answer came.
        """
        request_id = next(self._ids)
        request: dict[str, Any] = {"id": request_id, "method": method, "params": params}
        answered: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answered
        try:
            async with asyncio.timeout(self._answer_s):
                await wire.send_text(self._socket, _encode(request).decode())
                frame = await answered
        except TimeoutError:
            self.retire()  # It may be dead without knowing it.
            raise OutcomeUnknown("no answer came over the socket in time") from None
        finally:
            self._waiting.pop(request_id, None)
            self._let_go()
        if frame is None:
            raise OutcomeUnknown("the socket closed before the answer came")
        return self._answer(frame)

    def retire(self) -> None:
        """Take no new request; what is in flight may still be answered."""
        self._retired = True

    def _let_go(self) -> None:
        """End a retired connection at once when nothing waits for it any more."""
        if self._is_over:
            # Without a word: the other side may be dead, and its reader waits for a frame.
            self._socket.transport.abort()

    @property
    def _is_over(self) -> bool:
        return self._retired and self._on_event is None and not self._waiting

    async def close(self) -> None:
        """End the connection and its reader."""
        await self._socket.close()
        await asyncio.gather(self._reader, return_exceptions=True)

    def _answer(self, frame: Frame) -> Answer:
        if frame.status == 200:
            return Answer(200, frame.result)
        answer = from_socket(frame.status, frame.error, self._clock())
        self._limits.obey(answer)
        return answer

    async def _read(self) -> None:
        try:
            while not self._is_over:
                self._take(_decoder.decode(await self._socket.recv(decode=False)))
        except (ConnectionClosed, *NOT_UNDERSTOOD):
            pass  # Closed, or not what it should be: either way nothing more can be told apart.
        finally:
            self._end()
        await self._socket.close()

    def _take(self, frame: Frame) -> None:
        if frame.rate_limits:
            self._limits.learn_rows(frame.rate_limits)
        if frame.event is not _NOTHING:
            self._take_event(frame.event)
            return
        answered = self._waiting.get(frame.id)
        if answered is not None and not answered.done():
            answered.set_result(frame)

    def _take_event(self, event: msgspec.Raw) -> None:
        if kind_of(event) == SHUTDOWN:
            self.retire()
        if self._on_event is not None:
            self._on_event(event)

    def _end(self) -> None:
        self._retired = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_result(None)
        if self._on_event is not None:
            self._on_event(None)


async def open_api_socket(
    url: str,
    clock: Clock,
    limits: Limits,
    on_event: OnEvent | None = None,
    answer_s: float = wire.ANSWER_S,
) -> ApiSocket:
    """Open a connection.

    Raises:
        ExchangeUnavailable: it did not open.
    """
    return ApiSocket(await wire.open_socket(url), clock, limits, on_event, answer_s)
