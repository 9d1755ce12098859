"""The socket under `/ws`: uvicorn's own WebSocket protocol, with four things it leaves out.

Compression is decided per connection, a stop lets calls under way be answered, a client
that never reads can be dropped, and a refused handshake is no error in the log.
"""

import asyncio
from asyncio.transports import BaseTransport
from ipaddress import ip_address
from typing import Literal

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

Deflate = Literal["auto", "on", "off"]

ABORT = "exec-mcp.abort"


def socket_class(deflate: Deflate, stopping: asyncio.Event) -> type[WebSocketsSansIOProtocol]:
    """Return the protocol class of one server; uvicorn offers compression to all of them.

    Args:
        deflate: `auto` compresses but for clients on this machine, where bytes cost nothing.
        stopping: set when the server stops; connections then end by themselves.
    """

    class Socket(WebSocketsSansIOProtocol):
        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(transport)
            local = self.client is not None and _is_loopback(self.client[0])
            if deflate == "off" or (deflate == "auto" and local):
                self.conn.available_extensions = []

        def handle_connect(self, event: Request) -> None:
            super().handle_connect(event)
            if hasattr(self, "scope"):  # uvicorn may have refused it by itself.
                self.scope["extensions"][ABORT] = self.transport.abort  # type: ignore[assignment]

        def shutdown(self) -> None:
            if self.handshake_complete and not self.close_sent:
                stopping.set()
            else:
                super().shutdown()

        async def send(self, message: ASGISendEvent) -> None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body":
                self.handshake_complete = True  # It was completed, by a refusal.

    return Socket


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
