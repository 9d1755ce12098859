"""The surface: what is offered, what is sent, and what comes back."""

import json
from typing import Any

import httpx
import pytest
from fastmcp import Client, FastMCP

from mcp_server.server import create_server
from tests.mcp_server.calls import CALLS
from tests.mcp_server.fake_backend import AnyClient, FakeBackend, only_text

pytestmark = pytest.mark.anyio


async def test_the_default_list_is_small(client: AnyClient) -> None:
    tools = [
        tool.model_dump(by_alias=True, exclude_none=True, mode="json")
        for tool in await client.list_tools()
    ]

    assert len(tools) < 20
    assert len(json.dumps(tools, separators=(",", ":"))) < 25_000
    assert sum(len(tool["description"]) for tool in tools) / len(tools) <= 350


async def test_every_tool_is_described_and_annotated(client: AnyClient) -> None:
    for tool in await client.list_tools():
        assert tool.title, tool.name
        assert tool.description, tool.name
        assert len(tool.name) <= 40
        hints = tool.annotations
        assert hints is not None
        assert hints.read_only_hint is not None
        assert hints.destructive_hint is not None
        assert hints.idempotent_hint is not None
        assert hints.open_world_hint is not None
        assert tool.output_schema is not None


@pytest.mark.parametrize(
    ("tool", "read_only", "destructive", "idempotent"),
    [
        ("plan_trade", False, False, False),
        ("execute_trade", False, True, True),
        ("cancel_order", False, True, True),
        ("engage_kill_switch", False, True, True),
        ("get_trade", True, False, True),
        ("portfolio_status", True, False, True),
    ],
)
async def test_annotations_tell_what_a_tool_may_do(
    client: AnyClient, tool: str, read_only: bool, destructive: bool, idempotent: bool
) -> None:
    hints = {t.name: t.annotations for t in await client.list_tools()}[tool]

    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) == (
        read_only,
        destructive,
        idempotent,
    )


async def test_every_tool_has_a_call_in_the_table(client: AnyClient) -> None:
    assert {tool.name for tool in await client.list_tools()} == set(CALLS)


@pytest.mark.parametrize("tool", CALLS)
async def test_a_tool_is_one_request_with_the_servers_token_and_no_other_header(
    client: AnyClient, backend: FakeBackend, tool: str
) -> None:
    call = CALLS[tool]
    backend.answers(200, call.answer)

    await client.call_tool(tool, call.arguments)

    (asked,) = backend.asked
    assert (asked.method, asked.path) == (call.method, call.path)
    assert asked.params == call.params
    assert asked.body == call.body
    assert asked.headers["authorization"] == "Bearer the-token"
    own = {"accept", "accept-encoding", "connection", "host", "user-agent", "authorization"}
    assert set(asked.headers) <= own | {"content-type", "content-length"}


@pytest.mark.parametrize("tool", CALLS)
async def test_the_text_is_the_backends_body_and_the_structure_its_doubles(
    client: AnyClient, backend: FakeBackend, tool: str
) -> None:
    answer = dict(CALLS[tool].answer)
    text = json.dumps(answer)[:-1] + ',  "exact": 123456789012.123456789, "zero": 215.40}'
    backend.answers(200, text)

    result = await client.call_tool(tool, CALLS[tool].arguments)

    assert only_text(result) == text
    assert result.structured_content == answer | {"exact": 123456789012.12346, "zero": 215.4}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
async def test_a_problem_reaches_the_caller_byte_for_byte(
    client: AnyClient, backend: FakeBackend, status: int
) -> None:
    backend.answers(status, '{ "code":"invalid_number",\n "detail": "…", "limit": 0.10 }')

    result = await client.call_tool("get_price", {"symbol": "AAPL"}, raise_on_error=False)

    assert result.is_error
    assert only_text(result) == backend.text
    assert result.structured_content is None


@pytest.mark.parametrize(
    ("status", "text", "content_type"),
    [
        (502, "<html>Bad Gateway</html>", "text/html"),
        (500, "{}", "application/json"),
        (200, "<html>captive portal</html>", "text/html"),
        (200, "[]", "application/json"),
        (200, "[" * 200_000, "application/json"),
        (302, "{}", "application/json"),
    ],
)
async def test_a_foreign_answer_is_an_error_that_does_not_quote_it(
    client: AnyClient, backend: FakeBackend, status: int, text: str, content_type: str
) -> None:
    backend.answers(status, text, content_type)

    result = await client.call_tool("portfolio_status", {}, raise_on_error=False)

    problem = json.loads(only_text(result))
    assert result.is_error
    assert problem["code"] == "answer_lost"
    assert "html" not in problem["detail"]


async def test_an_unreachable_backend_is_an_error_result(
    client: AnyClient, backend: FakeBackend
) -> None:
    backend.failure = httpx.ConnectError("refused")

    result = await client.call_tool("list_trades", {}, raise_on_error=False)

    problem = json.loads(only_text(result))
    assert problem["code"] == "backend_unreachable"
    assert "nothing happened" in problem["detail"]


@pytest.mark.parametrize(
    ("symbol", "target"),
    [
        ("BTC/USD", "/api/v1/prices/BTC%2FUSD"),
        ("BRK.B", "/api/v1/prices/BRK%2EB"),
        ("..", "/api/v1/prices/%2E%2E"),
        ("../accounts?x=1#y", "/api/v1/prices/%2E%2E%2Faccounts%3Fx%3D1%23y"),
        ("", "/api/v1/prices/"),
    ],
)
async def test_a_symbol_stays_one_path_segment(
    client: AnyClient, backend: FakeBackend, symbol: str, target: str
) -> None:
    backend.answers(404, {"code": "unknown_symbol", "detail": "…"})

    await client.call_tool("get_price", {"symbol": symbol}, raise_on_error=False)

    assert [asked.target for asked in backend.asked] == [target]
    assert backend.asked[0].path == f"/api/v1/prices/{symbol}"


async def test_a_symbol_too_long_for_a_path_never_leaves(
    client: AnyClient, backend: FakeBackend
) -> None:
    result = await client.call_tool("get_price", {"symbol": "A" * 100_000}, raise_on_error=False)

    assert result.is_error
    assert backend.asked == []


@pytest.mark.parametrize(
    ("quantity", "sent"),
    [(10, 10), (0.1, "0.1"), ("0.10", "0.10"), (1e-8, "0.00000001"), ("NaN", "NaN")],
)
async def test_a_quantity_reaches_the_backend_with_its_digits(
    client: AnyClient, backend: FakeBackend, quantity: Any, sent: Any
) -> None:
    call = CALLS["plan_trade"]
    backend.answers(201, call.answer)

    await client.call_tool("plan_trade", call.arguments | {"quantity": quantity})

    assert backend.asked[0].body["quantity"] == sent


@pytest.mark.parametrize("quantity", [True, 0.1 + 0.2, float("nan"), float("inf"), None, [], {}])
async def test_a_quantity_that_is_no_exact_number_never_leaves(
    client: AnyClient, backend: FakeBackend, quantity: Any
) -> None:
    arguments = {"symbol": "AAPL", "side": "buy", "quantity": quantity}

    result = await client.call_tool("plan_trade", arguments, raise_on_error=False)

    assert result.is_error
    assert json.loads(only_text(result))["parameter"] == "quantity"
    assert backend.asked == []


def test_an_unknown_toolset_refuses_to_start(backend: FakeBackend) -> None:
    with pytest.raises(ValueError, match="toolsets must be among trading; was tradng"):
        create_server(backend.client(), toolsets=["tradng"])


async def test_the_list_is_answered_before_there_is_a_backend() -> None:
    async def not_yet() -> httpx.AsyncClient:
        raise httpx.ConnectError("still starting")

    async with Client(create_server(not_yet)) as client:
        tools = await client.list_tools()
        result = await client.call_tool("portfolio_status", {}, raise_on_error=False)

    assert len(tools) == len(CALLS)
    assert json.loads(only_text(result))["code"] == "backend_unreachable"


async def test_the_backend_may_be_awaited(backend: FakeBackend) -> None:
    async with backend.client() as http:

        async def connect() -> httpx.AsyncClient:
            return http

        async with Client(create_server(connect)) as client:
            backend.answers(200, CALLS["list_accounts"].answer)
            await client.call_tool("list_accounts", {})

    assert "authorization" not in backend.asked[0].headers


async def test_the_server_says_what_it_is(server: FastMCP, client: AnyClient) -> None:
    assert server.name == "exec-mcp"
    assert server.version == "0.1.0"
    instructions = server.instructions or ""
    assert "never plan again" in instructions
    assert "explicit yes" in instructions


async def test_the_path_of_the_backends_address_is_kept():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"accounts": []})

    transport = httpx.MockTransport(answer)
    http = httpx.AsyncClient(base_url="https://proxy/exec", transport=transport)
    async with http, Client(create_server(http, token="t")) as client:
        await client.call_tool("list_accounts", {})

    assert asked == ["https://proxy/exec/api/v1/accounts"]
