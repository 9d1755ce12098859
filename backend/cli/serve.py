"""The long-running commands."""

from backend.cli.exits import Unreachable
from backend.config import read_config


async def serve(*, host: str = "127.0.0.1", port: int = 8787) -> None:
    """Serve the HTTP API and MCP until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host:
        An address of this machine.
    port:
        0 takes a free one.
    """
    from backend.database import sqlite3
    from backend.serving import serve as run

    try:
        await run(read_config(), host, port)
    except (RuntimeError, OSError, sqlite3.Error) as error:
        raise Unreachable(str(error)) from error


async def stdio() -> None:
    """Speak MCP over standard input and output, for a desktop client."""
    from backend.serving import stdio as run

    await run(read_config())
