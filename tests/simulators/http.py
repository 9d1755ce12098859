"""A small HTTP/1.1 server on asyncio and h11, for the exchange simulators."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import h11

BODY_LIMIT_BYTES = 1 << 20
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `query` is raw and without its "?"; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. The server adds content-length."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Drop(Exception):
    """Raised by a handler: close the connection, after writing `after` raw bytes of a response."""

    def __init__(self, after: bytes = b"") -> None:
        super().__init__("the connection is dropped")
        self.after = after


Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """Serves `handle` on 127.0.0.1: keep-alive, bodies up to 1 MiB, nothing left after `stop`.

    An error that `handle` raises (other than Drop) closes the connection and is raised again by
    `stop`, so a broken simulator fails its test.
    """

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Listen on `port`; 0 takes a free one. `url` is set afterwards."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        bound = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{bound}"

    async def stop(self) -> None:
        """Close the listener and every connection; raise what a handler raised.

        Raises:
            BaseException: the first error a handler raised other than Drop.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()
        if self._errors:
            raise self._errors[0]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._errors.append(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except ConnectionError:
            pass  # the client went away: its own business
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; False when the connection is over."""
        try:
            request = await _read_request(connection, reader, writer)
            if request is None:
                return False
            reply = await self._handle(request)
        except h11.RemoteProtocolError as error:
            reply = Reply(error.error_status_hint, b"bad request")
        except Drop as drop:
            writer.write(drop.after)
            await writer.drain()
            return False
        head, body = _responses(reply)
        for event in (head, body, h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _read_request(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(connection.send(go_on) or b"")
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT_BYTES:
                raise h11.RemoteProtocolError("body too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head, bytes(body))
        else:
            return None


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = head.target.decode("ascii").partition("?")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode("ascii"), path, query, headers, body)


def _responses(reply: Reply) -> tuple[h11.Response, h11.Data]:
    headers = [(name, value) for name, value in reply.headers.items()]
    headers.append(("content-length", str(len(reply.body))))
    return h11.Response(status_code=reply.status, headers=headers), h11.Data(data=reply.body)


def raw_response(reply: Reply) -> bytes:
    """The bytes that `reply` has on the wire, to be cut short in a Drop."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nhost: simulator\r\n\r\n")
    connection.next_event()
    head, body = _responses(reply)
    return (connection.send(head) or b"") + (connection.send(body) or b"")
