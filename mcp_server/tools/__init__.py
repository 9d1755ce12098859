"""The tools. Each file of this folder is an area; its `@tool` functions are the tools.

A tool is parse, one HTTP call, reply. This module holds what they share.
"""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from fastmcp.decorators import get_fastmcp_meta
from fastmcp.tools import FunctionTool, ToolResult
from mcp_types import ToolAnnotations

from mcp_server.answers import answer, lost, not_reached
from mcp_server.backend_client import AnswerLost, NotReached, backend

TRADING = {"toolset:trading"}

READ = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
READ_MARKET = READ.model_copy(update={"open_world_hint": True})
RESERVE = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
# Repeating it changes nothing more: a trade is claimed once, a switch is on or off.
COMMIT = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)


def output(*required: str, **types: str) -> dict[str, Any]:
    """Return an output schema of top-level keys: `price="number?"` may be null."""
    return {
        "type": "object",
        "properties": {name: _type(word) for name, word in types.items()},
        "required": list(required),
        "additionalProperties": True,
    }


def _type(word: str) -> dict[str, Any]:
    return {"type": [word[:-1], "null"] if word.endswith("?") else word}


async def ask(
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
) -> ToolResult:
    """Make the one call of any tool but a confirm, and return its result."""
    try:
        return answer(await backend().call(method, path, params=params, body=body))
    except NotReached:
        return not_reached()
    except AnswerLost as error:
        return lost(str(error))


@cache
def load_tools() -> tuple[FunctionTool, ...]:
    """Import every area and return its tools, in the order of files and of definition.

    They hold no state, and reading their signatures takes longer than all the rest of a
    server's start: once per process.

    A file that fails to import stops the program: a tool that is silently absent is
    worse than a server that does not start (Law 7).
    """
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    modules = [import_module(f"{__name__}.{name}") for name in names]
    return tuple(tool for module in modules for tool in _tools_of(module))


def _tools_of(module: ModuleType) -> list[FunctionTool]:
    own = [f for f in vars(module).values() if getattr(f, "__module__", "") == module.__name__]
    return [FunctionTool.from_function(f) for f in own if get_fastmcp_meta(f) is not None]
