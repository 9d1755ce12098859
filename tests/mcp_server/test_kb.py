"""Law 11: the page is true. Tools and pages match, in names, signatures, keys and routes."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastmcp.tools import FunctionTool

from mcp_server.tools import load_tools
from tests.mcp_server.calls import CALLS
from tests.mcp_server.fake_backend import TRADE_ID
from tests.mcp_server.kb_examples import Call, Example, examples

REPOSITORY = Path(__file__).parents[2]
PAGES = {page.stem: page for page in sorted((REPOSITORY / "kb" / "mcp").glob("*.md"))}
TOOLS = {tool.name: tool for tool in load_tools()}
EXAMPLES = [example for page in PAGES.values() for example in examples(page)]

HEADINGS = [
    "Signature",
    "Validation",
    "Returns",
    "Behaviour",
    "Examples",
    "When to use",
    "When NOT to use",
    "See also",
]
_PYTHON = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "null": "None"}

every_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))


def text_of(tool: FunctionTool) -> str:
    return PAGES[tool.name].read_text(encoding="utf-8")


def section(tool: FunctionTool, heading: str) -> str:
    rest = text_of(tool).partition(f"\n## {heading}\n")[2]
    return rest.partition("\n## ")[0]


def test_every_tool_has_a_page_and_every_page_a_tool() -> None:
    assert set(PAGES) == set(TOOLS)


@every_tool
def test_a_page_has_its_head_and_its_headings_in_order(tool: FunctionTool) -> None:
    lines = text_of(tool).splitlines()

    assert lines[:4] == [f"# MCP tool: {tool.name}", "", "Last verified: 2026-11-20", ""]
    assert lines[4].startswith(f"`{tool.name}`")
    assert [line[3:] for line in lines if line.startswith("## ")] == HEADINGS


def declared(tool: FunctionTool) -> list[tuple[str, str, Any]]:
    """Return the page's parameters: name, type and default."""
    (block,) = re.findall(r"```python\n(.*?)```", section(tool, "Signature"), re.DOTALL)
    (function,) = ast.parse(f"def {block.replace(') -> str ', ') -> str: ... ')}").body
    assert isinstance(function, ast.FunctionDef)
    assert function.name == tool.name
    arguments = function.args.args
    missing = [...] * (len(arguments) - len(function.args.defaults))
    defaults = [*missing, *(ast.literal_eval(node) for node in function.args.defaults)]
    return [
        (argument.arg, ast.unparse(argument.annotation), default)
        for argument, default in zip(arguments, defaults, strict=True)
        if argument.annotation is not None
    ]


def offered(tool: FunctionTool) -> list[tuple[str, str, Any]]:
    """Return the parameters as `tools/list` offers them."""
    schema = tool.parameters
    return [
        (name, python_type(spec), spec.get("default", ...))
        for name, spec in schema["properties"].items()
    ]


def python_type(spec: dict[str, Any]) -> str:
    types = [option["type"] for option in spec.get("anyOf", [spec])]
    if "number" in types:
        rest = [t for t in types if t not in ("number", "string")]
        return " | ".join(["str | int | float", *(_PYTHON[t] for t in rest)])
    return " | ".join(_PYTHON[t] for t in types)


@every_tool
def test_the_signature_is_the_tools_own(tool: FunctionTool) -> None:
    assert declared(tool) == offered(tool)
    required = [name for name, _, default in declared(tool) if default is ...]
    assert tool.parameters.get("required", []) == required


@every_tool
def test_every_key_of_the_returns_is_in_the_output_schema(tool: FunctionTool) -> None:
    blocks = re.findall(r"```json\n(.*?)```", section(tool, "Returns"), re.DOTALL)
    schema = tool.output_schema
    assert blocks
    assert schema is not None
    for block in blocks:
        result = json.loads(block)
        assert set(result) <= set(schema["properties"])
        assert set(result) >= set(schema["required"])


@every_tool
def test_every_code_path_it_names_exists(tool: FunctionTool) -> None:
    paths = re.findall(r"`([\w/]+\.py):(\w+)`", text_of(tool))
    assert paths
    for path, function in paths:
        assert function == tool.name
        assert f"async def {function}(" in (REPOSITORY / path).read_text(encoding="utf-8")


@every_tool
def test_it_names_the_route_the_tool_calls(tool: FunctionTool) -> None:
    call = CALLS[tool.name]
    routes = set(re.findall(r"`((?:GET|POST|DELETE) /api/v1/[^`]*)`", text_of(tool)))
    patterns = [re.sub(r"\\{\w+\\}", ".+", re.escape(route)) for route in routes]

    assert any(re.fullmatch(pattern, f"{call.method} {call.path}") for pattern in patterns)
    assert len(routes) == (2 if tool.name == "execute_trade" else 1)


@every_tool
def test_every_tool_it_names_exists(tool: FunctionTool) -> None:
    see_also = re.findall(r"^- `(\w+)` — ", section(tool, "See also"), re.MULTILINE)

    assert see_also
    assert set(see_also) <= set(TOOLS) - {tool.name}


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_calls_tools_with_arguments_they_take(example: Example) -> None:
    calls = [step for step in example.steps if isinstance(step, Call)]

    assert example.page in {call.tool for call in calls}
    for call in calls:
        parameters = TOOLS[call.tool].parameters
        assert set(call.arguments) <= set(parameters["properties"])
        assert set(call.arguments) >= set(parameters.get("required", []))


@every_tool
def test_every_page_has_an_example(tool: FunctionTool) -> None:
    assert any(example.page == tool.name for example in EXAMPLES)


def test_the_ids_on_the_pages_have_the_form_of_ours() -> None:
    for page in PAGES.values():
        for found in re.findall(r'"trade_id": "(.*?)"', page.read_text(encoding="utf-8")):
            assert re.fullmatch(r"trd-[a-z2-7]{20}", found), page
    assert len(TRADE_ID) == 24
