"""Backup and doctor: what they do to a home, and what they find in it."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.cli.backup import open_as_it_is
from backend.database import sqlite3
from backend.domain.clock import system_clock, to_row
from backend.store import controls
from tests.cli.results import Result

Command = Callable[..., Result]
Agent = Callable[..., dict[str, Any]]


def test_backup_copies_both_databases_and_no_secret(
    exec_mcp: Command, agent: Agent, tmp_path: Path
):
    trade_id = agent(confirm=True)["trade_id"]

    result = exec_mcp("backup", str(tmp_path / "copies" / "today"))

    folder = tmp_path / "copies" / "today"
    assert result.code == 0
    assert sorted(os.listdir(folder)) == ["exec-mcp.db", "paper.db"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    copy = sqlite3.connect(str(folder / "exec-mcp.db"))
    assert copy.execute("SELECT id FROM trades").fetchall() == [(trade_id,)]
    copy.close()


def test_backup_to_a_file_puts_the_other_beside_it_and_overwrites_nothing(
    exec_mcp: Command, agent: Agent, tmp_path: Path
):
    agent()

    first = exec_mcp("backup", str(tmp_path / "day.db"))
    second = exec_mcp("backup", str(tmp_path / "day.db"))

    assert first.code == 0
    assert (tmp_path / "day.paper.db").exists()
    assert second.code == 1
    assert "not overwritten" in second.err


def test_backup_without_a_database_says_so(exec_mcp: Command, tmp_path: Path):
    assert exec_mcp("backup", str(tmp_path / "copies")).code == 1
    assert not (tmp_path / "copies").exists()


def test_doctor_finds_nothing_wrong_in_a_new_home(exec_mcp: Command):
    result = exec_mcp("doctor", "--json")

    found = {finding["what"]: finding for finding in result.json["findings"]}
    assert result.code == 0
    assert {finding["status"] for finding in found.values()} == {"ok", "note"}
    assert "SQLite" in found["durability"]["found"]
    assert found["serve"]["found"] == "none"
    assert found["prices simulated"]["found"].endswith("simulated")


def test_doctor_tells_no_secret(exec_mcp: Command, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EXEC_MCP_TOKEN", "xmcp_mine")

    result = exec_mcp("doctor")

    assert "xmcp" not in result.out
    assert "setting token" in result.out


@pytest.mark.parametrize("name", ["operator.token", "vault.key", "exec-mcp.db", "."])
def test_doctor_finds_a_file_that_others_may_read(exec_mcp: Command, home: Path, name: str):
    exec_mcp("trades")
    (home / name).chmod(0o755)

    result = exec_mcp("doctor")

    assert result.code == 1
    assert "has mode 755: chmod" in result.out


def test_doctor_tells_a_price_source_that_does_not_open(
    exec_mcp: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EXEC_MCP_PRICE_SOURCE", "replay:/nothing.csv")

    result = exec_mcp("doctor")

    assert result.code == 1
    assert result.out.count("wrong") == 2  # The source, and the start that needs it.


def test_doctor_finds_a_package_that_shadows_ours(
    exec_mcp: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)

    result = exec_mcp("doctor")

    assert result.code == 0
    assert f"{tmp_path / 'backend'}: Python started there imports it" in result.out


def test_doctor_finds_a_damaged_database(exec_mcp: Command, home: Path):
    exec_mcp("trades")
    (home / "paper.db").write_text("not a database, and long enough to have a header" * 10)

    result = exec_mcp("doctor")

    assert result.code == 1
    assert "not a database" in result.out


async def _set_back(home: Path, seconds: int) -> None:
    """Let both databases have seen a later time."""
    ahead = to_row(system_clock() + timedelta(seconds=seconds))
    for name in ("exec-mcp.db", "paper.db"):
        database = open_as_it_is(home / name)
        await database.write(lambda tx: controls.accept_clock(tx, ahead))
        database.close()


@pytest.mark.parametrize(("seconds", "ended"), [(30, "cancelled"), (86_400, "expired")])
def test_a_clock_that_was_set_back_is_told_and_can_be_accepted(
    exec_mcp: Command, agent: Agent, home: Path, seconds: int, ended: str
):
    agent()
    asyncio.run(_set_back(home, seconds))

    behind = exec_mcp("doctor")
    refused = agent()
    accepted = exec_mcp("doctor", "--accept-clock")

    assert behind.code == 1
    assert "s behind what was seen" in behind.out
    assert refused["code"] == "clock"
    assert accepted.code == 0
    assert accepted.out.startswith("The clock was ")
    assert exec_mcp("trades", "--status", ended).out.count(ended) == 1
    assert agent(confirm=True)["status"] == "executed"
    assert exec_mcp("verify").code == 0


def test_a_clock_that_is_right_is_not_accepted(exec_mcp: Command):
    result = exec_mcp("doctor", "--accept-clock")

    assert result.code == 1
    assert "nothing to accept" in result.err
