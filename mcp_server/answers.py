"""From a reply of the backend to the result of a tool.

What a confirm's caller may believe: a refusal only if it is ours and about this
trade; `NotReached` means nothing happened; everything else is unknown, which is
not an error and says where to look.
"""

import json
import logging
from typing import Any

from fastmcp.exceptions import ToolError
from fastmcp.tools import ToolResult
from mcp_types import TextContent

from mcp_server.backend_client import Reply
from mcp_server.codes import KNOWN_CODES

_CONFIRM_ANSWERS = (200, 202)
_NOT_FOUND = 404
_UNAVAILABLE = 503


class Refusal(ToolError):
    """Our own refusal: the message is a problem object, and it reaches the caller whole."""

    def __init__(self, text: str) -> None:
        super().__init__(text, log_level=logging.DEBUG)


class ActionError(ToolError, ValueError):
    """A ValueError whose words survive the masking of errors."""

    def __init__(self, text: str) -> None:
        super().__init__(text, log_level=logging.DEBUG)


def problem(code: str, detail: str, **facts: Any) -> str:
    """Return a problem object of our own, as text."""
    return json.dumps({"code": code, "detail": detail, **facts}, separators=(",", ":"))


def success(text: str, data: dict[str, Any]) -> ToolResult:
    """Return a result: `text` keeps every digit, `data` has numbers as doubles."""
    return ToolResult(content=[TextContent(type="text", text=text)], structured_content=data)


def refused(text: str) -> ToolResult:
    """Return an error result that holds a problem object and nothing else."""
    return ToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def answer(reply: Reply) -> ToolResult:
    """Return the result of any call but a confirm."""
    if reply.data is not None and 200 <= reply.status < 300:
        return success(reply.text, reply.data)
    if reply.data is not None and reply.is_problem and reply.status >= 400:
        return refused(reply.text)
    return lost(f"an answer that is not the backend's (HTTP {reply.status})")


def confirm_answer(reply: Reply, trade_id: str) -> ToolResult:
    """Return the result of a confirm: only what is about this trade is believed."""
    data = reply.data
    if data is None:
        return unknown(trade_id)
    if reply.status == _NOT_FOUND and data.get("code") == "not_found" and reply.is_problem:
        # Missing and foreign trades answer the same bytes, so no trade is named.
        return refused(reply.text)
    if data.get("trade_id") != trade_id:
        return unknown(trade_id)
    if reply.status in _CONFIRM_ANSWERS and not reply.is_problem:
        return success(reply.text, data)
    if _is_refusal(reply, data):
        return refused(reply.text)
    return unknown(trade_id)


def _is_refusal(reply: Reply, data: dict[str, Any]) -> bool:
    code = data.get("code")
    return (
        (400 <= reply.status < 500 or reply.status == _UNAVAILABLE)
        and reply.is_problem
        and isinstance(code, str)
        and code in KNOWN_CODES
    )


def unknown(trade_id: str) -> ToolResult:
    """Return that nobody knows yet what became of the trade: not an error."""
    data = {
        "trade_id": trade_id,
        "status": "unknown",
        "next": "call get_trade; do not plan again",
    }
    return success(json.dumps(data, separators=(",", ":")), data)


def missing() -> ToolResult:
    """Return what the backend says of a trade that does not exist, without asking it.

    For ids that do not have the form of ours and so may not stand in a path.
    """
    body = {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "no such thing, or not yours",
    }
    return refused(json.dumps(body, separators=(",", ":")))


def not_reached(trade_id: str | None = None) -> ToolResult:
    """Return that nothing happened, because the backend was not reached."""
    again = "it is safe to try again" if trade_id is None else "it is safe to confirm again"
    detail = (
        f"The backend was not reached, so nothing happened; {again}. "
        "If it stays away, the operator can run `exec-mcp doctor`."
    )
    facts = {} if trade_id is None else {"trade_id": trade_id}
    return refused(problem("backend_unreachable", detail, **facts))


def lost(what: str) -> ToolResult:
    """Return that there was no usable answer, and that the request may have taken effect."""
    return refused(
        problem(
            "answer_lost",
            f"The backend's answer was lost: {what}. A look-up may simply be repeated; after a "
            "change, look first (list_trades, get_trade, risk_status) whether it took effect.",
        )
    )
