"""What both WebSocket servers share: sending in order, ages, pings, sudden ends."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .world import World

LIFETIME_MS = 24 * 3_600_000
PONG_LIMIT_MS = 60_000
_CLOSE_TIMEOUT_S = 0.5


@dataclass(eq=False)
class Socket:
    """One connection. Messages leave in the order of `send`, by one task."""

    connection: ServerConnection
    opened: int
    _outgoing: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    _ping: asyncio.Future[float] | None = None
    _pinged: int = 0

    def send(self, message: Any) -> None:
        self.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        self._outgoing.put_nowait(text)

    def end(self) -> None:
        """Break the connection after what was sent so far."""
        self._outgoing.put_nowait(None)

    def abort(self) -> None:
        """Break the connection now, without a closing handshake."""
        self.connection.transport.abort()

    async def run(self, receive: Callable[[str | bytes], None]) -> None:
        """Hand every message to `receive` until the connection ends."""
        sender = asyncio.create_task(self._send_all())
        try:
            async for message in self.connection:
                receive(message)
        except ConnectionClosed:
            pass  # an end without a handshake is an end
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def ping(self, now: int) -> None:
        """Ask for a sign of life; `overdue` tells whether it came."""
        with contextlib.suppress(ConnectionClosed):
            waiter = await self.connection.ping(str(now))
            self._ping, self._pinged = asyncio.ensure_future(waiter), now
            self._ping.add_done_callback(_looked_at)

    def overdue(self, now: int) -> bool:
        """Whether this connection is too old, or owes a pong for too long."""
        owes = self._ping is not None and not self._ping.done()
        return now - self.opened >= LIFETIME_MS or (owes and now - self._pinged >= PONG_LIMIT_MS)

    async def _send_all(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while (text := await self._outgoing.get()) is not None:
                await self.connection.send(text)
        self.abort()


def _looked_at(ping: asyncio.Future[float]) -> None:
    """A ping that ended with its connection is no error of ours."""
    if not ping.cancelled():
        ping.exception()


class SocketServer:
    """A WebSocket server on loopback; subclasses say which paths there are and what is spoken."""

    def __init__(self, world: World) -> None:
        self._world, self._now = world, world.now
        self._server: Server | None = None
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Listen on `port`; 0 takes a free one. `url` is set afterwards."""
        self._server = await serve(
            self._converse,
            "127.0.0.1",
            port,
            process_request=self._check_path,
            ping_interval=None,
            compression=None,
            close_timeout=_CLOSE_TIMEOUT_S,
        )
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def open_sockets(self) -> list[Socket]:
        raise NotImplementedError

    def serves(self, path: str) -> bool:
        raise NotImplementedError

    async def converse(self, connection: ServerConnection) -> None:
        raise NotImplementedError

    async def ping(self) -> None:
        """Ping every client, as the exchange does every 20 s."""
        for socket in self.open_sockets():
            await socket.ping(self._now())

    def cut_overdue(self) -> None:
        """End connections older than 24 h and those that owe a pong for a minute."""
        now = self._now()
        for socket in self.open_sockets():
            if socket.overdue(now):
                socket.abort()

    def disconnect(self) -> None:
        """Break every connection without a closing handshake."""
        for socket in self.open_sockets():
            socket.abort()

    async def _converse(self, connection: ServerConnection) -> None:
        await self.converse(connection)

    def _check_path(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self.serves(request.path.partition("?")[0]):
            return connection.respond(HTTPStatus.NOT_FOUND, "Not Found\n")
        if not self._world.limits.connect(self._now()):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests\n")
        return None
