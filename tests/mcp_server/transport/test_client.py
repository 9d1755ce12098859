"""The client's side: it comes back, asks again what it may, and never sends a trade twice."""

import asyncio
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import McpError
from tenacity import wait_fixed

from backend.testing import Stack
from mcp_server.transport.client import Unreachable, WebSocketTransport
from tests.mcp_server.transport.served import Served, served
from tests.services.spoken import until

pytestmark = pytest.mark.anyio

AT_ONCE: dict[str, Any] = {"wait": wait_fixed(0.01)}


async def drop_all(server: Served) -> None:
    """Break every connection without a word, as a network does."""
    assert server._running is not None
    for connection in list(server._running[0].server_state.connections):
        connection.transport.abort()


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_it_comes_back_after_a_break_and_after_a_restart(server: Served, era: Any) -> None:
    async with Client(server.transport(**AT_ONCE), mode=era) as client:
        for hurt in (drop_all, Served.stop):
            before = await client.call_tool("get_price", {"symbol": "AAPL"})
            await hurt(server)
            if hurt is Served.stop:
                await server.start()
            after = await client.call_tool("get_price", {"symbol": "AAPL"})

            assert after.structured_content == before.structured_content


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_confirm_under_way_when_it_breaks_is_looked_up_and_not_asked_again(
    server: Served, home: Stack, era: Any
) -> None:
    made = await home.plan("AAPL", "buy", 1)
    async with Client(server.transport(**AT_ONCE), mode=era) as client:
        async with home.backend.desk.database._writing:  # Nothing is claimed meanwhile.
            confirm = asyncio.create_task(
                client.call_tool("execute_trade", {"trade_id": made.trade_id, "action": "confirm"})
            )
            await until(lambda: home.backend.desk.tasks.running)
            await drop_all(server)
            with pytest.raises(McpError, match="look first") as broken:
                await confirm
        await until(lambda: not home.backend.desk.tasks.running)
        told = await client.call_tool("get_trade", {"trade_id": made.trade_id})

    assert broken.value.error.data == {
        "code": "answer_lost",
        "repeat": False,
        "trade_id": made.trade_id,
    }
    assert told.structured_content["status"] == "executed"
    assert len(home.faults.sent) == 1


async def calls_for_ever(client: Client[Any]) -> None:
    while True:
        await client.call_tool("list_accounts", {}, raise_on_error=False)


async def test_what_never_left_may_simply_be_asked_again(server: Served) -> None:
    async with Client(server.transport(**AT_ONCE, give_up_s=0.05)) as client:
        await client.list_tools()
        await server.stop()
        with pytest.raises(McpError) as refused:
            await client.call_tool("get_price", {"symbol": "AAPL"})

    assert refused.value.error.data == {"code": "backend_unreachable", "repeat": True}


async def test_a_token_that_is_no_good_is_not_tried_again(server: Served) -> None:
    with pytest.raises((Unreachable, RuntimeError)) as refused:
        async with Client(WebSocketTransport(server.url, "bad", **AT_ONCE)):
            pass

    assert "401" in str(refused.value)


async def test_it_takes_the_token_as_other_transports_do(server: Served) -> None:
    async with Client(WebSocketTransport(server.url), auth=server.token()) as client:
        assert len(await client.list_tools()) >= 16


async def test_a_revoked_token_ends_the_session(home: Stack) -> None:
    from mcp_server.transport.door import Limits

    async with served(home, limits=Limits(recheck_s=0.01)) as server:
        token = await home.token("bot", "read")
        async with Client(server.transport(token, **AT_ONCE)) as client:
            await client.list_tools()
            await home.operator.delete("/api/v1/tokens/bot")
            with pytest.raises(McpError, match="(?i)closed|not reached"):
                await calls_for_ever(client)
