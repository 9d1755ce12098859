"""MCP over WebSocket, the server's side: one JSON-RPC message per text frame, both eras.

| what comes                          | what is done                                          |
|-------------------------------------|-------------------------------------------------------|
| a message                           | served; its answer follows in its own time            |
| text that is no message             | answered -32700 or -32600; too many: closed 4400      |
| a binary frame, one that is too big | closed 1003, 1009                                     |
| more calls than may be under way    | answered -32000 `busy`: nothing happened              |
| more messages than a token may send | answered -32000 `rate_limited`; in a row: closed 4429 |
| nothing: the client does not read   | prices are replaced by newer ones; else closed 4408   |
| a token that was revoked or expired | closed 4401                                           |
| the server stops                    | calls under way are answered, then closed 1012        |

A call whose connection breaks is cancelled here, never in the backend: an execution ends
there, and whoever comes back looks it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken, TokenVerifier
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from mcp_server.transport.direct import direct
from mcp_server.transport.door import Bucket, Door, Limits, Refusal
from mcp_server.transport.ends import End
from mcp_server.transport.frames import BUSY, SUBPROTOCOL, Close, NotAMessage, parse, text_of
from mcp_server.transport.outbox import Outbox
from mcp_server.transport.socket import ABORT

_LISTEN = "subscriptions/listen"
_CLOSE_WITHIN_S = 1.0


def websocket_route(
    server: FastMCP,
    *,
    path: str = "/ws",
    stopping: asyncio.Event | None = None,
    limits: Limits | None = None,
    allowed_hosts: Sequence[str] | None = None,
    allowed_origins: Sequence[str] | None = None,
) -> WebSocketRoute:
    """Return the route of MCP over WebSocket; the outer app runs the server's lifespan.

    Hosts and origins other than this machine's own are refused unless named.

    Args:
        stopping: set when the server stops: what is under way is answered, then all end.

    Raises:
        ValueError: the server does not ask for tokens.
    """
    if not isinstance(server.auth, TokenVerifier):
        raise ValueError("a server on WebSocket must ask for tokens: create it with auth=True")
    door = Door(
        server.auth,
        limits or Limits(),
        stopping or asyncio.Event(),
        allowed_hosts,
        allowed_origins,
    )

    async def endpoint(ws: WebSocket) -> None:
        admitted = await door.admit(ws)
        if isinstance(admitted, Refusal):
            await ws.send_denial_response(admitted.response())
            return
        await ws.accept(subprotocol=SUBPROTOCOL)
        with door.counted(admitted.client_id) as bucket:
            await Connection(server, ws, admitted, door, bucket).serve()

    return WebSocketRoute(path, endpoint)


class Connection:
    """One client's connection: what it sent and was not answered, what waits to be read."""

    def __init__(
        self, server: FastMCP, ws: WebSocket, access: AccessToken, door: Door, bucket: Bucket
    ) -> None:
        self._server = server._mcp_server
        self._ws = ws
        self._access = access
        self._door = door
        self._limits = door.limits
        self._bucket = bucket
        self._outbox = Outbox()
        self._calls: set[str] = set()
        self._listens: set[str] = set()
        self._malformed = self._refused = 0
        self._idle = asyncio.Event()
        self._over = asyncio.Event()
        self._close: tuple[Close, str] = (Close.NORMAL, "")

    async def serve(self) -> None:
        """Serve until either side ends the connection."""
        reset = auth_context_var.set(AuthenticatedUser(self._access))
        reset_direct = direct.set(self.put_text)
        try:
            async with anyio.create_task_group() as group:
                for work in (self._write, self._watch_token, self._watch_stop, self._run):
                    group.start_soon(work)
                await self._over.wait()
                group.cancel_scope.cancel()
        finally:
            auth_context_var.reset(reset)
            direct.reset(reset_direct)
            await self._say_goodbye()

    def end(self, code: Close, reason: str) -> None:
        """End the connection; the first reason stands."""
        if not self._over.is_set():
            self._close = (code, reason)
            self._over.set()

    async def _run(self) -> None:
        inbox, answers = _Inbox(self), _Answers(self)
        await self._server.run(inbox, answers, self._server.create_initialization_options())
        self.end(Close.NORMAL, "")

    async def _write(self) -> None:
        """Write what waits; a client that does not read it in time is let go."""
        while True:
            text = await self._outbox.get()
            try:
                async with asyncio.timeout(self._limits.stall_s):
                    await self._ws.send_text(text)
            except TimeoutError:
                self.end(Close.TOO_SLOW, "you do not read what is sent; connect again")
                return
            except (WebSocketDisconnect, RuntimeError):
                self.end(Close.NORMAL, "")
                return

    async def _watch_token(self) -> None:
        """End the connection soon after its token does."""
        while not self._over.is_set():
            with anyio.move_on_after(self._limits.recheck_s):
                await self._over.wait()
            if await self._door.verifier.verify_token(self._access.token) is None:
                self.end(Close.TOKEN_ENDED, "the token was revoked or has expired")
                return

    async def _watch_stop(self) -> None:
        """When the server stops, answer what is under way, and say goodbye."""
        await self._door.stopping.wait()
        with anyio.move_on_after(self._limits.drain_s):
            while self._calls:
                self._idle.clear()
                await self._idle.wait()
            await self._outbox.written()
        self.end(Close.RESTARTING, "the server stops; connect again in a moment")

    async def _say_goodbye(self) -> None:
        if self._ws.client_state is not WebSocketState.CONNECTED:
            return
        code, reason = self._close
        with anyio.move_on_after(_CLOSE_WITHIN_S, shield=True):
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._ws.close(code, reason)
            return
        # It does not read, not even that. Who runs the socket may know how to drop it.
        abort = self._ws.scope.get("extensions", {}).get(ABORT)
        if abort is not None:
            abort()

    # --- what comes in ---

    async def next_message(self) -> SessionMessage:
        """Return the next message that is to be served.

        Raises:
            anyio.EndOfStream: there will be none.
        """
        while not self._over.is_set():
            event = await self._ws.receive()
            if event["type"] == "websocket.disconnect":
                break
            text = event.get("text")
            if text is None:
                self.end(Close.NOT_TEXT, "one JSON-RPC message per text frame, please")
                break
            message = self._admitted(text)
            if message is not None:
                return message
            # A client that floods is refused without end: others have their turn too.
            await anyio.lowlevel.checkpoint()
        raise anyio.EndOfStream

    def _admitted(self, text: str) -> SessionMessage | None:
        """Return the message of a frame, or None where it was answered here."""
        try:
            message = parse(text)
        except NotAMessage:
            self._note_malformed(text)
            return None
        request_id = message.id if isinstance(message, JSONRPCRequest) else None
        if not self._bucket.take(self._limits.per_s):
            self._note_flood(request_id)
            return None
        self._refused = 0
        if not isinstance(message, JSONRPCRequest):
            return SessionMessage(message)
        key = str(message.id)
        if key in self._calls or key in self._listens:
            self._refuse(message.id, INVALID_REQUEST, "this id is in use", "invalid_request")
            return None
        if not self._has_room(message):
            return None
        (self._listens if message.method == _LISTEN else self._calls).add(key)
        unanswered = ServerMessageMetadata(on_request_unanswered=self._ended(key))
        return SessionMessage(message, unanswered)

    def _has_room(self, request: JSONRPCRequest) -> bool:
        if self._door.stopping.is_set():
            said = "the server stops; nothing happened: connect again in a moment"
        elif request.method == _LISTEN:
            if len(self._listens) < self._limits.listens:
                return True
            said = f"{self._limits.listens} subscriptions are open; nothing happened"
        elif len(self._calls) < self._limits.calls:
            return True
        else:
            said = f"{self._limits.calls} calls are under way; nothing happened: wait for one"
        self._refuse(request.id, BUSY, said, "busy")
        return False

    def _note_malformed(self, text: str) -> None:
        self._malformed += 1
        if self._malformed > self._limits.malformed:
            self.end(Close.MALFORMED, "too many frames were no JSON-RPC messages")
        else:
            self._refuse(None, *_what_is_wrong(text), "invalid_request")

    def _note_flood(self, request_id: int | str | None) -> None:
        self._refused += 1
        if self._refused > self._limits.per_s:
            self.end(Close.TOO_MANY, f"more than {self._limits.per_s} messages a second")
        elif request_id is not None:
            said = f"more than {self._limits.per_s} messages a second; nothing happened: wait"
            self._refuse(request_id, BUSY, said, "rate_limited")

    def _refuse(self, request_id: int | str | None, number: int, said: str, code: str) -> None:
        error = ErrorData(code=number, message=said, data={"code": code})
        answer = JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
        self.put(SessionMessage(answer))

    # --- what goes out ---

    def put(self, message: SessionMessage) -> None:
        """Queue a message for the client."""
        told = message.message
        if isinstance(told, JSONRPCResponse | JSONRPCError) and told.id is not None:
            self._settled(str(told.id))
        self.put_text(text_of(message), _replaces(told))

    def put_text(self, text: str, key: str | None) -> None:
        """Queue a frame; a newer one of the same key replaces it while it waits."""
        self._outbox.put(text, key)
        if self._outbox.overflowed:
            self.end(Close.TOO_SLOW, "you do not read what is sent; connect again")

    def _ended(self, key: str) -> Any:
        async def unanswered() -> None:
            self._settled(key)

        return unanswered

    def _settled(self, key: str) -> None:
        self._listens.discard(key)
        self._calls.discard(key)
        if not self._calls:
            self._idle.set()


class _Stream(End):
    """Either of the SDK's ends of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


class _Inbox(_Stream):
    """The SDK's reading end."""

    async def receive(self) -> SessionMessage | Exception:
        return await self._connection.next_message()

    def __aiter__(self) -> _Inbox:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._connection.next_message()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Answers(_Stream):
    """The SDK's writing end: it never waits for the client."""

    async def send(self, item: SessionMessage, /) -> None:
        self._connection.put(item)


def _what_is_wrong(text: str) -> tuple[int, str]:
    """Tell JSON that is no message from what is no JSON."""
    looks_like_json = text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]")
    if looks_like_json:
        return INVALID_REQUEST, "not a JSON-RPC 2.0 message (batches are not)"
    return PARSE_ERROR, "not JSON"


def _replaces(message: Any) -> str | None:
    """Return what a newer message of the same key makes worthless: a price."""
    if not isinstance(message, JSONRPCNotification):
        return None
    params = message.params or {}
    uri = params.get("uri")
    if message.method != "notifications/resources/updated" or not str(uri).startswith("price://"):
        return None
    meta = params.get("_meta") or {}
    return f"{uri} {meta.get('io.modelcontextprotocol/subscriptionId')}"
