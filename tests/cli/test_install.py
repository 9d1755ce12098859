"""Client configurations: printed, or merged into what is there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.results import Result

Command = Callable[..., Result]


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("claude-desktop", "mcpServers"),
        ("claude-code", "mcpServers"),
        ("cursor", "mcpServers"),
        ("vscode", "servers"),
    ],
)
def test_install_prints_the_absolute_command_and_the_home_and_nothing_else(
    exec_mcp: Command, home: Path, client: str, key: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EXEC_MCP_TOKEN", "xmcp_mine")

    result = exec_mcp("install", client)

    entry = json.loads(result.out)[key]["exec-mcp"]
    assert result.code == 0
    assert Path(entry["command"]).is_absolute()
    assert entry["args"] == ["stdio"]
    assert entry["env"] == {"EXEC_MCP_HOME": str(home)}


def test_install_write_keeps_what_is_there_and_the_old_file(exec_mcp: Command, tmp_path: Path):
    file = tmp_path / "mcp.json"
    before = '{"theme": "dark", "mcpServers": {"other": {"command": "other"}}}'
    file.write_text(before)

    first = exec_mcp("install", "cursor", "--write", "--path", str(file))
    second = exec_mcp("install", "cursor", "--write", "--path", str(file))

    whole = json.loads(file.read_text())
    assert first.code == second.code == 0
    assert whole["theme"] == "dark"
    assert set(whole["mcpServers"]) == {"other", "exec-mcp"}
    assert (tmp_path / "mcp.json.bak").read_text() == before
    assert "nothing was written" in second.out
    assert len(list(tmp_path.glob("mcp.json*"))) == 2


def test_install_write_makes_the_file_where_there_is_none(exec_mcp: Command, tmp_path: Path):
    file = tmp_path / "new" / "mcp.json"

    assert exec_mcp("install", "vscode", "--write", "--path", str(file)).code == 0
    assert "exec-mcp" in json.loads(file.read_text())["servers"]


@pytest.mark.parametrize("content", ["{ // a comment\n}", "[]", '{"mcpServers": 1}', "\xff"])
def test_install_write_leaves_a_file_alone_that_it_cannot_merge(
    exec_mcp: Command, tmp_path: Path, content: str
):
    file = tmp_path / "mcp.json"
    file.write_bytes(content.encode("latin-1"))

    result = exec_mcp("install", "cursor", "--write", "--path", str(file))

    assert result.code == 1
    assert "nothing was written" in result.err
    assert file.read_bytes() == content.encode("latin-1")
