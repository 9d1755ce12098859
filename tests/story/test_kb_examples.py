"""Law 11: every example of every page runs as it stands, in both eras, on a fresh system."""

from pathlib import Path

import pytest

from backend.testing import Stack
from tests.mcp_server.kb_examples import Example, examples, play

PAGES = sorted((Path(__file__).parents[2] / "kb" / "mcp").glob("*.md"))
EXAMPLES = [example for page in PAGES for example in examples(page)]

pytestmark = pytest.mark.exec_mcp(
    opening="99840.12", prices={"AAPL": ("215.38", "215.40"), "SPY": ("538.18", "538.20")}
)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_an_example_runs_as_it_stands(exec_mcp: Stack, example: Example, mode: str) -> None:
    async with exec_mcp.mcp(mode) as client:  # type: ignore[arg-type]
        await play(example, client, exec_mcp.advance)
