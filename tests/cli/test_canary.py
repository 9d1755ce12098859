"""I-13 on the command line: a key that was piped in is in no output, no file and no copy."""

import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.results import Result
from tests.cli.test_accounts import pretend  # noqa: F401
from tests.services.canary import API_KEY, KEY, found_in, found_in_files

Command = Callable[..., Result]
LOOKS = [
    ("account", "show", "pretend:one"),
    ("account", "show", "pretend:one", "--json"),
    ("account", "list", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("audit", "export"),
    ("verify",),
    ("trades",),
    ("vault", "rotate"),
]


def test_a_piped_key_turns_up_nowhere(
    exec_mcp: Command,
    pretend: Any,  # noqa: F811
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv("EXEC_MCP_LOG_LEVEL", "DEBUG")
    pretend.holds(API_KEY)
    results = []

    def run(*words: str, piped: Any = KEY) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(piped)))
        results.append(exec_mcp(*words))

    with caplog.at_level(logging.DEBUG):
        run("account", "add", "pretend", "two", "--environment", "testnet")
        run("account", "add", "pretend", "--environment", "testnet")
        run("account", "set-credentials", "pretend:one", "--json")
        run("account", "set-credentials", "pretend:one", piped={**KEY, API_KEY: "x"})
        run("account", "set-credentials", "pretend:one", piped=list(KEY.values()))
        for words in LOOKS:
            run(*words)
        run("backup", str(tmp_path / "copies"))
        run("account", "disable", "pretend:one")
        run("account", "delete", "pretend:one")

    assert [r.code for r in results] == [1, 0, 0, 1, 1, *[0] * (len(LOOKS) + 3)]
    assert pretend.keys[-1].credentials["api_key"].reveal() == API_KEY
    assert {p.name for p in (tmp_path / "copies").iterdir()} == {"exec-mcp.db", "paper.db"}
    assert found_in("\n".join([*(r.out + r.err for r in results), caplog.text])) == []
    assert found_in_files(tmp_path) == []
    assert (home / "vault.key").exists()
