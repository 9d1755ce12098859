"""Two private names of FastMCP and the SDK, which spare 8-10 ms a call over HTTP."""

from typing import Any

import pytest
from fastmcp import FastMCP
from fastmcp.server.middleware import Middleware
from fastmcp.utilities.tests import asgi_client

from tests.mcp_server.calls import CALLS
from tests.mcp_server.fake_backend import FakeBackend

pytestmark = pytest.mark.anyio


class CountLists(Middleware):
    """Counts how often the tools are listed."""

    count = 0

    async def on_list_tools(self, context: Any, call_next: Any) -> Any:
        self.count += 1
        return await call_next(context)


def test_the_private_name_is_where_it_was() -> None:
    assert FastMCP("bare")._mcp_server.get_tool_input_schema is None


async def test_every_tools_schema_is_found_by_name(server: FastMCP) -> None:
    look_up = server._mcp_server.get_tool_input_schema

    assert look_up is not None
    for tool in await server.list_tools():
        assert look_up(tool.name) == tool.parameters
    assert look_up("modify_trade") is None


async def test_a_call_over_http_lists_no_tools(server: FastMCP, backend: FakeBackend) -> None:
    lists = CountLists()
    server.add_middleware(lists)
    call = CALLS["get_trade"]
    backend.answers(200, call.answer)

    async with asgi_client(server, mode="auto") as client:
        await client.list_tools()
        listed = lists.count
        await client.call_tool("get_trade", call.arguments)

    assert lists.count == listed == 1
