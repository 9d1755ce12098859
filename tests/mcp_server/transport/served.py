"""A whole server in this process, with its WebSocket on a free loopback port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from backend.testing import Stack
from mcp_server.server import create_server, http_app
from mcp_server.transport.client import WebSocketTransport
from mcp_server.transport.door import Limits
from mcp_server.transport.frames import MAX_FRAME_BYTES
from mcp_server.transport.socket import Deflate, socket_class
from mcp_server.transport.websocket import websocket_route


@dataclass
class Served:
    """A server on WebSocket, which can stop and come back on the same port.

    Attributes:
        options: of the underlying uvicorn.
    """

    stack: Stack
    limits: Limits = field(default_factory=Limits)
    deflate: Deflate = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    scheme: str = "ws"
    _running: tuple[uvicorn.Server, asyncio.Task[None]] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/ws"

    def token(self, name: str = "agent") -> str:
        return (self.stack.home / f"{name}.token").read_text().strip()

    async def start(self) -> None:
        server = create_server(self.stack.backend.http(), auth=True)
        stopping = asyncio.Event()
        route = websocket_route(server, stopping=stopping, limits=self.limits)
        mcp = http_app(server)
        app = Starlette(routes=[route, Route("/mcp", mcp)], lifespan=mcp.lifespan)
        config = uvicorn.Config(
            app,
            port=self.port,
            log_level="warning",
            ws=socket_class(self.deflate, stopping),
            ws_max_size=MAX_FRAME_BYTES,
            timeout_graceful_shutdown=5,
            **self.options,
        )
        running = uvicorn.Server(config)
        running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(running._serve())
        while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
        self.port = running.servers[0].sockets[0].getsockname()[1]
        self._running = running, task

    async def stop(self) -> None:
        if self._running is not None:
            (server, task), self._running = self._running, None
            server.should_exit = True
            await task

    def transport(self, token: str | None = None, **options: Any) -> WebSocketTransport:
        """Return the client's side, for `fastmcp.Client`."""
        return WebSocketTransport(self.url, token or self.token(), **options)

    def raw(self, token: str | None = None, **options: Any) -> connect:
        """Return a bare WebSocket connection."""
        options.setdefault("subprotocols", ["mcp"])
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        headers |= options.pop("headers", {})
        return connect(self.url, additional_headers=headers, **options)


@asynccontextmanager
async def served(stack: Stack, **options: Any) -> AsyncIterator[Served]:
    """Serve a stack on WebSocket until the end."""
    one = Served(stack, **options)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def closed(ws: ClientConnection) -> int | None:
    """Read until the server closes, and return its code."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await ws.recv()
    return ws.close_code


def certificate(folder: Path) -> tuple[Path, Path, ssl.SSLContext]:
    """Make a certificate for this machine; return its file, its key's, and who trusts it."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "exec-mcp test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, secret, ssl.create_default_context(cafile=str(pem))
