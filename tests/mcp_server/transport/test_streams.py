"""Trades and prices over WebSocket, in both eras: told at once, once each, to who may know."""

import asyncio
import json
from typing import Any

import pytest
from tenacity import wait_fixed

from backend.testing import Stack
from mcp_server.transport.door import Limits
from tests.mcp_server.transport.following import ENVELOPE, ERAS, Line, over_websocket
from tests.mcp_server.transport.served import Served, closed, served
from tests.mcp_server.transport.test_client import drop_all
from tests.services.spoken import add_account, until

pytestmark = pytest.mark.anyio

AT_ONCE: dict[str, Any] = {"wait": wait_fixed(0.01)}
MAIN = "orders://paper:main"
AAPL = "price://paper/AAPL"
every_era = pytest.mark.parametrize("era", ERAS)


def to(server: Served, era: Any, token: str | None = None) -> Any:
    return over_websocket(server.url, token or server.token(), era, **AT_ONCE)


def numbers(line: Line, uri: str) -> list[int]:
    return [int(event["event_id"]) for name, event in line.updates if name == uri]


async def audited(home: Stack) -> list[int]:
    """Return the number of every row about a trade, oldest first."""
    rows = (await home.http.get("/api/v1/audit/events?limit=500")).json()["events"]
    return [row["seq"] for row in reversed(rows) if row["trade_id"]]


@every_era
async def test_a_trade_is_told_to_its_end_with_all_that_get_trade_tells(
    server: Served, home: Stack, era: Any
) -> None:
    made = await home.plan("AAPL", "buy", 1)
    uri = f"trade://{made.trade_id}"
    async with to(server, era) as line:
        assert await line.follow(uri) == [uri]
        await home.confirm(made)
        told = await line.events(2)

    assert told == [(uri, "trade.claimed"), (uri, "order.settled")]
    _, event = line.updates[-1]
    assert set(event) == {"event_id", "event", "at", "data"}
    assert event["at"] == "2026-05-26T10:14:41-04:00"
    assert event["data"] == (await home.http.get(f"/api/v1/trading/trades/{made.trade_id}")).json()


@every_era
async def test_what_happened_while_the_line_was_broken_is_told_once_and_in_order(
    server: Served, home: Stack, era: Any
) -> None:
    async with to(server, era) as line:
        await line.follow(MAIN, AAPL)
        await home.plan("AAPL", "buy", 1)
        await line.events(2)
        for hurt in (drop_all, Served.stop):
            await hurt(server)
            for _ in range(3):
                await home.cancel(await home.plan("AAPL", "buy", 1))
            if hurt is Served.stop:
                await server.start()
            expected = await audited(home)
            await line.until(lambda: len(numbers(line, MAIN)) >= len(expected))  # noqa: B023
            await home.plan("AAPL", "buy", 1)
            await line.until(lambda: len(numbers(line, MAIN)) > len(expected))  # noqa: B023

    assert numbers(line, MAIN) == await audited(home)


@every_era
async def test_what_a_new_client_missed_is_told_from_the_event_it_names(
    server: Served, home: Stack, era: Any
) -> None:
    for _ in range(3):
        await home.cancel(await home.plan("AAPL", "buy", 1))
    everything = await audited(home)
    async with to(server, era) as line:
        await line.follow(MAIN, after={MAIN: str(everything[1])})
        await line.events(4)
        await home.plan("AAPL", "buy", 1)
        await line.events(5)

    assert numbers(line, MAIN) == (await audited(home))[2:]


@every_era
async def test_what_is_not_theirs_is_never_told(server: Served, home: Stack, era: Any) -> None:
    await add_account(home, "other")
    token = await home.token("bound", "read", accounts=["paper:other"])
    made = await home.plan("AAPL", "buy", 1)
    foreign = [f"trade://{made.trade_id}", MAIN, "trade://trd-aaaaaaaaaaaaaaaaaaaa", "kb://laws"]
    async with to(server, era, token) as line:
        honoured = await line.follow(*foreign, "orders://paper:other")
        await home.confirm(made)
        await home.plan("AAPL", "buy", 1, account_id="paper:other")
        told = await line.events(1)

    assert told == [("orders://paper:other", "trade.planned")]
    assert honoured == ["orders://paper:other"] or era == "legacy"


@every_era
async def test_who_stops_following_is_told_nothing_more(
    server: Served, home: Stack, era: Any
) -> None:
    async with to(server, era) as line, to(server, era) as other:
        await other.follow(MAIN)
        await line.follow(MAIN)
        await line.leave(MAIN)
        await line.follow(AAPL)
        await line.events(1)
        await home.plan("AAPL", "buy", 1)
        await other.events(1)

    assert [uri for uri, _ in line.updates] == [AAPL]


@every_era
async def test_a_price_is_told_now_and_at_each_change(
    server: Served, home: Stack, era: Any
) -> None:
    async with to(server, era) as line:
        await line.follow(AAPL)
        await line.events(1)
        home.prices.set("AAPL", "216.00", "216.02")
        await line.events(2)

    assert [event["data"]["bid"] for _, event in line.updates] == [215.38, 216.00]
    assert [event["event"] for _, event in line.updates] == ["price.changed"] * 2


async def test_who_reads_slowly_is_told_the_newest_price_and_every_trade(
    server: Served, home: Stack
) -> None:
    async with to(server, "auto") as quick, server.raw() as ws:
        await quick.follow(AAPL, MAIN)
        slow = Slow(ws)
        await slow.follow(AAPL, MAIN)
        ws.transport.pause_reading()
        for cents in range(100):
            home.prices.set("AAPL", f"216.{cents:02}", f"217.{cents:02}")
            await asyncio.sleep(0)
        made = await home.plan("AAPL", "buy", 1)
        await home.cancel(made)
        await quick.until(lambda: len(numbers(quick, MAIN)) == 2)
        ws.transport.resume_reading()
        told = await slow.events("trade.cancelled")

    prices = [event["data"]["bid"] for uri, event in told if uri == AAPL]
    assert prices[-1] == 216.99
    assert len(prices) < 50
    assert [event["event"] for uri, event in told if uri == MAIN] == [
        "trade.planned",
        "trade.cancelled",
    ]


class Slow:
    """A bare socket that reads only when it is told to."""

    def __init__(self, ws: Any) -> None:
        self._ws = ws

    async def follow(self, *uris: str) -> None:
        await self._ws.send(listen_frame(7, *uris))
        await self._ws.recv()

    async def events(self, last: str) -> list[tuple[str, dict[str, Any]]]:
        """Read until that event."""
        told: list[tuple[str, dict[str, Any]]] = []
        async with asyncio.timeout(10):
            while not told or told[-1][1]["event"] != last:
                params = json.loads(await self._ws.recv())["params"]
                told.append((params["uri"], params["_meta"]["exec-mcp/event"]))
        return told


def listen_frame(request_id: int, *uris: str) -> str:
    params = {"notifications": {"resourceSubscriptions": list(uris)}, "_meta": ENVELOPE}
    told = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen"}
    return json.dumps({**told, "params": params})


async def test_a_revoked_token_ends_its_stream_and_no_others(home: Stack) -> None:
    token = await home.token("bot", "read")
    async with (
        served(home, limits=Limits(recheck_s=60)) as server,
        to(server, "auto") as other,
        to(server, "auto", token) as line,
    ):
        await other.follow(MAIN)
        number = line._number + 1
        await line.follow(MAIN)
        await home.operator.delete("/api/v1/tokens/bot")
        ended = await line.answer_to(number)
        await home.plan("AAPL", "buy", 1)
        await other.events(1)

    assert ended.result["_meta"]["io.modelcontextprotocol/subscriptionId"] == number
    assert line.updates == []


async def test_nothing_polls_when_nobody_follows(server: Served, home: Stack) -> None:
    def polling() -> list[str]:
        names = ("poll events", "follow events", "look at the audit")
        return [t.get_name() for t in asyncio.all_tasks() if t.get_name() in names]

    async with to(server, "auto") as line:
        assert polling() == []
        await line.follow(MAIN)
        await until(lambda: len(polling()) == 3)
    await until(lambda: "poll events" not in polling(), 0.01)
    await until(lambda: polling() == [], 0.01)


async def test_a_stop_of_the_server_closes_a_stream_with_its_reason(server: Served) -> None:
    async with server.raw() as ws:
        slow = Slow(ws)
        await slow.follow(MAIN)
        stopping = asyncio.create_task(server.stop())

        assert await closed(ws) == 1012
        await stopping
