"""What one token's clients follow: one poll for all of them, each told everything once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from fastmcp import Client
from mcp import types
from mcp.client.subscriptions import listen
from mcp.shared.exceptions import MCPError

from backend.testing import Stack
from mcp_server.backend_client import BackendClient
from mcp_server.hub import MOST_URIS, Event, Follower, Hub, Unheard
from mcp_server.server import create_server
from mcp_server.subscriptions import EVENT, RESUME
from tests.mcp_server.fake_backend import FakeBackend
from tests.mcp_server.transport.following import ENVELOPE
from tests.mcp_server.transport.served import served
from tests.services.spoken import cancel, plan, until

pytestmark = pytest.mark.anyio

MAIN = "orders://paper:main"
AAPL = "price://paper/AAPL"


class Counted(httpx.AsyncBaseTransport):
    """Counts the polls that wait, and those that wait now."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.polls = self.waiting = 0
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.params.get("wait_s", "0") == "0":
            return await self._inner.handle_async_request(request)
        self.polls += 1
        self.waiting += 1
        try:
            return await self._inner.handle_async_request(request)
        finally:
            self.waiting -= 1


@pytest.fixture
def counted(exec_mcp: Stack) -> Counted:
    return Counted(exec_mcp.http._transport)


@pytest.fixture
async def hub(exec_mcp: Stack, counted: Counted) -> AsyncIterator[Hub]:
    headers = {"Authorization": exec_mcp.http.headers["authorization"]}
    http = httpx.AsyncClient(transport=counted, base_url="http://backend", headers=headers)
    made = Hub(BackendClient(http, lambda: None), None)
    yield made
    await made.close()


def an_event(uri: str, event_id: str) -> Event:
    return Event(uri, event_id, {}, "{}")


async def follow(hub: Hub, *uris: str, **resume: str) -> Follower:
    follower = Follower()
    await hub.join(follower, uris, resume)
    return follower


async def told(follower: Follower, count: int) -> list[Any]:
    async with asyncio.timeout(10):
        return [await follower.next() for _ in range(count)]


def ids(events: list[Any]) -> list[int]:
    return [int(event.event_id) for event in events]


async def audited(stack: Stack) -> list[int]:
    rows = (await stack.http.get("/api/v1/audit/events?limit=500")).json()["events"]
    return [row["seq"] for row in reversed(rows) if row["trade_id"]]


# --- the hub ---


async def test_a_hundred_followers_of_one_price_make_one_poll(
    exec_mcp: Stack, hub: Hub, counted: Counted
) -> None:
    followers = [await follow(hub, AAPL) for _ in range(100)]
    for follower in followers:
        (first,) = await told(follower, 1)
        assert first.told["data"]["bid"] == 215.38
    await until(lambda: counted.waiting == 1)
    before = counted.polls
    exec_mcp.prices.set("AAPL", "216.00", "216.02")

    for follower in followers:
        (event,) = await told(follower, 1)
        assert event.told["data"]["bid"] == 216.00
    await until(lambda: counted.waiting == 1)
    assert counted.polls == before + 1


async def test_whoever_joins_late_is_told_what_it_missed_and_then_the_rest_once(
    exec_mcp: Stack, hub: Hub
) -> None:
    early = await follow(hub, MAIN)
    for _ in range(4):
        await cancel(exec_mcp, await plan(exec_mcp))
    missed = await audited(exec_mcp)
    late = Follower()
    await hub.join(late, [MAIN], {MAIN: str(missed[2])})
    await cancel(exec_mcp, await plan(exec_mcp))
    whole = await audited(exec_mcp)

    assert ids(await told(early, len(whole))) == whole
    assert ids(await told(late, len(whole) - 3)) == whole[3:]


async def test_in_any_order_of_joins_and_trades_each_is_told_each_event_once(
    exec_mcp: Stack, hub: Hub
) -> None:
    choose = random.Random(7)
    joined: list[tuple[Follower, int]] = []
    joins: list[asyncio.Task[Any]] = []
    for _ in range(60):
        act = choose.choice(["join", "join", "trade", "leave", "wait"])
        known = await audited(exec_mcp)
        if act == "trade":
            await cancel(exec_mcp, await plan(exec_mcp))
        elif act == "join":
            after = choose.choice([0, *known])
            follower = Follower()
            joined.append((follower, after))
            others = choose.sample([AAPL, "price://paper/BTC/USD", "trade://x"], 2)
            joins.append(
                asyncio.create_task(hub.join(follower, [MAIN, *others], {MAIN: str(after)}))
            )
        elif act == "leave" and len(joined) > 2:
            follower, _ = joined.pop(choose.randrange(len(joined)))
            await asyncio.gather(*joins)
            hub.leave(follower)
        await asyncio.sleep(0)
    await asyncio.gather(*joins)
    await cancel(exec_mcp, await plan(exec_mcp))
    whole = await audited(exec_mcp)

    assert len(joined) > 5
    for follower, after in joined:
        seen: list[int] = []
        while not seen or seen[-1] != whole[-1]:
            (event,) = await told(follower, 1)
            if event.uri == MAIN:
                seen += ids([event])
        assert seen == [number for number in whole if number > after]


async def test_nothing_is_missed_while_the_backend_is_away(exec_mcp: Stack, hub: Hub) -> None:
    follower = await follow(hub, MAIN, AAPL)
    await told(follower, 1)
    made = await plan(exec_mcp)
    await exec_mcp.restart()
    await cancel(exec_mcp, made)
    whole = await audited(exec_mcp)

    seen: list[Any] = []
    while len(seen) < len(whole):
        seen += [event for event in await told(follower, 1) if event.uri == MAIN]

    assert ids(seen) == whole


async def test_of_a_price_only_the_newest_waits_and_of_trades_all_up_to_a_bound() -> None:
    follower = Follower()
    follower.told = {AAPL: "", MAIN: 0}
    for number in range(1, 2048):
        follower.offer(an_event(AAPL, f"a.{number}"))
        follower.offer(an_event(MAIN, str(number)))
    assert not follower.over

    follower.offer(an_event(MAIN, "2048"))
    follower.offer(an_event(MAIN, "2049"))
    waiting = [event async for event in rest(follower)]

    assert [e.event_id for e in waiting if e.uri == AAPL] == ["a.2047"]
    assert ids([e for e in waiting if e.uri == MAIN]) == list(range(1, 2049))
    assert follower.told[MAIN] == 2048


async def rest(follower: Follower) -> AsyncIterator[Any]:
    while (event := await follower.next()) is not None:
        yield event


async def test_an_event_that_was_told_is_not_told_again() -> None:
    follower = Follower()
    follower.told = {MAIN: 5, AAPL: "a.1"}
    for uri, event_id in ((MAIN, "5"), (MAIN, "4"), (AAPL, "a.1"), ("trade://x", "9")):
        follower.offer(an_event(uri, event_id))
    follower.end()

    assert await follower.next() is None


async def test_who_leaves_last_ends_the_poll(hub: Hub, counted: Counted) -> None:
    idle: list[bool] = []
    hub.on_idle = lambda: idle.append(True)
    one, two = await follow(hub, MAIN), await follow(hub, MAIN, AAPL)
    await until(lambda: counted.waiting == 1)
    hub.leave(one)
    hub.leave(two, [AAPL])
    assert not idle
    hub.leave(two)

    await until(lambda: counted.waiting == 0)
    assert idle == [True]


async def test_what_cannot_be_ours_is_not_even_asked_for(hub: Hub) -> None:
    follower = Follower()
    odd = ["kb://laws", "trade://a,trade://b", "orders://" + "x" * 100, "", "price:"]

    assert await hub.join(follower, odd, {}) == []


async def test_no_more_is_followed_than_one_poll_can_ask_for(hub: Hub, exec_mcp: Stack) -> None:
    odd = [MAIN] + [f"trade://{number}" for number in range(MOST_URIS)]

    assert await hub.join(Follower(), odd, {}) == [MAIN]


@pytest.mark.parametrize("status", [500, 429, 400, 503])
async def test_a_backend_in_trouble_is_told_to_who_wants_to_follow(
    backend: FakeBackend, status: int
) -> None:
    backend.answers(status, {"code": "internal_error"})
    async with backend.client() as http:
        hub = Hub(BackendClient(http, lambda: None), "t")
        with pytest.raises(Unheard):
            await hub.join(Follower(), [MAIN], {})


# --- the two eras, in memory and over HTTP ---


async def test_the_new_era_listens_and_is_told_what_it_may_follow(exec_mcp: Stack) -> None:
    client = exec_mcp.client
    async with listen(client.session, resource_subscriptions=[MAIN, "orders://paper:no"]) as heard:
        honoured = heard.honored.resource_subscriptions
        await plan(exec_mcp)
        async with asyncio.timeout(10):
            event = await anext(heard)
    text = (await client.read_resource("orders://paper%3Amain"))[0]

    assert honoured == [MAIN]
    assert event.uri == MAIN  # type: ignore[union-attr]
    assert json.loads(text.text)["orders"] == []  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_the_handshake_era_subscribes_and_unsubscribes(exec_mcp: Stack) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def note(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            heard.put_nowait(message.params)

    server = create_server(exec_mcp.http_as(exec_mcp._token("agent")))
    async with Client(server, mode="legacy", message_handler=note) as client:
        assert client.session.server_capabilities.resources.subscribe is True
        for uri in (MAIN, "orders://paper:no"):
            await client.session.subscribe_resource(uri)
        made = await plan(exec_mcp)
        async with asyncio.timeout(10):
            params = await heard.get()
        await client.session.unsubscribe_resource(MAIN)
        await cancel(exec_mcp, made)
        await client.session.subscribe_resource(AAPL)
        async with asyncio.timeout(10):
            other = await heard.get()

    assert (params.uri, params.meta[EVENT]["event"]) == (MAIN, "trade.planned")
    assert params.meta[EVENT]["data"]["trade_id"] == made.trade_id
    assert other.uri == AAPL


async def test_it_streams_over_http_in_the_new_era_and_goes_on_from_an_event(
    exec_mcp: Stack,
) -> None:
    await cancel(exec_mcp, await plan(exec_mcp))
    planned, _ = await audited(exec_mcp)
    meta = {**ENVELOPE, RESUME: {MAIN: str(planned)}}
    wanted = {"resourceSubscriptions": [MAIN]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
    body["params"] = {"notifications": wanted, "_meta": meta}
    async with served(exec_mcp) as server, httpx2.AsyncClient() as http:
        headers = {
            "Authorization": f"Bearer {server.token()}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "subscriptions/listen",
        }
        url = f"http://127.0.0.1:{server.port}/mcp"
        async with http.stream("POST", url, json=body, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            lines = response.aiter_lines()
            frames = [await frame(lines), await frame(lines)]
            await plan(exec_mcp)
            frames.append(await frame(lines))

    assert [f["method"].rpartition("/")[2] for f in frames] == [
        "acknowledged",
        "updated",
        "updated",
    ]
    events = [f["params"]["_meta"][EVENT]["event"] for f in frames[1:]]
    assert events == ["trade.cancelled", "trade.planned"]


async def frame(lines: Any) -> dict[str, Any]:
    """Return the next message of an event stream."""
    async with asyncio.timeout(10):
        async for line in lines:
            if line.startswith("data:") and line[5:].strip():
                found: dict[str, Any] = json.loads(line[5:])
                return found
    raise AssertionError("the stream ended")


@pytest.mark.parametrize(
    "uri", ["trade://trd-aaaaaaaaaaaaaaaaaaaa", "orders://paper%3Ano", "price://paper/NOPE"]
)
async def test_what_is_not_there_cannot_be_read(exec_mcp: Stack, uri: str) -> None:
    with pytest.raises(MCPError, match="no such thing, or not yours"):
        await exec_mcp.client.read_resource(uri)


async def test_what_is_read_has_every_digit(exec_mcp: Stack) -> None:
    made = await plan(exec_mcp)
    client = exec_mcp.client

    price = (await client.read_resource("price://paper/BTC/USD"))[0].text  # type: ignore[union-attr]
    trade = (await client.read_resource(f"trade://{made.trade_id}"))[0].text  # type: ignore[union-attr]

    assert '"bid":64000.00' in price
    assert json.loads(price)["stale"] is False
    assert trade == (await exec_mcp.http.get(f"/api/v1/trading/trades/{made.trade_id}")).text
