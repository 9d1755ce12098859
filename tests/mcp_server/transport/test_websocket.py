"""The server's side: who gets in, what a frame may be, and how a connection ends."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from fastmcp import Client
from mcp import ClientSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backend.testing import Stack
from mcp_server.transport.client import websocket_client
from mcp_server.transport.door import Limits
from tests.mcp_server.transport.served import Served, certificate, closed, served

pytestmark = pytest.mark.anyio

INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


async def ask(ws: Any, method: str, request_id: int = 2, **params: Any) -> dict[str, Any]:
    """Ask over a bare socket in the handshake era, and return the answer."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    await ws.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(await ws.recv())
    return answer


def confirm_of(trade_id: str, request_id: int) -> str:
    """Return the frame of a confirm."""
    call = {"name": "execute_trade", "arguments": {"trade_id": trade_id, "action": "confirm"}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": call})


# --- trading ---


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_fastmcp_client_trades(server: Served, era: Any) -> None:
    async with Client(server.transport(), mode=era) as client:
        made = await client.call_tool(
            "plan_trade", {"symbol": "AAPL", "side": "buy", "quantity": 10}
        )
        trade_id = made.structured_content["trade_id"]
        told = await client.call_tool("execute_trade", {"trade_id": trade_id, "action": "confirm"})

    assert told.structured_content["status"] == "executed"
    assert '"executed_price":215.40' in told.content[0].text


async def test_a_bare_sdk_session_trades(server: Served) -> None:
    async with (
        websocket_client(server.url, server.token()) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        made = await session.call_tool(
            "plan_trade", {"symbol": "AAPL", "side": "buy", "quantity": 1}
        )

    assert made.structured_content is not None
    assert made.structured_content["status"] == "pending"


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_trades_over_tls(home: Stack, tmp_path: Any, era: Any) -> None:
    pem, key, trusting = certificate(tmp_path)
    tls = {"ssl_certfile": pem, "ssl_keyfile": key}
    async with (
        served(home, options=tls, scheme="wss") as server,
        Client(server.transport(tls=trusting), mode=era) as client,
    ):
        told = await client.call_tool("get_price", {"symbol": "AAPL"})

    assert told.structured_content["symbol"] == "AAPL"


async def test_a_confirm_ends_in_the_backend_when_its_connection_breaks(
    server: Served, home: Stack
) -> None:
    made = await home.plan("AAPL", "buy", 1)
    async with server.raw() as ws:
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        async with home.backend.desk.database._writing:  # Nothing is claimed meanwhile.
            await ws.send(confirm_of(made.trade_id, 2))
            assert (await ask(ws, "ping", 3))["id"] == 3
            ws.transport.abort()
    for _ in range(10_000):
        if (await home.trade(made)).status != "pending":
            break
        await asyncio.sleep(0)

    assert (await home.trade(made)).status == "executed"
    assert len(home.faults.sent) == 1


# --- the door ---


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"token": "bad"}, 401, "unauthorised"),
        ({"headers": {"Authorization": ""}}, 401, "unauthorised"),
        ({"headers": {"Authorization": "Basic YTpi"}}, 401, "unauthorised"),
        ({"headers": {"Origin": "https://evil.example"}}, 403, "origin_not_allowed"),
        ({"subprotocols": ["graphql-ws"]}, 400, "invalid_request"),
        ({"subprotocols": None}, 400, "invalid_request"),
    ],
    ids=["bad token", "no token", "not bearer", "origin", "other subprotocol", "no subprotocol"],
)
async def test_who_does_not_belong_here_is_told_why(
    server: Served, options: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with server.raw(**options):
            pass

    assert refused.value.response.status_code == status
    body = json.loads(bytes(refused.value.response.body or b""))
    assert (body["code"], body["status"]) == (code, status)


async def test_another_host_is_misdirected(server: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: mcp\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"host_not_allowed" in answer


async def test_a_token_in_the_address_is_refused_even_if_it_is_good(server: Served) -> None:
    headers = {"Authorization": f"Bearer {server.token()}"}
    asked = connect(f"{server.url}?token={server.token()}", additional_headers=headers)
    with pytest.raises(InvalidStatus) as refused:
        await asked

    assert refused.value.response.status_code == 401


async def test_one_token_may_hold_only_so_many_connections(home: Stack) -> None:
    async with served(home, limits=Limits(per_token=2)) as server:
        async with server.raw(), server.raw():
            with pytest.raises(InvalidStatus) as refused:
                async with server.raw():
                    pass
            async with server.raw(server.token("operator")):
                pass  # Another principal has room of its own.
        async with server.raw() as again:
            assert (await again.ping()) is not None

    assert refused.value.response.status_code == 429


# --- frames ---


async def test_what_is_no_message_is_answered_and_the_connection_lives(server: Served) -> None:
    async with server.raw() as ws:
        for text, number in (
            ("nonsense", -32700),
            ("", -32700),
            ('{"a":1}', -32600),
            ("[]", -32600),
            ('{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
            ("[" * 2000 + "]" * 2000, -32600),
        ):
            await ws.send(text)
            assert json.loads(await ws.recv())["error"]["code"] == number, text[:40]
        assert (await ask(ws, "initialize", 1, **INITIALIZE["params"]))["id"] == 1


async def test_a_thousand_malformed_frames_end_the_connection_and_nothing_else(
    server: Served, home: Stack
) -> None:
    async with server.raw() as ws, server.raw() as other:
        with suppress(ConnectionClosed):
            for _ in range(1000):
                await ws.send("{")
                await ws.recv()
        assert await closed(ws) == 4400
        assert (await ask(other, "initialize", 1, **INITIALIZE["params"]))["id"] == 1


async def test_a_binary_frame_ends_the_connection(server: Served) -> None:
    async with server.raw() as ws:
        await ws.send(b"\x00\x01")

        assert await closed(ws) == 1003


async def test_an_oversized_frame_ends_the_connection(server: Served) -> None:
    async with server.raw() as ws:
        await ws.send("x" * (1024 * 1024 + 1))

        assert await closed(ws) == 1009


async def test_an_id_in_use_is_refused(server: Served, home: Stack) -> None:
    async with server.raw() as ws:
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        call = {"name": "list_accounts", "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": call}
        await ws.send(json.dumps(message))
        await ws.send(json.dumps(message | {"id": "5"}))
        answers = [json.loads(await ws.recv()) for _ in range(2)]

    assert sorted("error" in answer for answer in answers) == [False, True]


# --- limits ---


async def test_more_calls_than_may_be_under_way_are_told_that_nothing_happened(
    home: Stack,
) -> None:
    async with served(home, limits=Limits(calls=2)) as server, server.raw() as ws:
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        call = {"name": "list_accounts", "arguments": {}}
        for number in range(10, 20):
            message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            await ws.send(json.dumps(message))
        answers = [json.loads(await ws.recv()) for _ in range(10)]

    busy = [a["error"]["data"]["code"] for a in answers if "error" in a]
    assert set(busy) == {"busy"}
    assert 1 <= len(busy) <= 8


async def test_a_token_that_floods_is_refused_and_then_let_go(home: Stack) -> None:
    async with served(home, limits=Limits(per_s=5)) as server, server.raw() as ws:
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        for number in range(40):
            call = {"jsonrpc": "2.0", "id": 100 + number, "method": "ping"}
            await ws.send(json.dumps(call))
        codes = []
        with suppress(ConnectionClosed):
            while True:
                answer = json.loads(await ws.recv())
                if "error" in answer:
                    codes.append(answer["error"]["data"]["code"])

    assert set(codes) == {"rate_limited"}
    assert ws.close_code == 4429


async def test_a_revoked_token_ends_its_connections(home: Stack) -> None:
    async with served(home, limits=Limits(recheck_s=0.01)) as server:
        token = await home.token("bot", "read")
        async with server.raw(token) as ws, server.raw() as other:
            await ask(ws, "initialize", 1, **INITIALIZE["params"])
            await home.operator.delete("/api/v1/tokens/bot")

            assert await closed(ws) == 4401
            assert (await ask(other, "initialize", 1, **INITIALIZE["params"]))["id"] == 1


async def test_a_client_that_never_reads_is_let_go_and_the_others_do_not_notice(
    home: Stack,
) -> None:
    async with (
        served(home, limits=Limits(stall_s=0.2, per_s=100_000)) as server,
        server.raw() as other,
        server.raw(max_queue=1) as ws,
    ):
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        ws.transport.pause_reading()
        listing = {"jsonrpc": "2.0", "method": "tools/list", "params": {}}
        with suppress(ConnectionClosed):
            for number in range(2000):
                await ws.send(json.dumps(listing | {"id": 100 + number}))
                await asyncio.sleep(0)
                if number % 50 == 0:
                    await ask(other, "initialize", number, **INITIALIZE["params"])
        ws.transport.resume_reading()

        assert await closed(ws) in (4408, 1006)  # It may not read even why.
        assert "id" in await ask(other, "ping", 9999)


# --- the end ---


async def test_a_stop_answers_what_is_under_way_and_says_that_it_will_be_back(
    server: Served, home: Stack
) -> None:
    made = await home.plan("AAPL", "buy", 1)
    async with server.raw() as ws:
        await ask(ws, "initialize", 1, **INITIALIZE["params"])
        async with home.backend.desk.database._writing:  # Nothing is claimed meanwhile.
            await ws.send(confirm_of(made.trade_id, 7))
            assert (await ask(ws, "ping", 8))["id"] == 8
            stopping = asyncio.create_task(server.stop())
            number, told = 9, {}
            while "error" not in told:  # Until the server has noticed that it is to stop.
                told = await ask(ws, "ping", number := number + 1)
            assert told["error"]["data"]["code"] == "busy"
        answer = json.loads(await ws.recv())
        code = await closed(ws)
        await stopping

    assert answer["id"] == 7
    assert "result" in answer
    assert code == 1012


@pytest.mark.parametrize(("deflate", "compressed"), [("on", True), ("off", False), ("auto", False)])
async def test_compression_is_what_was_asked_for(
    home: Stack, deflate: Any, compressed: bool
) -> None:
    async with served(home, deflate=deflate) as server, server.raw() as ws:
        assert ws.response is not None
        extensions = ws.response.headers.get("Sec-WebSocket-Extensions", "")
        answer = await ask(ws, "initialize", 1, **INITIALIZE["params"])

    assert ("permessage-deflate" in extensions) is compressed
    assert answer["result"]["serverInfo"]["name"] == "exec-mcp"
