"""Builds the MCP server: tools, pages, prompt, token check. Both protocol eras."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import Any

import httpx
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.http import StarletteWithLifespan
from fastmcp.tools import FunctionTool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mcp_server.auth import BackendVerifier
from mcp_server.backend_client import BackendClient, Connect
from mcp_server.pages import INSTRUCTIONS, add_pages, add_prompt
from mcp_server.resources import add_resources
from mcp_server.subscriptions import Subscriptions
from mcp_server.tools import load_tools
from mcp_server.validation import ToolCalls

# Handshake clients that go away without a word leave some 40 kB behind until then.
_SESSION_IDLE_S = 300.0


def create_server(
    backend: httpx.AsyncClient | Connect,
    *,
    token: str | None = None,
    toolsets: Collection[str] = ("trading",),
    auth: bool = False,
) -> FastMCP:
    """Return a server whose tools speak to `backend`.

    Args:
        backend: an HTTP client with a `base_url`, or a function to await for one,
            called for every request: `tools/list` is answered before it is ready.
        token: what to present where callers bring none: stdio and in memory.
        toolsets: which tools to offer, by the tags `toolset:<name>`.
        auth: callers bring their own token, and it is theirs that is presented.

    Raises:
        ValueError: an unknown toolset, or a token of its own beside `auth`.
    """
    if auth and token is not None:
        raise ValueError("a server with auth presents its callers' tokens: give it none of its own")
    client = BackendClient(backend, _bearer(token))
    tools = _chosen(load_tools(), toolsets)
    schemas = {tool.name: tool.parameters for tool in tools}
    subscriptions = Subscriptions(client)
    server: FastMCP = FastMCP(
        "exec-mcp",
        INSTRUCTIONS,
        version=version("exec-mcp"),
        auth=BackendVerifier(client) if auth else None,
        middleware=[ToolCalls(client, schemas)],
        tools=tools,
        lifespan=subscriptions.lifespan,
        on_duplicate="error",
        mask_error_details=True,
        strict_input_validation=True,
        dereference_schemas=False,
    )
    _know_schemas(server, schemas)
    add_pages(server)
    add_prompt(server)
    add_resources(server, client)
    subscriptions.add_to(server)
    return server


def http_app(
    server: FastMCP,
    *,
    allowed_hosts: list[str] | None = None,
    allowed_origins: list[str] | None = None,
) -> StarletteWithLifespan:
    """Return the streamable HTTP app, at `/mcp`. Its lifespan must be run by the outer app.

    Hosts and origins other than this machine's own are refused unless named.

    Raises:
        ValueError: the server does not ask for tokens.
    """
    if server.auth is None:
        raise ValueError("a server on HTTP must ask for tokens: create it with auth=True")
    app = server.http_app(
        path="/mcp",
        host_origin_protection=True,
        session_idle_timeout=_SESSION_IDLE_S,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
    )
    app.add_exception_handler(ClientDisconnect, _on_gone)
    return app


def _on_gone(request: Request, error: Exception) -> Response:
    """A client that went away while it was still asking: nobody reads this, and it is no bug."""
    return Response(status_code=400)


def _bearer(own: str | None) -> Callable[[], str | None]:
    def bearer() -> str | None:
        access = get_access_token()
        return own if access is None else access.token

    return bearer


def _chosen(tools: Collection[FunctionTool], toolsets: Collection[str]) -> list[FunctionTool]:
    wanted = {f"toolset:{name}" for name in toolsets}
    known = set().union(*(tool.tags for tool in tools))
    if unknown := wanted - known:
        names = ", ".join(sorted(tag.removeprefix("toolset:") for tag in known))
        wrong = ", ".join(sorted(tag.removeprefix("toolset:") for tag in unknown))
        raise ValueError(f"toolsets must be among {names}; was {wrong}")
    return [tool for tool in tools if tool.tags & wanted]


def _know_schemas(server: FastMCP, schemas: dict[str, dict[str, Any]]) -> None:
    """Let streamable HTTP look a schema up by name.

    Without it the SDK runs a whole `tools/list` before every `tools/call`: 8-10 ms.
    The name is private; `test_schema_look_up.py` fails when it moves.
    """
    server._mcp_server.get_tool_input_schema = schemas.get
