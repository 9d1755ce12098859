"""Arguments that do not fit a tool are answered in our words, as a problem object.

FastMCP's own answer is a pydantic dump with URLs and the caller's input in it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from fastmcp.exceptions import ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import ToolResult
from mcp_types import CallToolRequestParams
from pydantic import ValidationError as PydanticError

from mcp_server.answers import problem, refused
from mcp_server.backend_client import BackendClient
from mcp_server.parsing import echo

Schema: TypeAlias = Mapping[str, Any]

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
}


class ToolCalls(Middleware):
    """Serves each tool call with the backend at hand and arguments that fit.

    Args:
        schemas: the input schema of each tool.
    """

    def __init__(self, client: BackendClient, schemas: Mapping[str, Schema]) -> None:
        self._client = client
        self._schemas = schemas

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Answer a call whose arguments do not fit, and pass on any other."""
        broken = _not_text(context.message.arguments or {})
        if broken is not None:
            return _refuse(f"{broken} must be valid Unicode text.", broken)
        try:
            with self._client.bound():
                return await call_next(context)
        except ValidationError as error:
            name = context.message.name
            return _explain(name, self._schemas[name], error.__cause__)


def _not_text(arguments: Mapping[str, Any]) -> str | None:
    """Return the argument that holds a lone surrogate: it has no bytes to send."""
    return next((echo(name) for name, value in arguments.items() if not _is_text(value)), None)


def _is_text(value: object) -> bool:
    """Say whether every text inside has bytes, however deep it stands."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and not one.isascii() and not _is_utf8(one):
            return False
        if isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _explain(tool: str, schema: Schema, cause: BaseException | None) -> ToolResult:
    parameters: Iterable[str] = schema["properties"]
    if not isinstance(cause, PydanticError):
        return _refuse(f"The arguments of {tool} do not fit: it takes {', '.join(parameters)}.")
    first = cause.errors(include_url=False, include_input=False, include_context=False)[0]
    parameter = echo(str(first["loc"][0])) if first["loc"] else tool
    match first["type"]:
        case "missing_argument":
            detail = f"{parameter} is required."
        case "unexpected_keyword_argument":
            detail = f"{parameter} is not a parameter of {tool}: it takes {', '.join(parameters)}."
        case kind:
            detail = f"{parameter} must be {_EXPECTED.get(kind, 'of another type')}."
    return _refuse(detail, parameter)


def _refuse(detail: str, parameter: str | None = None) -> ToolResult:
    facts = {} if parameter is None else {"parameter": parameter}
    return refused(problem("invalid_request", detail, **facts))
