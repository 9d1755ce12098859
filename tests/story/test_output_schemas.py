"""What tools and pages promise of the results is what the whole product answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from backend.testing import Stack, stack
from mcp_server.tools import load_tools
from tests.mcp_server.fake_backend import only_text
from tests.story.every_result import STATES, Teller

PAGES = Path(__file__).parents[2] / "kb" / "mcp"
SCHEMAS = {tool.name: tool.output_schema or {} for tool in load_tools()}
# These pages say that they show what another one shows.
AS = {"get_trade": "plan_trade", "plan_trade": "get_trade", "cancel_order": "get_order"}
# Free names: of limits, settings and the like.
FREE = ("limits", "settings")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_every_result_is_as_its_schema_says(exec_mcp: Stack, state: Any, mode: Any) -> None:
    async with exec_mcp.mcp(mode) as client:
        teller = Teller(client)
        await state(teller, exec_mcp)

    for tool, results in teller.told.items():
        for result in results:
            Draft202012Validator(SCHEMAS[tool]).validate(result.structured_content)
            assert set(result.structured_content or {}) <= set(SCHEMAS[tool]["properties"]), tool
            assert json.loads(only_text(result)) == result.structured_content


@pytest.mark.anyio
async def test_the_pages_show_the_keys_that_are_answered_and_no_others(tmp_path: Path) -> None:
    answered: dict[str, set[str]] = {}
    for state in STATES:
        async with stack(tmp_path / state.__name__) as opened, opened.mcp() as client:
            teller = Teller(client)
            await state(teller, opened)
        for tool, results in teller.told.items():
            for result in results:
                answered.setdefault(tool, set()).update(keys(result.structured_content))

    assert set(answered) == set(SCHEMAS)
    for tool, found in answered.items():
        shown = set().union(*(keys(block) for block in blocks(tool)))
        assert shown <= found, f"{tool}: shown, never answered"
        named = words(tool) | words(AS.get(tool, tool))
        top = {key for key in found if "." not in key}
        assert top <= named, f"{tool}: answered, named nowhere on its page"


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of every key: positions in lists are left out."""
    if isinstance(value, list):
        for item in value:
            yield from keys(item, prefix)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield prefix + key
            if key not in FREE:
                yield from keys(item, f"{prefix}{key}.")


def blocks(tool: str) -> list[Any]:
    """Return what the page shows under Returns."""
    text = (PAGES / f"{tool}.md").read_text(encoding="utf-8")
    section = text.partition("\n## Returns\n")[2].partition("\n## ")[0]
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]


def words(tool: str) -> set[str]:
    """Return every word of the page that stands in quotes or backticks."""
    text = (PAGES / f"{tool}.md").read_text(encoding="utf-8")
    return set(re.findall(r"[`\"](\w+)[`\"]", text))
