"""A client that only speaks stdio, on a server that is reached over WebSocket.

Messages pass as they are; only what `pending.py` says of a broken connection is ours.
"""

from collections.abc import AsyncIterable
from typing import Any

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mcp_server.transport.client import websocket_client


async def bridge(url: str, token: str | None, **options: Any) -> bool:
    """Pass messages between standard input and output and a server until either ends.

    Args:
        options: as of `client.Link`.

    Returns:
        whether the server ended it: its last word stands in no message.

    Raises:
        Unreachable, OSError, TimeoutError, InvalidHandshake: the server was not reached.
    """
    by_the_server = True
    async with (
        websocket_client(url, token, **options) as (heard, told),
        stdio_server() as (read, written),
        written,  # It is whoever writes that closes it.
        anyio.create_task_group() as group,
    ):

        async def out() -> None:
            nonlocal by_the_server
            await _pass(read, told)
            by_the_server = False
            group.cancel_scope.cancel()

        group.start_soon(out)
        await _pass(heard, written)
        group.cancel_scope.cancel()
    return by_the_server


async def _pass(source: AsyncIterable[SessionMessage | Exception], target: Any) -> None:
    async for message in source:
        if isinstance(message, SessionMessage):  # What is no message has nobody to answer to.
            await target.send(message)
