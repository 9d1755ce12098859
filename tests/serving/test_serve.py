"""`exec-mcp serve` over real sockets."""

import base64
import json
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.database import sqlite3
from backend.serving import running_server
from tests.serving.programs import Server, run, serving

TRADES = "/api/v1/trading/trades"
A_PLAN = {"symbol": "AAPL", "side": "buy", "quantity": 1}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve") / "home") as started:
        yield started


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_announced_is_what_answers(server: Server) -> None:
    told = json.loads((server.home / "serve.json").read_text())
    with server.http(None) as http:
        health = http.get("/health").json()

    assert told == {"url": server.url, "instance": health["instance"], "pid": server.process.pid}


def test_the_home_is_its_owners_alone(server: Server) -> None:
    assert mode(server.home) == 0o700
    assert {path.name: oct(mode(path)) for path in server.home.iterdir()} == {
        path.name: "0o600" for path in server.home.iterdir()
    }


def test_a_home_that_others_could_read_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with serving(home):
        assert mode(home) == 0o700


def test_a_trade_goes_over_a_real_socket(server: Server) -> None:
    with server.http() as http:
        plan = http.post(TRADES, json=A_PLAN)
        done = http.post(f"{TRADES}/{plan.json()['trade_id']}/confirm")

    assert (plan.status_code, done.status_code) == (201, 200)
    assert done.json()["status"] == "executed"
    assert "server" not in done.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("PUT", TRADES, 405),
        ("OPTIONS", TRADES, 405),
        ("GET", "/api/v1/accounts/%ff%00", 404),
        ("GET", f"{TRADES}/..%2f..%2fhealth", 404),
    ],
)
def test_beside_mcp_every_refusal_is_a_problem_object(
    server: Server, method: str, path: str, status: int
) -> None:
    with server.http() as http:
        reply = http.request(method, path)

    assert (reply.status_code, reply.json()["status"]) == (status, status)
    assert reply.headers["content-type"] == "application/problem+json"


def test_bytes_that_are_no_http_are_refused_and_the_server_lives(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert b"400" in connection.recv(100)
    with server.http() as http:
        assert http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer x"}, 401),
        ({"authorization": "Basic x"}, 401),
        ({"authorization": f"Bearer xmcp_{'a' * 10}_{'A' * 43}_00000000"}, 401),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8787"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
    ],
    ids=str,
)
def test_mcp_lets_in_only_tokens_from_this_machines_own_pages(
    server: Server, headers: dict[str, str], status: int
) -> None:
    with server.http(None) as http:
        for method in ("POST", "GET", "DELETE"):
            assert http.request(method, "/mcp", headers=headers).status_code == status

    whole = {"accept": "application/json, text/event-stream", **headers}
    if status != 401:
        whole["authorization"] = f"Bearer {server.token()}"
    with server.http(None) as http:
        assert http.post("/mcp", json=INITIALIZE, headers=whole).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_nothing_binds_beyond_this_machine(tmp_path: Path, host: str) -> None:
    ended = run(tmp_path / "home", "serve", "--port", "0", "--host", host)

    assert ended.code == 3
    assert "put a TLS proxy in front" in ended.stderr
    assert not (tmp_path / "home" / "serve.json").exists()


def test_a_port_in_use_is_said_in_a_sentence(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    ended = run(tmp_path / "home", "serve", "--port", port)

    assert (ended.code, ended.stdout) == (3, "")
    assert (
        ended.stderr.strip()
        == f"exec-mcp: cannot listen on 127.0.0.1:{port}: Address already in use"
    )


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("PLAN_TTL", "60", "EXEC_MCP_PLAN_TTL is not a setting"),
        ("RISK_PRICE_BAN", "5", "EXEC_MCP_RISK_PRICE_BAN: no such check"),
        ("RISK_PRICE_BAND", "5%", "EXEC_MCP_RISK_PRICE_BAND must be a number (bps)"),
    ],
)
def test_a_misspelt_setting_refuses_to_start_and_says_which(
    tmp_path: Path, setting: str, value: str, words: str
) -> None:
    ended = run(tmp_path / "home", "serve", "--port", "0", **{setting: value})

    assert ended.code == 2
    assert words in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_takes_the_announcement_away(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path / "home") as server:
        ended = server.stop(number)

    assert (ended.code, ended.stderr) == (0, "")
    assert sorted(path.name for path in server.home.iterdir()) == [
        "agent.token",
        "exec-mcp.db",
        "operator.token",
        "paper.db",
        "sends.log",
        "vault.key",
    ]


def test_a_signal_waits_for_the_confirm_that_is_under_way(tmp_path: Path) -> None:
    slow = {"exchange": "paper", "identifier": "slow", "settings": {"latency_ms": "700"}}
    answers: list[httpx.Response] = []
    with serving(tmp_path / "home") as server, server.http() as http:
        with server.http("operator") as operator:
            operator.post("/api/v1/accounts", json=slow).raise_for_status()
        plan = http.post(TRADES, json={**A_PLAN, "account_id": "paper:slow"}).json()
        path = f"{TRADES}/{plan['trade_id']}"

        def confirm() -> None:
            with server.http() as client:
                answers.append(client.post(f"{path}/confirm"))

        confirming = threading.Thread(target=confirm)
        confirming.start()
        while http.get(path).json()["status"] == "pending":
            pass
        ended = server.stop()
        confirming.join()

    assert ended.code == 0
    assert answers[0].json()["status"] == "executed"
    assert stored_status(server.home, plan["trade_id"]) == "executed"


def stored_status(home: Path, trade_id: str) -> str:
    connection = sqlite3.connect(home / "exec-mcp.db")
    try:
        query = "SELECT status FROM trades WHERE id = ?"
        return str(connection.execute(query, (trade_id,)).fetchone()[0])
    finally:
        connection.close()


def test_no_secret_is_written_anywhere_but_to_its_own_file(tmp_path: Path) -> None:
    with serving(tmp_path / "home", LOG_LEVEL="DEBUG") as server:
        replies = provoke(server)
        hashes = stored_hashes(server.home)
        copies = tmp_path / "copies"
        backed_up = run(server.home, "backup", str(copies))
        ended = server.stop()
    key = (server.home / "vault.key").read_bytes().strip()
    tokens = [server.token("agent"), server.token("operator"), replies.pop()]
    secrets = [part for token in tokens for part in (token, token.split("_")[2])]
    spoken = [key.decode(), base64.b64decode(key).hex(), *hashes, *secrets]
    said = "".join((ended.stdout, ended.stderr, backed_up.stdout, backed_up.stderr, *replies))
    files = [*server.home.iterdir(), *copies.iterdir()]

    assert "http.internal_error" in ended.stderr
    assert "/api/v1/audit/verify" in ended.stderr
    assert [s for s in spoken if s in said] == []
    assert {path.name for path in copies.iterdir()} == {"exec-mcp.db", "paper.db"}
    for path in files:
        assert mode(path) == 0o600
        holds = [s for s in (*secrets, key.decode()) if s.encode() in path.read_bytes()]
        assert holds == [] or path.suffix in (".token", ".key")


def provoke(server: Server) -> list[str]:
    """Make every kind of error, with secrets in the wrong places; the last text is a token."""
    said: list[Any] = []
    with server.http("operator") as operator, server.http() as http:
        token = operator.post("/api/v1/tokens", json={"name": "bot", "scopes": ["read"]}).json()[
            "token"
        ]
        canary = server.token("operator")
        said += [http.post(TRADES, json={**A_PLAN, name: canary}) for name in (*A_PLAN, "nope")]
        said += [http.post(TRADES, content=f"{{{canary}"), http.get(f"{TRADES}/{canary}")]
        said += [http.get("/api/v1/portfolio", params={"account_id": canary})]
        said += [http.get("/api/v1/tokens/self", headers={"authorization": f"Bearer {canary}x"})]
        said += [operator.get("/api/v1/tokens"), operator.get("/api/v1/audit/export")]
        said += [http.post("/mcp", json=INITIALIZE), http.get("/metrics"), http.get("/health")]
        connection = sqlite3.connect(server.home / "exec-mcp.db")
        connection.execute("ALTER TABLE audit RENAME TO gone")
        connection.commit()
        said.append(operator.get("/api/v1/audit/verify"))
        assert said[-1].status_code == 500
        connection.execute("ALTER TABLE gone RENAME TO audit")
        connection.commit()
        connection.close()
    return [*(reply.text for reply in said), token]


def stored_hashes(home: Path) -> list[str]:
    connection = sqlite3.connect(home / "exec-mcp.db")
    try:
        return [row[0] for row in connection.execute("SELECT hash FROM tokens")]
    finally:
        connection.close()


# --- who else looks for it ---


@pytest.mark.anyio
async def test_a_running_server_is_found_by_its_home(server: Server) -> None:
    assert await running_server(server.home) == server.url


@pytest.mark.anyio
@pytest.mark.parametrize(
    "announced",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"url":"URL"}',
        '{"url":"URL","instance":"of another start"}',
        '{"url":"URL","instance":null}',
        '{"url":"URL/api/v1/markets","instance":"INSTANCE"}',
        '{"url":"http://127.0.0.1:1","instance":"INSTANCE"}',
        '{"url":"http://[::1","instance":"INSTANCE"}',
        '{"url":"nonsense","instance":"INSTANCE"}',
        '{"url":7,"instance":"INSTANCE"}',
    ],
)
async def test_a_stale_or_broken_announcement_is_not_believed(
    server: Server, tmp_path: Path, announced: str | None
) -> None:
    instance = json.loads((server.home / "serve.json").read_text())["instance"]
    if announced is not None:
        text = announced.replace("URL", server.url).replace("INSTANCE", instance)
        (tmp_path / "serve.json").write_text(text)

    assert await running_server(tmp_path) is None


@pytest.mark.anyio
async def test_a_server_on_ipv6_is_announced_so_that_it_is_found(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with serving(tmp_path / "home", "--host", "::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert await running_server(server.home) == server.url
