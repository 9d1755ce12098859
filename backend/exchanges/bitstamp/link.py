"""One private WebSocket connection: frames in, subscriptions out, one at a time."""

import asyncio
import json
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable
from backend.domain.exact_json import loads
from backend.domain.secret import Secret

ACK_S = 5.0
Frame = dict[str, Any]
_CLOSED: Frame = {"event": "closed here"}
WAKE: Frame = {"event": "woken here"}
MALFORMED: Frame = {"event": "malformed"}
HEARTBEAT = "bts:heartbeat"
_ERROR = "bts:error"
_SUBSCRIBED = "bts:subscription_succeeded"
_UNAUTHORISED = 4009


class TokenRefused(Exception):
    """The exchange did not take the token: it is too old, or not this user's."""


class ChannelRefused(Exception):
    """The exchange has no such channel."""


class Link:
    """One connection and its reader.

    Attributes:
        opened: by our clock.
        symbols: whose channels it listens to.
    """

    def __init__(self, socket: ClientConnection, clock: Clock) -> None:
        self.opened: datetime = clock()
        self.symbols: set[str] = set()
        self._socket = socket
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self._set_aside: deque[Frame] = deque()
        self._reader = asyncio.create_task(self._read(), name="bitstamp private stream")

    @classmethod
    async def open(cls, url: str, clock: Clock) -> "Link":
        """Return a new connection.

        Raises:
            ExchangeUnavailable: it did not open.
        """
        return cls(await wire.open_socket(url), clock)

    async def next(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None when none comes in time.

        Raises:
            ExchangeUnavailable: the connection is over.
        """
        if self._set_aside:
            return self._set_aside.popleft()
        return await self._receive(timeout_s)

    def wake(self) -> None:
        """Let `next` return `WAKE`."""
        self._inbox.put_nowait(WAKE)

    async def heartbeat(self) -> None:
        """Ask for a sign of life."""
        await wire.send_text(self._socket, json.dumps({"event": HEARTBEAT}))

    async def subscribe(self, channel: str, token: Secret) -> None:
        """Subscribe to a private channel, and wait until the exchange has said so.

        Errors name no channel, so this must be the only one under way. What else comes
        meanwhile is kept for `next`.

        Raises:
            TokenRefused, ChannelRefused: what the exchange answered.
            ExchangeUnavailable, OutcomeUnknown: the connection broke, or no answer came.
        """
        data = {"channel": channel, "auth": token.reveal()}
        await wire.send_text(self._socket, json.dumps({"event": "bts:subscribe", "data": data}))
        while True:
            frame = await self._receive(ACK_S)
            if frame is None:
                raise ExchangeUnavailable("the stream did not answer a subscription")
            if frame["event"] == _SUBSCRIBED and frame.get("channel") == channel:
                return
            if frame["event"] == _ERROR:
                refused = _is_unauthorised(frame)
                raise TokenRefused if refused else ChannelRefused
            self._set_aside.append(frame)

    async def close(self) -> None:
        """Close the connection and end its reader."""
        await self._socket.close()
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _receive(self, timeout_s: float) -> Frame | None:
        try:
            async with asyncio.timeout(timeout_s):
                frame = await self._inbox.get()
        except TimeoutError:
            return None
        if frame is _CLOSED:
            self._inbox.put_nowait(_CLOSED)
            raise ExchangeUnavailable("the private stream ended")
        return frame

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._inbox.put_nowait(_decoded(message))
        except ConnectionClosed:
            pass  # `_CLOSED` tells it, as it does a quiet end.
        finally:
            self._inbox.put_nowait(_CLOSED)


def _decoded(message: str | bytes) -> Frame:
    try:
        frame = loads(message if isinstance(message, str) else message.decode("utf-8"))
    except (ValueError, RecursionError):
        return MALFORMED
    if isinstance(frame, dict) and isinstance(frame.get("event"), str):
        return frame
    return MALFORMED


def _is_unauthorised(frame: Frame) -> bool:
    data = frame.get("data")
    return isinstance(data, dict) and data.get("code") == _UNAUTHORISED
