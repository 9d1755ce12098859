"""The long-running commands."""

from pathlib import Path
from typing import Literal

from backend.cli.exits import Unreachable
from backend.config import read_config


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    ws_deflate: Literal["auto", "on", "off"] = "auto",
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> None:
    """Serve the HTTP API and MCP until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host:
        An address of this machine.
    port:
        0 takes a free one.
    ws_deflate:
        Compress WebSocket messages: auto does, but for clients on this machine.
    tls_cert:
        A certificate with its chain, PEM: then https and wss only.
    tls_key:
        Its private key, PEM.
    """
    from backend.database import sqlite3
    from backend.serving import Wire
    from backend.serving import serve as run

    wire = Wire(ws_deflate, tls_cert, tls_key)
    try:
        await run(read_config(), host, port, wire)
    except (RuntimeError, OSError, sqlite3.Error) as error:
        raise Unreachable(str(error)) from error


async def stdio(*, connect: str | None = None) -> None:
    """Speak MCP over standard input and output, for a desktop client.

    Parameters
    ----------
    connect:
        A ws:// or wss:// address of a server elsewhere, for clients that know no
        WebSocket; its token is EXEC_MCP_TOKEN.
    """
    if connect is not None:
        from backend.serving import stdio_elsewhere

        await stdio_elsewhere(read_config(), connect)
        return
    from backend.serving import stdio as run

    await run(read_config())
