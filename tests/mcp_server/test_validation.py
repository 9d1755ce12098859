"""Arguments that do not fit are answered in our words."""

import json
from typing import Any

import pytest

from tests.mcp_server.fake_backend import TRADE_ID, AnyClient, FakeBackend, only_text

pytestmark = pytest.mark.anyio

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("tool", "arguments", "parameter", "says"),
    [
        ("get_trade", {}, "trade_id", "is required"),
        ("get_trade", {"trade_id": 7}, "trade_id", "must be a string"),
        ("get_trade", {"trade_id": None}, "trade_id", "must be a string"),
        ("get_trade", {"trade_id": [SECRET]}, "trade_id", "must be a string"),
        ("get_trade", {"trade_id": TRADE_ID, "token": SECRET}, "token", "is not a parameter"),
        ("list_trades", {"limit": "20"}, "limit", "must be a whole number"),
        ("list_trades", {"limit": 2.5}, "limit", "must be a whole number"),
        ("list_trades", {"limit": True}, "limit", "must be a whole number"),
        ("list_trades", {"symbol": 5}, "symbol", "must be a string"),
        ("engage_kill_switch", {"reason": "x", "cancel_orders": "yes"}, "cancel_orders", "true or"),
        ("execute_trade", {"trade_id": TRADE_ID}, "action", "is required"),
        ("plan_trade", {"symbol": "AAPL", "side": "buy"}, "quantity", "is required"),
        ("get_price", {"symbol": "\ud800"}, "symbol", "must be valid Unicode"),
        ("get_trade", {"trade_id": ["\ud800"]}, "trade_id", "must be valid Unicode"),
        ("get_trade", {"trade_id": TRADE_ID, "x" * 500: 1}, "x" * 79 + "…", "is not a parameter"),
    ],
)
async def test_an_argument_that_does_not_fit_is_named_with_what_is_expected(
    client: AnyClient,
    backend: FakeBackend,
    tool: str,
    arguments: dict[str, Any],
    parameter: str,
    says: str,
) -> None:
    result = await client.call_tool(tool, arguments, raise_on_error=False)

    text = only_text(result)
    problem = json.loads(text)
    assert result.is_error
    assert problem["code"] == "invalid_request"
    assert problem["parameter"] == parameter
    assert says in problem["detail"]
    assert SECRET not in text
    assert "pydantic" not in text
    assert "http" not in text
    assert backend.asked == []


async def test_an_unknown_tool_is_an_error_result(client: AnyClient) -> None:
    result = await client.call_tool("modify_trade", {}, raise_on_error=False)

    assert result.is_error
    assert "Unknown tool" in only_text(result)
