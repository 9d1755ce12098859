"""`exec-mcp verify`: a line for each invariant, and for each account with `--exchange`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.database import sqlite3
from backend.exchanges.paper.faults import FaultScript
from tests.cli.results import Result

Command = Callable[..., Result]
Agent = Callable[..., dict[str, Any]]


def damage(home: Path, sql: str) -> None:
    connection = sqlite3.connect(str(home / "exec-mcp.db"))
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_whole_books_have_a_line_for_each_invariant(exec_mcp: Command, agent: Agent):
    agent(confirm=True)

    told = exec_mcp("verify")

    lines = told.out.splitlines()
    assert told.code == 0
    assert [line.split()[:2] for line in lines[:-1]] == [[f"I-{n}", "holds"] for n in range(1, 13)]
    assert lines[-1].startswith("The invariants hold, and the audit is whole: ")


def test_a_broken_row_is_named_under_its_invariant(exec_mcp: Command, agent: Agent, home: Path):
    agent(confirm=True)
    damage(home, "UPDATE balances SET held = '5' WHERE currency = 'USD'")

    told = exec_mcp("verify")
    reply = exec_mcp("verify", "--json")

    lines = told.out.splitlines()
    at = lines.index("I-5   BROKEN  what is held is the open holds")
    assert lines[at + 1] == "      USD of account 1: held is 5, its holds keep 0"
    assert lines[-1] == "Broken: 1 findings."
    assert (told.code, reply.code) == (1, 1)
    assert reply.json["broken"] == ["I-5: USD of account 1: held is 5, its holds keep 0"]


def test_with_the_exchange_every_account_has_a_line(exec_mcp: Command, agent: Agent, home: Path):
    agent(confirm=True)

    agrees = exec_mcp("verify", "--exchange")
    damage(home, "UPDATE fills SET fee = '1'")
    differs = exec_mcp("verify", "--exchange")

    assert agrees.code == 0
    assert "paper:main: agrees, 1 orders compared" in agrees.out
    assert differs.code == 1
    assert "paper:main: differs, 1 orders compared" in differs.out


def test_what_cannot_be_compared_has_an_exit_code_of_its_own(exec_mcp: Command, agent: Agent):
    lost = agent(confirm=True, faults=FaultScript().lose_request())

    told = exec_mcp("verify", "--exchange")

    assert told.code == 4
    assert "paper:main: not comparable, " in told.out
    assert f"      {lost['trade_id']} is unknown: its outcome is not known yet" in told.out
    assert exec_mcp("verify").code == 0


def test_an_account_that_its_exchange_lost_is_not_checked(
    exec_mcp: Command, agent: Agent, home: Path
):
    agent(confirm=True)
    for part in home.glob("paper.db*"):
        part.unlink()

    told = exec_mcp("verify", "--exchange")

    assert told.code == 4
    assert "paper:main: not checked, 0 orders compared" in told.out
    assert "no answer: paper has no account main" in told.out


def test_a_quarantined_home_is_checked_as_any_other(exec_mcp: Command, agent: Agent, home: Path):
    agent(confirm=True)
    damage(home, "INSERT INTO meta VALUES ('copy_of', 'another home')")

    told = exec_mcp("verify", "--exchange")

    assert told.code == 0
    assert "quarantined" in exec_mcp("doctor").out
    assert "paper:main: agrees" in told.out


@pytest.mark.parametrize("words", [("--exchange=maybe",), ("--exchanges",), ("all",)])
def test_other_words_are_refused(exec_mcp: Command, words: tuple[str, ...]):
    assert exec_mcp("verify", *words).code == 2
