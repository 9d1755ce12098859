"""What was answered, with every digit."""

import json
from decimal import Decimal
from typing import Any, Self

import httpx
from fastmcp.client.client import CallToolResult
from mcp_types import TextContent

from backend.domain import exact_json


class Answer(dict[str, Any]):
    """A JSON object as it was answered; every number in it is an exact Decimal.

    Attributes:
        text: the answer as it came.
        refused: it is a problem object, or an error in words (then under `detail`).
    """

    def __init__(self, text: str, refused: bool) -> None:
        super().__init__(_object(text))
        self.text = text
        self.refused = refused

    @classmethod
    def of_tool(cls, result: CallToolResult) -> Self:
        """Return what a tool answered in its text block."""
        (block,) = result.content
        assert isinstance(block, TextContent)
        return cls(block.text, bool(result.is_error))

    @classmethod
    def of_http(cls, response: httpx.Response) -> Self:
        """Return what a route answered."""
        return cls(response.text, response.is_error)

    @property
    def status(self) -> str | None:
        """The trade's status; of a refusal the actual one, None where no trade is told of."""
        found = self.get("current_status" if self.refused else "status")
        return None if found is None else str(found)

    @property
    def code(self) -> str | None:
        """Why it was refused; None of a success."""
        return self.get("code")

    @property
    def trade_id(self) -> str:
        """The trade's id.

        Raises:
            ValueError: there is none; says what was answered instead.
        """
        found = self.get("trade_id")
        if not isinstance(found, str):
            raise ValueError(f"no trade in this answer: {self.text}")
        return found


def _object(text: str) -> dict[str, Any]:
    try:
        found = exact_json.loads(text)
    except json.JSONDecodeError:
        return {"detail": text}
    return found if isinstance(found, dict) else {"detail": text}


def argument(value: Any) -> Any:
    """Return a tool's argument as JSON can carry it: a Decimal as plain digits."""
    return format(value, "f") if isinstance(value, Decimal) else value
