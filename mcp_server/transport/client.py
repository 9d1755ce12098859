"""MCP over WebSocket, the client's side: for `fastmcp.Client` and for the bare SDK session.

The connection is kept: when it breaks it is opened again, later and later, and what was
under way becomes what `pending.py` says. The token goes into the Authorization header.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import anyio
import httpx2
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from fastmcp.client.transports.base import ClientTransport, SessionKwargs, TransportOptions
from mcp import ClientSession
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest
from tenacity import wait_random_exponential
from tenacity.wait import wait_base
from typing_extensions import Unpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from mcp_server.transport.ends import End
from mcp_server.transport.frames import (
    MAX_FRAME_BYTES,
    PASSING,
    PING_EVERY_S,
    PONG_WITHIN_S,
    SUBPROTOCOL,
    NotAMessage,
    parse,
    text_of,
)
from mcp_server.transport.pending import Pending, not_reached

_OPEN_WITHIN_S = 10.0
_SERVER_ERROR = 500
_TOO_MANY = 429


class Unreachable(ConnectionError):
    """The server did not let us in, and asking again would not help."""


class Link:
    """One client's connection to one server, opened again whenever it breaks.

    Args:
        wait: how long before the next attempt, as tenacity counts them.
        give_up_s: how long a request waits for a connection before it is told that the
            server was not reached.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        compression: Literal["deflate"] | None = None,
        wait: wait_base | None = None,
        give_up_s: float = 30.0,
    ) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._options: dict[str, Any] = {"compression": compression}
        if tls is not None:
            self._options["ssl"] = tls
        self._wait = wait or wait_random_exponential(multiplier=0.2, max=30)
        self._give_up_s = give_up_s
        self._pending = Pending()
        self._socket: ClientConnection | None = None
        self._opened = anyio.Event()
        self._heard: ObjectSendStream[SessionMessage | Exception] | None = None

    async def run(
        self,
        first: ClientConnection,
        heard: ObjectSendStream[SessionMessage | Exception],
    ) -> None:
        """Read until the connection is over for good; `heard` is closed then."""
        self._heard = heard
        socket: ClientConnection | None = first
        async with heard:
            while socket is not None:
                code = await self._follow(socket)
                for error in self._pending.broken():
                    await heard.send(SessionMessage(error))
                socket = await self._reopen() if code in PASSING else None

    async def open(self) -> ClientConnection:
        """Open one connection.

        Raises:
            Unreachable: the server refuses this token, Host or subprotocol.
            OSError, TimeoutError, InvalidHandshake: it did not answer; later it may.
        """
        try:
            socket = await connect(
                self._url,
                additional_headers=self._headers,
                subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
                max_size=None,
                open_timeout=_OPEN_WITHIN_S,
                close_timeout=1,
                ping_interval=PING_EVERY_S,
                ping_timeout=PONG_WITHIN_S,
                **self._options,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            if status >= _SERVER_ERROR or status == _TOO_MANY:
                raise
            raise Unreachable(_said(error)) from None
        except InvalidURI as error:
            raise Unreachable(f"{self._url} is not a ws:// or wss:// address") from error
        if socket.subprotocol != SUBPROTOCOL:
            await socket.close()
            raise Unreachable(f"the server does not speak the subprotocol {SUBPROTOCOL!r}")
        return socket

    async def send(self, message: SessionMessage) -> None:
        """Send a message; while there is no connection, wait for one."""
        told = message.message
        socket = await self._connected()
        if socket is None:
            if isinstance(told, JSONRPCRequest) and self._heard is not None:
                await self._heard.send(SessionMessage(not_reached(told, "no connection")))
            return
        text = text_of(message)
        if len(text) > MAX_FRAME_BYTES and isinstance(told, JSONRPCRequest) and self._heard:
            await self._heard.send(SessionMessage(not_reached(told, "the request is too large")))
            return
        self._pending.sent(told)
        with suppress(ConnectionClosed):  # `run` notices as well, and tells what becomes of it.
            await socket.send(text)

    async def _connected(self) -> ClientConnection | None:
        with anyio.move_on_after(self._give_up_s):
            while self._socket is None:
                await self._opened.wait()
        return self._socket

    async def _follow(self, socket: ClientConnection) -> int:
        """Read one connection to its end and return its close code."""
        try:
            for message in self._pending.again():
                await socket.send(text_of(SessionMessage(message)))
            self._socket = socket
            self._opened.set()
            async for frame in socket:
                await self._take(frame)
        except ConnectionClosed:
            pass
        finally:
            self._socket, self._opened = None, anyio.Event()
            await socket.close()
        return 1006 if socket.close_code is None else socket.close_code

    async def _take(self, frame: str | bytes) -> None:
        assert self._heard is not None
        try:
            message = parse(frame if isinstance(frame, str) else frame.decode())
        except (NotAMessage, UnicodeDecodeError) as error:
            await self._heard.send(error)
            return
        if self._pending.heard(message):
            await self._heard.send(SessionMessage(message))

    async def _reopen(self) -> ClientConnection | None:
        attempt = _Attempts()
        while True:
            attempt.attempt_number += 1
            await anyio.sleep(self._wait(attempt))  # type: ignore[arg-type]
            try:
                return await self.open()
            except Unreachable:
                return None
            except (OSError, TimeoutError, InvalidHandshake):
                continue


class _Attempts:
    """What tenacity's waits look at."""

    attempt_number = 0


def _said(error: InvalidStatus) -> str:
    body = (error.response.body or b"").decode(errors="replace")
    return f"the server answered HTTP {error.response.status_code}: {body[:500]}"


@asynccontextmanager
async def websocket_client(
    url: str, token: str | None = None, **options: Any
) -> AsyncIterator[tuple[ObjectReceiveStream[SessionMessage | Exception], Any]]:
    """Connect and yield the two streams that `mcp.ClientSession` takes.

    Args:
        options: as of `Link`.

    Raises:
        Unreachable: the server refuses.
        OSError, TimeoutError, InvalidHandshake: it does not answer.
    """
    link = Link(url, token, **options)
    first = await link.open()
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](256)
    async with anyio.create_task_group() as group:
        group.start_soon(link.run, first, send)
        try:
            yield receive, _Outgoing(link)
        finally:
            group.cancel_scope.cancel()
            receive.close()


class _Outgoing(End):
    """The SDK's writing end."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.send: Callable[[SessionMessage], Any] = link.send


class WebSocketTransport(ClientTransport):
    """A transport for `fastmcp.Client`: `Client(WebSocketTransport("wss://…/ws", token))`."""

    def __init__(self, url: str, token: str | None = None, **options: Any) -> None:
        self.url = url
        self._token = token
        self._options = options

    def _set_auth(self, auth: httpx2.Auth | Literal["oauth"] | str | None) -> None:
        if auth is None:
            return
        if not isinstance(auth, str) or auth == "oauth":
            raise ValueError("this transport takes a bearer token")
        self._token = auth

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncIterator[ClientSession]:
        """Connect and yield a session."""
        options = transport_options or TransportOptions()
        async with (
            websocket_client(self.url, self._token, **self._options) as (read, write),
            options.session_class(read, write, **session_kwargs) as session,
        ):
            yield session

    def __repr__(self) -> str:
        return f"<WebSocketTransport(url={self.url!r})>"
