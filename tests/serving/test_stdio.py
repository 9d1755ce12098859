"""`exec-mcp stdio`, as a desktop client starts it."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backend.app import open_backend
from backend.config import read_config
from backend.domain import exact_json
from tests.serving.programs import END_S, EXEC_MCP, Server, environment, run, serving

A_PLAN = {"symbol": "AAPL", "side": "buy", "quantity": 1}
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Desktop:
    """A client that speaks the handshake version line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._count = 0

    def send(self, method: str, **more: Any) -> None:
        """Write one message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "method": method, **more}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Make a request and return its result; every line must be a message."""
        assert self.process.stdout is not None
        self._count += 1
        self.send(method, id=self._count, params=params)
        while True:
            message = json.loads(self.process.stdout.readline())
            if message.get("id") == self._count:
                result: dict[str, Any] = message["result"]
                return result

    def begin(self) -> None:
        """Shake hands."""
        self.ask("initialize", INITIALIZE)
        self.send("notifications/initialized")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return the object of its text block, exact."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        found: dict[str, Any] = exact_json.loads(result["content"][0]["text"])
        return found

    def confirm(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Confirm a plan."""
        return self.call("execute_trade", trade_id=plan["trade_id"], action="confirm")

    def end(self) -> tuple[int, str, float]:
        """Close our end; return the exit code, what it said to the log, and how long it took."""
        assert self.process.stdin is not None
        start = time.monotonic()
        self.process.stdin.close()
        self.process.stdin = None
        _, said = self.process.communicate(timeout=END_S)
        return self.process.returncode, said, time.monotonic() - start


@contextmanager
def desktop(home: Path, *arguments: str, **settings: str) -> Iterator[Desktop]:
    process = subprocess.Popen(
        [str(EXEC_MCP), "stdio", *arguments],
        env=environment(home, **settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Desktop(process)
        finally:
            if process.poll() is None:
                process.kill()


def plans_seen_by(server: Server) -> str:
    """Return what a server counted of plans that came over HTTP."""
    with server.http() as http:
        lines = http.get("/metrics").text.splitlines()
    mark = 'exec_mcp_requests_total{method="POST",route="/trading/trades",status="201"}'
    return next(line.removeprefix(mark).strip() for line in lines if line.startswith(mark))


def test_it_speaks_to_a_running_server_of_its_home(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server, desktop(server.home) as client:
        client.begin()
        plan = client.call("plan_trade", **A_PLAN)
        assert client.confirm(plan)["status"] == "executed"
        assert plans_seen_by(server) == "1.0"

        server.stop()
        gone = client.call("get_trade", trade_id=plan["trade_id"])
        assert gone["code"] == "backend_unreachable"
        code, said, _ = client.end()

    assert (code, said) == (0, "")


def test_it_embeds_a_backend_where_none_runs_and_a_stale_announcement_is_ignored(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with serving(home) as server:
        announced = (home / "serve.json").read_text()
        server.process.kill()
        server.process.wait()
    assert (home / "serve.json").read_text() == announced

    with desktop(home) as client:
        client.begin()
        assert client.confirm(client.call("plan_trade", **A_PLAN))["status"] == "executed"
        code, said, took_s = client.end()

    assert (code, said) == (0, "")
    assert took_s < 3


def test_it_ends_with_its_client_also_before_a_word_was_said(tmp_path: Path) -> None:
    with desktop(tmp_path / "home") as client:
        code, _, _ = client.end()

    assert code == 0


def test_a_signal_ends_it(tmp_path: Path) -> None:
    with desktop(tmp_path / "home") as client:
        client.begin()
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(timeout=END_S) == 0


def test_two_windows_share_a_home_and_one_trade_has_one_winner(tmp_path: Path) -> None:
    with desktop(tmp_path / "home") as one, desktop(tmp_path / "home") as other:
        one.begin()
        other.begin()
        plan = one.call("plan_trade", **A_PLAN)
        answers = [other.confirm(plan), one.confirm(plan)]

    assert answers[0]["status"] == "executed"
    assert (answers[1]["code"], answers[1]["current_status"]) == ("trade_not_pending", "executed")


@pytest.mark.anyio
async def test_the_embedded_backend_computes_with_every_digit(tmp_path: Path) -> None:
    config = read_config({"EXEC_MCP_HOME": str(tmp_path / "home")})
    async with open_backend(config, background=False) as backend:
        operator = (config.home / "operator.token").read_text().strip()
        rich = {"exchange": "paper", "identifier": "rich", "balance": "9" * 18}
        async with backend.http(operator) as http:
            (await http.post("/api/v1/accounts", json=rich)).raise_for_status()

    order = {"symbol": "BTC/USD", "account_id": "paper:rich"}
    with desktop(config.home) as client:
        client.begin()
        # A cost of 11 digits before the point and 18 after it: more than Decimal keeps by itself.
        for side, quantity in [("buy", 9999.99999)] * 18 + [("sell", 7777.77777)]:
            plan = client.call("plan_trade", side=side, quantity=quantity, **order)
            assert client.confirm(plan)["status"] == "executed"
        now = client.call("portfolio_status", account_id="paper:rich")

    assert now["equity"] - Decimal("9" * 18) == now["realized_pnl"] + now["unrealized_pnl"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("PLAN_TTL", "EXEC_MCP_PLAN_TTL is not a setting"),
        ("RISK_PRICE_BAN", "EXEC_MCP_RISK_PRICE_BAN: no such check"),
        ("PRICE_SOURCE", "EXEC_MCP_PRICE_SOURCE"),
    ],
)
def test_a_misspelt_setting_ends_it_although_its_client_goes_on(
    tmp_path: Path, setting: str, words: str
) -> None:
    with desktop(tmp_path / "home", **{setting: "60"}) as client:
        code = client.process.wait(timeout=END_S)
        assert client.process.stdout
        assert client.process.stderr
        said, complained = client.process.stdout.read(), client.process.stderr.read()

    assert (code, said) == (2, "")
    assert words in complained
    assert len(complained.splitlines()) == 1


def test_a_home_that_cannot_be_opened_ends_it(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with desktop(tmp_path / "home") as client:
        assert client.process.wait(timeout=END_S) == 3


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a home that the stdio clients do not know."""
    with serving(tmp_path_factory.mktemp("elsewhere") / "home") as server:
        yield server


def test_it_trades_on_a_server_elsewhere_over_websocket(elsewhere: Server, tmp_path: Path) -> None:
    url = elsewhere.url.replace("http", "ws") + "/ws"
    with desktop(tmp_path / "own", "--connect", url, TOKEN=elsewhere.token()) as client:
        client.begin()
        plan = client.call("plan_trade", **A_PLAN)
        told = client.confirm(plan)
        code, said, _ = client.end()

    assert told["status"] == "executed"
    assert (code, said) == (0, "")
    with elsewhere.http() as http:
        assert http.get(f"/api/v1/trading/trades/{plan['trade_id']}").json()["status"] == "executed"
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("token", "url", "said"),
    [
        ("bad", None, "401"),
        ("any", "ws://127.0.0.1:1/ws", "127.0.0.1:1"),
        ("any", "nonsense", "not a ws"),
    ],
)
def test_a_server_elsewhere_that_lets_nobody_in_is_said_in_a_sentence(
    elsewhere: Server, tmp_path: Path, token: str, url: str | None, said: str
) -> None:
    url = url or elsewhere.url.replace("http", "ws") + "/ws"
    ended = run(tmp_path / "own", "stdio", "--connect", url, TOKEN=token)

    assert ended.code == 3
    assert ended.stderr.startswith("exec-mcp: cannot reach the backend: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
