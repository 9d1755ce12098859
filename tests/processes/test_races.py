"""Many processes on one home: one start, one claim, no overdraft, and one keeper."""

import asyncio
from decimal import Decimal

import httpx
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

from backend.database import sqlite3
from backend.testing import Answer
from tests.processes.started import Served, afterwards, at_the_exchange, served, workers
from tests.processes.town import town
from tests.services.spoken import TRADES, Reply, assert_whole, funds, until

pytestmark = pytest.mark.anyio

LIBRARIES = 6
EACH = 4
OVER_HTTP = 12
OVER_MCP = 8


async def over_http(server: Served, token: str, trade_id: str) -> list[tuple[bool, str | None]]:
    """Confirm many times at once; return (won, actual status) of each."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as http:
        path = f"{TRADES}/{trade_id}/confirm"
        replies = await asyncio.gather(*(http.post(path) for _ in range(OVER_HTTP)))
    return [(not r.refused, r.status) for r in map(Reply, replies)]


async def over_mcp(server: Served, token: str, trade_id: str) -> list[tuple[bool, str | None]]:
    transport = StreamableHttpTransport(f"{server.url}/mcp", auth=token)
    given = {"trade_id": trade_id, "action": "confirm"}
    async with Client(transport) as client:
        results = await asyncio.gather(
            *(
                client.call_tool("execute_trade", given, raise_on_error=False)
                for _ in range(OVER_MCP)
            )
        )
    answers = [Answer.of_tool(result) for result in results]
    return [(not a.refused, a.status) for a in answers]


async def test_64_confirms_over_http_mcp_and_libraries_of_8_processes_send_one_order(tmp_path):
    home = tmp_path / "home"
    async with served(home) as one, served(home) as two, workers(home, LIBRARIES) as libraries:
        token = (home / "agent.token").read_text().strip()
        ((trade_id, _),) = await libraries[0].ask(do="plan", times=1, terms={"quantity": 10})

        rivals = [
            *(over_http(server, token, trade_id) for server in (one, two)),
            *(over_mcp(server, token, trade_id) for server in (one, two)),
        ]
        asked = [library.ask(do="confirm", trade_id=trade_id, times=EACH) for library in libraries]
        told = await asyncio.gather(*rivals, *asked)

        answers = [one for many in told[: len(rivals)] for one in many]
        answers += [(a[0] == 200, a[1]) for many in told[len(rivals) :] for a in many]
        assert len(answers) == 64
        assert sum(won for won, _ in answers) == 1
        assert {status for _, status in answers} <= {"executing", "executed"}
        assert len(at_the_exchange(home)) == 1

    async with afterwards(home) as stack:
        assert (await stack.trade(trade_id)).status == "executed"
        await assert_whole(stack)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_four_processes_start_one_home_and_never_overdraw_it(tmp_path, journal):
    home = tmp_path / "home"
    async with workers(home, 4, journal) as started:
        # Dear enough that few fit: 100,000 USD, and about 2,154 or more a plan.
        many = {"do": "plan", "times": 20, "terms": {"quantity": 40}}
        told = await asyncio.gather(*(worker.ask(**many) for worker in started))

    answers = [answer for one in told for answer in one]
    planned = [trade_id for trade_id, code in answers if code is None]
    assert {code for _, code in answers if code} == {"buying_power"}
    assert 0 < len(planned) < len(answers)
    async with afterwards(home, seconds=0) as stack:
        total, held = (await funds(stack))["USD"]
        assert Decimal(held) <= Decimal(total)
        await assert_whole(stack)
        count = await stack.backend.desk.database.read(
            lambda tx: (
                tx.value("SELECT COUNT(*) FROM accounts"),
                tx.value("SELECT COUNT(*) FROM tokens"),
                tx.value("SELECT COUNT(*) FROM _sqlite_migrations"),
            )
        )
    assert count == (1, 2, 2)


async def test_a_keeper_that_is_killed_is_replaced_by_another_server(tmp_path):
    home = tmp_path / "home"
    async with served(home) as first:
        pid = first.process.pid
        await until(lambda: keeper(home).startswith(f"{pid}-"), pause_s=0.05)
        async with served(home) as second:
            assert keeper(home).startswith(f"{pid}-")
            first.process.kill()
            await first.process.wait()

            await until(lambda: keeper(home).startswith(f"{second.process.pid}-"), pause_s=0.05)

        assert keeper(home) == ""  # Given back at the end.


def keeper(home) -> str:
    """Return the process that has the keeper's lease, "" when nobody has."""
    book = sqlite3.connect(f"file:{home / 'exec-mcp.db'}?mode=ro", uri=True)
    try:
        found = book.execute("SELECT owner FROM leases").fetchone()
        return found[0] if found else ""
    finally:
        book.close()


@pytest.mark.parametrize("path", ["/api/v1/trading/trades", "/mcp"])
async def test_a_client_that_goes_away_while_it_asks_is_no_bug_of_the_server(
    zygote, tmp_path, path
):
    async with town(zygote, tmp_path / "town", "WAL", simulated=False) as here:
        host, port = here.servers[0].url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST {path} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: Bearer {here.token()}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            "Mcp-Protocol-Version: 2026-07-28",
            "Mcp-Method: tools/list",
            "Content-Length: 100",
        )
        writer.write(("\r\n".join(head) + "\r\n\r\n{").encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        # Enough rounds of its loop to have seen it.
        for _ in range(5):
            await here.ask("GET", "/audit/invariants")

        assert here.complaints() == []
        await here.end()
