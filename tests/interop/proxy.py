"""A loopback proxy that adds a bearer token, for clients that cannot send one.

All else but `Connection` passes byte for byte, `Host` and `Origin` with it, so that what
the server refuses is refused for the client's own words. One request per connection.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

_LOOPBACK = "127.0.0.1"
_END_OF_HEAD = b"\r\n\r\n"
_CHUNK = 65536


@asynccontextmanager
async def token_proxy(port: int, token: str) -> AsyncIterator[int]:
    """Serve what listens on `port` on another loopback port, which is yielded."""
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_pass_on(reader, writer, port, token))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, _LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, token: str
) -> None:
    # On an error of either side the client sees a closed connection.
    with suppress(asyncio.IncompleteReadError, OSError):
        async with _closing(writer):
            head = await reader.readuntil(_END_OF_HEAD)
            answers, questions = await asyncio.open_connection(_LOOPBACK, port)
            async with _closing(questions):
                questions.write(_with_token(head, token))
                await _until_one_ends(_pump(reader, questions), _pump(answers, writer))


def _with_token(head: bytes, token: str) -> bytes:
    """Return the head of the request with the token, and without keep-alive."""
    request, *headers = head.removesuffix(_END_OF_HEAD).split(b"\r\n")
    kept = [header for header in headers if not header.lower().startswith(b"connection:")]
    added = [b"Connection: close", b"Authorization: Bearer " + token.encode()]
    return b"\r\n".join([request, *kept, *added]) + _END_OF_HEAD


async def _until_one_ends(*pumps: Coroutine[Any, Any, None]) -> None:
    """Run until one side has nothing more to say: a client that leaves is felt at once."""
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
