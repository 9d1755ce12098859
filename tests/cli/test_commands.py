"""The operator's commands, as functions in this process."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.exchanges.paper.faults import FaultScript
from tests.cli.results import Result

Command = Callable[..., Result]
Agent = Callable[..., dict[str, Any]]


def test_help_lists_the_commands_with_their_sentences(exec_mcp: Command):
    result = exec_mcp("--help")

    assert result.code == 0
    assert "approve: Approve exactly this plan" in result.out
    assert "Exit codes: 0 done" in " ".join(result.out.split())


def test_account_add_help_documents_the_options_of_the_exchange(exec_mcp: Command):
    result = exec_mcp("account", "add", "--help")

    assert "taker_fee_bps" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["approve"], "TRADE-ID"),
        (["settle", "trd-x", "--as", "filled", "--reason", "x"], "absent"),
        (["account", "limit", "paper:main", "band_bps"], "name=value"),
        (["token", "create", "--name", "x", "--scopes", "read", "--limit", "a"], "name=value"),
        (["serve", "--port", "abc"], "abc"),
    ],
)
def test_a_command_line_of_the_wrong_form_exits_2_in_one_sentence(
    exec_mcp: Command, arguments: list[str], said: str
):
    result = exec_mcp(*arguments)

    assert result.code == 2
    assert said.lower() in result.err.lower().replace("_", "-")
    assert "Traceback" not in result.err


def test_an_unknown_setting_exits_2_and_is_named(
    exec_mcp: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EXEC_MCP_PLAN_TTL", "60")

    result = exec_mcp("trades")

    assert (result.code, result.out) == (2, "")
    assert result.err == "exec-mcp: EXEC_MCP_PLAN_TTL is not a setting of exec-mcp\n"


def test_a_home_that_is_no_folder_exits_3(exec_mcp: Command, home: Path):
    home.write_text("")

    assert exec_mcp("trades").code == 3


def test_a_damaged_database_exits_3(exec_mcp: Command, home: Path):
    home.mkdir()
    (home / "exec-mcp.db").write_text("not a database, and long enough to have a header" * 10)

    result = exec_mcp("trades")

    assert result.code == 3
    assert "not a database" in result.err


def test_a_token_is_shown_once_and_works_until_it_is_revoked(exec_mcp: Command):
    made = exec_mcp(
        "token", "create", "--name", "bot", "--scopes", "read,trade", "--accounts", "paper:main",
        "--days", "7", "--limit", "max_order_notional=500",
    )  # fmt: skip
    secret = made.out.splitlines()[-1]
    listed = exec_mcp("token", "list", "--json")
    revoked = exec_mcp("token", "revoke", "bot")

    assert made.code == 0
    assert secret.startswith("xmcp_")
    assert secret not in listed.out
    (bot,) = [token for token in listed.json["tokens"] if token["name"] == "bot"]
    assert bot["scopes"] == ["read", "trade"]
    assert bot["accounts"] == ["paper:main"]
    assert bot["limits"] == {"max_order_notional": "500"}
    assert (revoked.code, revoked.out) == (0, "bot: 1 revoked.\n")
    assert exec_mcp("token", "revoke", "bot").code == 1


def test_a_token_that_trades_and_approves_is_refused_in_the_words_of_the_api(exec_mcp: Command):
    result = exec_mcp(
        "token", "create", "--name", "both", "--scopes", "trade", "--scopes", "approve"
    )

    assert result.code == 1
    assert result.err.startswith("exec-mcp: trade and approve never stand on one token")


def test_an_account_lives_from_add_to_delete(exec_mcp: Command):
    added = exec_mcp(
        "account", "add", "paper", "two", "--balance", "500.50", "--set", "taker_fee_bps=10",
        "--limit", "max_order_notional=100",
    )  # fmt: skip
    shown = exec_mcp("account", "show", "paper:two")
    limited = exec_mcp(
        "account", "limit", "paper:two", "max_order_notional=", "band_bps=5", "--json"
    )

    assert (added.code, added.out) == (0, "Added paper:two (paper, USD).\n")
    assert "500.50" in shown.out
    assert "10 bps" in shown.out
    assert limited.json == {"account_id": "paper:two", "limits": {"band_bps": "5"}}
    assert exec_mcp("account", "disable", "paper:two").code == 0
    assert "no" in exec_mcp("account", "list").out
    assert exec_mcp("account", "enable", "paper:two").code == 0
    assert exec_mcp("account", "reset", "paper:two").code == 0
    assert exec_mcp("account", "resume", "paper:two", "--reason", "looked at").code == 0
    assert exec_mcp("account", "delete", "paper:two").code == 0
    gone = exec_mcp("account", "show", "paper:two")
    assert (gone.code, gone.err) == (1, "exec-mcp: there is no account 'paper:two'\n")


def test_a_path_in_place_of_an_account_goes_nowhere(exec_mcp: Command):
    result = exec_mcp("account", "show", "../tokens")

    assert (result.code, result.out) == (1, "")


def test_trades_lists_what_was_planned(exec_mcp: Command, agent: Agent):
    trade_id = agent()["trade_id"]

    listed = exec_mcp("trades", "--status", "pending")
    exact = exec_mcp("trades", "--symbol", "aapl", "--account", "paper:main", "--json")

    assert trade_id in listed.out
    assert "buy 10 AAPL market" in listed.out
    assert exact.out.endswith("}\n")
    assert [trade["trade_id"] for trade in exact.json["trades"]] == [trade_id]
    assert exec_mcp("trades", "--status", "failed").out == "There are no such trades.\n"


def test_approve_lets_the_planner_confirm_and_cannot_be_repeated(exec_mcp: Command, agent: Agent):
    exec_mcp("account", "limit", "paper:main", "approval_threshold=0")
    trade_id = agent()["trade_id"]

    waiting = exec_mcp("trades")
    approved = exec_mcp("approve", trade_id)
    again = exec_mcp("approve", trade_id)

    assert "waits for approval" in waiting.out
    assert approved.code == 0
    assert approved.out.startswith("Approved: buy 10 AAPL market at ")
    assert (again.code, again.out) == (1, "")
    assert "approved already" in again.err


def test_reject_gives_the_reservation_back(exec_mcp: Command, agent: Agent):
    plan = agent()

    rejected = exec_mcp("reject", plan["trade_id"])

    assert rejected.code == 0
    assert f"{plan['reserved_buying_power']:f} of buying power is free again" in rejected.out
    assert exec_mcp("reject", plan["trade_id"]).code == 1


def test_approve_of_what_does_not_exist_says_so(exec_mcp: Command):
    result = exec_mcp("approve", "trd-nothing")

    assert (result.code, result.err) == (1, "exec-mcp: there is no trade 'trd-nothing'\n")


def test_halt_cancels_everything_and_resume_needs_the_same_scope(exec_mcp: Command, agent: Agent):
    resting = agent(confirm=True, symbol="SPY", order_type="limit", limit_price="300")
    pending = agent()

    halted = exec_mcp("halt", "--reason", "enough")
    blocked = agent()
    other = exec_mcp("resume", "--account", "paper:main", "--reason", "again")
    resumed = exec_mcp("resume", "--reason", "again")

    assert halted.code == 0
    assert f"Plans cancelled: {pending['trade_id']}." in halted.out
    assert f"Order {resting['trade_id']}: cancel asked" in halted.out
    assert blocked["code"] == "kill_switch"
    assert other.code == 1
    assert other.err.startswith("exec-mcp: no kill switch is engaged for this scope")
    assert resumed.code == 0
    assert agent()["status"] == "pending"


def test_halt_of_a_symbol_keeps_orders_when_asked_to(exec_mcp: Command, agent: Agent):
    resting = agent(confirm=True, symbol="SPY", order_type="limit", limit_price="300")

    halted = exec_mcp("halt", "--symbol", "SPY", "--keep-orders", "--reason", "news")

    assert f"Order {resting['trade_id']}: kept." in halted.out
    assert agent()["status"] == "pending"
    assert agent(symbol="SPY", quantity="1")["code"] == "kill_switch"


def test_settle_ends_an_order_of_unknown_outcome(exec_mcp: Command, agent: Agent):
    lost = agent(confirm=True, faults=FaultScript().lose_request(), ago_s=3)

    settled = exec_mcp("settle", lost["trade_id"], "--as", "absent", "--reason", "not in the list")

    assert lost["status"] == "executing"
    assert (settled.code, settled.out) == (0, f"{lost['trade_id']} is failed: absent.\n")
    assert exec_mcp("verify").code == 0


def test_the_audit_verifies_and_exports_as_json_lines(exec_mcp: Command, tmp_path: Path):
    verified = exec_mcp("audit", "verify", "--json")
    exported = exec_mcp("audit", "export")
    into = exec_mcp("audit", "export", str(tmp_path / "audit.jsonl"))

    lines = exported.out.splitlines()
    assert verified.json["rows"] == len(lines)
    assert json.loads(lines[-1])["hash"] == verified.json["head"]
    assert (tmp_path / "audit.jsonl").read_text() == exported.out
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert into.code == 0
    assert exec_mcp("audit", "export", str(tmp_path / "audit.jsonl")).code == 1


def test_the_operators_token_is_read_from_a_pipe_when_its_file_is_gone(
    exec_mcp: Command, home: Path, monkeypatch: pytest.MonkeyPatch
):
    exec_mcp("trades")
    token = (home / "operator.token").read_text()
    (home / "operator.token").unlink()

    monkeypatch.setattr(sys, "stdin", io.StringIO(token))
    piped = exec_mcp("trades")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    nothing = exec_mcp("trades")
    monkeypatch.setattr(sys, "stdin", io.StringIO("xmcp_wrong\n"))
    wrong = exec_mcp("trades")

    assert piped.code == 0
    assert nothing.code == 1
    assert "pipe it in" in nothing.err
    assert wrong.code == 1
    assert "operator's token is not valid" in wrong.err
    assert "xmcp_wrong" not in wrong.err


def test_the_agents_token_is_no_operators(
    exec_mcp: Command, home: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    trade_id = agent()["trade_id"]
    (home / "operator.token").unlink()
    monkeypatch.setattr(sys, "stdin", io.StringIO((home / "agent.token").read_text()))

    result = exec_mcp("approve", trade_id)

    assert result.code == 1
    assert "needs the scope approve" in result.err
