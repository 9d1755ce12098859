"""What the caller of a confirm may believe."""

import json
from typing import Any

import httpx
import pytest
from fastmcp import FastMCP

from backend.domain.errors import CODES
from backend.risk import load_checks
from mcp_server.codes import KNOWN_CODES
from tests.mcp_server.fake_backend import PROBLEM, TRADE_ID, AnyClient, FakeBackend, only_text

pytestmark = pytest.mark.anyio

EXECUTED = {"trade_id": TRADE_ID, "status": "executed"}
LOST_CLAIM = {"code": "trade_not_pending", "detail": "…", "trade_id": TRADE_ID}
UNKNOWN = {
    "trade_id": TRADE_ID,
    "status": "unknown",
    "next": "call get_trade; do not plan again",
}


async def confirm(client: AnyClient) -> Any:
    arguments = {"trade_id": TRADE_ID, "action": "confirm"}
    return await client.call_tool("execute_trade", arguments, raise_on_error=False)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "believed"),
    [
        (200, EXECUTED, None, "result"),
        (202, {"trade_id": TRADE_ID, "status": "executing"}, None, "result"),
        (400, LOST_CLAIM, None, "refusal"),
        (400, LOST_CLAIM, PROBLEM + "; charset=utf-8", "refusal"),
        (400, LOST_CLAIM | {"code": "price_band"}, None, "refusal"),
        (401, LOST_CLAIM | {"code": "unauthorised"}, None, "refusal"),
        (404, {"code": "not_found", "detail": "no such thing, or not yours"}, None, "refusal"),
        (422, LOST_CLAIM | {"code": "exchange_rejected"}, None, "refusal"),
        (429, LOST_CLAIM | {"code": "rate_limited"}, None, "refusal"),
        (503, LOST_CLAIM | {"code": "exchange_unavailable"}, None, "refusal"),
        (400, LOST_CLAIM, "application/json", "unknown"),
        (400, LOST_CLAIM | {"code": "proxy_says_no"}, None, "unknown"),
        (400, LOST_CLAIM | {"code": ["trade_not_pending"]}, None, "unknown"),
        (400, LOST_CLAIM | {"trade_id": "trd-zzzzzzzzzzzzzzzzzzzz"}, None, "unknown"),
        (400, {"code": "trade_not_pending"}, None, "unknown"),
        (400, "not json", None, "unknown"),
        (404, "<html>Not Found</html>", "text/html", "unknown"),
        (404, {"code": "not_found"}, "application/json", "unknown"),
        (404, {"code": "unknown_symbol"}, None, "unknown"),
        (400, {"code": "not_found"}, None, "unknown"),
        (422, [LOST_CLAIM], None, "unknown"),
        (500, LOST_CLAIM | {"code": "internal_error"}, None, "unknown"),
        (502, "<html>Bad Gateway</html>", "text/html", "unknown"),
        (504, LOST_CLAIM, None, "unknown"),
        (200, "<html>captive portal</html>", "text/html", "unknown"),
        (200, {"trade_id": "trd-zzzzzzzzzzzzzzzzzzzz", "status": "executed"}, None, "unknown"),
        (200, "[]", None, "unknown"),
        (201, EXECUTED, None, "unknown"),
        (307, EXECUTED, None, "unknown"),
    ],
)
async def test_a_confirm_believes_only_what_is_about_this_trade(
    client: AnyClient,
    backend: FakeBackend,
    status: int,
    body: Any,
    content_type: str | None,
    believed: str,
) -> None:
    backend.answers(status, body, content_type)

    result = await confirm(client)

    text = only_text(result)
    assert result.is_error is (believed == "refusal")
    assert (text == backend.text) is (believed != "unknown")
    if believed == "unknown":
        assert json.loads(text) == result.structured_content == UNKNOWN
    assert len(backend.asked) == 1, "a confirm is one request, whatever comes back"


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")]
)
async def test_a_backend_that_was_not_reached_means_nothing_happened(
    client: AnyClient, backend: FakeBackend, failure: Exception
) -> None:
    backend.failure = failure

    result = await confirm(client)

    problem = json.loads(only_text(result))
    assert result.is_error
    assert problem["code"] == "backend_unreachable"
    assert problem["trade_id"] == TRADE_ID
    assert "nothing happened" in problem["detail"]
    assert "safe to confirm again" in problem["detail"]


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.RemoteProtocolError("disconnected"),
        httpx.ProxyError("proxy"),
        httpx.DecodingError("gzip"),
    ],
)
async def test_a_broken_connection_is_unknown_and_no_error(
    client: AnyClient, backend: FakeBackend, failure: Exception
) -> None:
    backend.failure = failure

    result = await confirm(client)

    assert not result.is_error
    assert result.structured_content == UNKNOWN


async def test_a_lost_cancel_is_an_error_that_says_to_look(
    client: AnyClient, backend: FakeBackend
) -> None:
    backend.failure = httpx.ReadTimeout("slow")

    result = await client.call_tool(
        "execute_trade", {"trade_id": TRADE_ID, "action": "cancel"}, raise_on_error=False
    )

    assert result.is_error
    assert json.loads(only_text(result))["code"] == "answer_lost"


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("action", ["modify", "", "confirm!"])
async def test_the_caller_reads_exactly_the_documented_words_for_another_action(
    client: AnyClient, server: FastMCP, backend: FakeBackend, action: str, mask: bool
) -> None:
    server._mask_error_details = mask

    result = await client.call_tool(
        "execute_trade", {"trade_id": "trd-abc", "action": action}, raise_on_error=False
    )

    assert result.is_error
    assert only_text(result) == "action must be 'confirm' or 'cancel'."
    assert backend.asked == []


async def test_an_id_that_is_not_ours_is_not_found_without_a_request(
    client: AnyClient, backend: FakeBackend
) -> None:
    result = await client.call_tool(
        "execute_trade", {"trade_id": "trd-old111", "action": "confirm"}, raise_on_error=False
    )

    assert result.is_error
    assert only_text(result) == (
        '{"type":"about:blank","title":"Not Found","status":404,"code":"not_found",'
        '"detail":"no such thing, or not yours"}'
    )
    assert backend.asked == []


@pytest.mark.parametrize("tool", ["get_trade", "get_order", "cancel_order"])
async def test_a_look_up_of_an_id_that_is_not_ours_is_not_found(
    client: AnyClient, backend: FakeBackend, tool: str
) -> None:
    result = await client.call_tool(tool, {"trade_id": "../accounts"}, raise_on_error=False)

    assert only_text(result) == (
        '{"type":"about:blank","title":"Not Found","status":404,"code":"not_found",'
        '"detail":"no such thing, or not yours"}'
    )
    assert backend.asked == []


def test_the_known_codes_are_the_backends_and_its_risk_checks() -> None:
    assert {*CODES, *load_checks()} == KNOWN_CODES
