"""One private WebSocket connection: frames in, subscriptions out, one at a time."""

import asyncio
import json
from collections import deque
from datetime import datetime
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable
from backend.domain.secret import Secret
from backend.exchanges.bitstamp.fields import read_json

ACK_S = 5.0
Frame = dict[str, Any]
_CLOSED: Frame = {"event": "closed here"}
WAKE: Frame = {"event": "woken here"}
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

    def __init__(self, socket: ClientConnection, clock: Clock, ack_s: float) -> None:
        self.opened: datetime = clock()
        self.symbols: set[str] = set()
        self._socket = socket
        self._ack_s = ack_s
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self._set_aside: deque[Frame] = deque()
        self._reader = asyncio.create_task(self._read(), name="bitstamp private stream")

    @classmethod
    async def open(cls, url: str, clock: Clock, ack_s: float = ACK_S) -> "Link":
        """Return a new connection.

        Args:
            ack_s: how long a subscription may take.

        Raises:
            ExchangeUnavailable: it did not open.
        """
        return cls(await wire.open_socket(url), clock, ack_s)

    async def next(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None when none comes in time.

        Raises:
            ExchangeUnavailable: the connection is over.
        """
        if self._set_aside:
            return self._set_aside.popleft()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._receive()
        except TimeoutError:
            return None

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
        try:
            async with asyncio.timeout(self._ack_s):
                await self._ask(channel, json.dumps({"event": "bts:subscribe", "data": data}))
        except TimeoutError:
            raise ExchangeUnavailable("the stream did not answer a subscription") from None

    async def _ask(self, channel: str, request: str) -> None:
        await wire.send_text(self._socket, request)
        while True:
            frame = await self._receive()
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
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _receive(self) -> Frame:
        frame = await self._inbox.get()
        if frame is _CLOSED:
            self._inbox.put_nowait(_CLOSED)
            raise ExchangeUnavailable("the private stream ended")
        return frame

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._inbox.put_nowait(_decoded(message))
        except (ConnectionClosed, ValueError):
            pass  # `_CLOSED` tells it, as it does a quiet end. Nobody knows what was garbled.
        finally:
            self._inbox.put_nowait(_CLOSED)


def _decoded(message: str | bytes) -> Frame:
    frame = read_json(message)
    if isinstance(frame, dict) and isinstance(frame.get("event"), str):
        return frame
    raise ValueError("not a frame")


def _is_unauthorised(frame: Frame) -> bool:
    data = frame.get("data")
    return isinstance(data, dict) and data.get("code") == _UNAUTHORISED
