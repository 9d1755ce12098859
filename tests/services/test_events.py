"""What happened since somebody last asked: nothing is missed, told twice, or told to others."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from backend.domain.quote import Quote
from backend.services import market
from backend.services.feeds import Feed, Patience, Source
from backend.services.lookup import resolve_account
from backend.store import audit, tokens
from backend.testing import Stack
from tests.services.spoken import add_account, cancel, confirm, plan, until

pytestmark = pytest.mark.anyio

EVENTS = "/api/v1/events"
MAIN = "orders://paper:main"
AAPL = "price://paper/AAPL"
BTC = "price://paper/BTC/USD"


async def ask(
    stack: Stack, *uris: str, http: httpx.AsyncClient | None = None, **params: Any
) -> httpx.Response:
    return await (http or stack.http).get(EVENTS, params={"uris": ",".join(uris), **params})


async def poll(stack: Stack, *uris: str, **params: Any) -> dict[str, Any]:
    reply = await ask(stack, *uris, **params)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = json.loads(reply.text, parse_float=Decimal)
    return told


def names(told: dict[str, Any]) -> list[str]:
    return [event["event"] for event in told["events"]]


def ids(told: dict[str, Any]) -> list[int]:
    return [int(event["event_id"]) for event in told["events"]]


async def waiting(stack: Stack, *uris: str, **params: Any) -> asyncio.Task[httpx.Response]:
    """Begin a poll, and return when it waits."""
    news = stack.backend.desk.events._news
    task = asyncio.create_task(ask(stack, *uris, wait_s=20, **params))
    await until(lambda: news._waiting or task.done())
    return task


async def answer_of(task: asyncio.Task[httpx.Response]) -> dict[str, Any]:
    async with asyncio.timeout(5):
        told: dict[str, Any] = (await task).json()
        return told


# --- trades ---


async def test_a_trade_is_told_from_its_plan_to_its_end_in_the_audits_order(
    exec_mcp: Stack,
) -> None:
    made = await plan(exec_mcp)
    await confirm(exec_mcp, made)
    uri = f"trade://{made.trade_id}"

    told = await poll(exec_mcp, uri, after=0)

    assert names(told) == ["trade.planned", "trade.claimed", "order.settled"]
    assert ids(told) == sorted(set(ids(told)))
    assert told["uris"] == [uri]
    trade = await exec_mcp.http.get(f"/api/v1/trading/trades/{made.trade_id}")
    assert told["events"][-1]["data"] == json.loads(trade.text, parse_float=Decimal)
    rows = (await exec_mcp.http.get("/api/v1/audit/events")).json()["events"]
    assert ids(told) == [r["seq"] for r in reversed(rows) if r["trade_id"] == made.trade_id]


async def test_an_account_tells_every_trade_and_a_trade_only_itself(exec_mcp: Stack) -> None:
    one, two = await plan(exec_mcp), await plan(exec_mcp, quantity=2)
    await cancel(exec_mcp, one)

    told = await poll(exec_mcp, MAIN, f"trade://{two.trade_id}", after=0)

    assert [(e["event"], e["uri"], e["data"]["trade_id"]) for e in told["events"]] == [
        ("trade.planned", MAIN, one.trade_id),
        ("trade.planned", f"trade://{two.trade_id}", two.trade_id),
        ("trade.planned", MAIN, two.trade_id),
        ("trade.cancelled", MAIN, one.trade_id),
    ]


async def test_whoever_goes_on_from_a_cursor_or_an_event_is_told_the_rest_once(
    exec_mcp: Stack,
) -> None:
    for _ in range(3):
        await cancel(exec_mcp, await plan(exec_mcp))
    whole = await poll(exec_mcp, MAIN, after=0)

    page = await poll(exec_mcp, MAIN, after=0, limit=1)
    paged = page["events"]
    while page["events"]:
        page = await poll(exec_mcp, MAIN, after=page["cursor"], limit=1)
        paged += page["events"]
    rest = await poll(exec_mcp, MAIN, after=whole["events"][3]["event_id"])

    assert paged == whole["events"]
    assert rest["events"] == whole["events"][4:]


async def test_without_a_cursor_only_what_comes_is_told(exec_mcp: Stack) -> None:
    await plan(exec_mcp)
    told = await poll(exec_mcp, MAIN)
    task = await waiting(exec_mcp, MAIN)
    made = await plan(exec_mcp)

    assert told["events"] == []
    assert [e["data"]["trade_id"] for e in (await answer_of(task))["events"]] == [made.trade_id]


async def test_who_waits_is_woken_by_a_commit_at_once_and_by_nothing_that_is_not_theirs(
    exec_mcp: Stack,
) -> None:
    made = await plan(exec_mcp)
    await add_account(exec_mcp, "other")
    task = await waiting(exec_mcp, f"trade://{made.trade_id}", after=0)
    first = await answer_of(task)
    task = await waiting(exec_mcp, f"trade://{made.trade_id}", after=first["cursor"])

    await plan(exec_mcp, account_id="paper:other")
    await exec_mcp.backend.keeper.tick()
    assert not task.done()
    await confirm(exec_mcp, made)

    assert names(await answer_of(task))[0] == "trade.claimed"


async def test_a_commit_of_another_server_of_the_home_is_told(exec_mcp: Stack) -> None:
    other = await exec_mcp.second_server()
    task = await waiting(exec_mcp, MAIN)
    began = asyncio.get_running_loop().time()
    made = await plan(other)

    told = await answer_of(task)

    assert [e["data"]["trade_id"] for e in told["events"]] == [made.trade_id]
    assert asyncio.get_running_loop().time() - began < 2
    assert (await ask(other, MAIN, after=0)).json()["events"] == told["events"]


async def test_events_outlive_the_server(exec_mcp: Stack) -> None:
    made = await plan(exec_mcp)
    before = await poll(exec_mcp, MAIN, AAPL)
    await cancel(exec_mcp, made)
    await exec_mcp.restart()

    after = await poll(exec_mcp, MAIN, AAPL, after=before["cursor"], wait_s=5)

    assert names(after)[0] == "trade.cancelled"
    # The prices of another process are no news of this one: the newest is told again.
    again = await poll(exec_mcp, AAPL, after=before["cursor"], wait_s=5)
    assert names(again) == ["price.changed"]


async def test_what_is_expired_is_told_when_it_is_swept(exec_mcp: Stack) -> None:
    made = await plan(exec_mcp)
    task = await waiting(exec_mcp, f"trade://{made.trade_id}")

    await exec_mcp.advance(61)

    (told,) = (await answer_of(task))["events"]
    assert (told["event"], told["data"]["status"]) == ("trade.expired", "expired")
    assert told["at"] == "2026-05-26T10:15:42-04:00"


async def test_a_long_audit_is_looked_through_in_pages(exec_mcp: Stack) -> None:
    def fill(tx: Any) -> None:
        for _ in range(10_100):
            audit.append(tx, "nothing.happened", "system")

    made = await plan(exec_mcp)
    await exec_mcp.backend.desk.database.write(fill)
    await cancel(exec_mcp, made)

    first = await poll(exec_mcp, MAIN, after=0, wait_s=20)
    second = await poll(exec_mcp, MAIN, after=first["cursor"], wait_s=20)

    assert (names(first), names(second)) == (["trade.planned"], ["trade.cancelled"])


# --- walls ---


async def test_what_others_own_looks_like_what_is_not_there(exec_mcp: Stack) -> None:
    await add_account(exec_mcp, "other")
    bound = exec_mcp.http_as(await exec_mcp.token("bound", "read", accounts=["paper:other"]))
    made = await plan(exec_mcp)

    theirs = await ask(exec_mcp, f"trade://{made.trade_id}", MAIN, http=bound, after=0)
    missing = await ask(
        exec_mcp, "trade://trd-aaaaaaaaaaaaaaaaaaaa", "orders://paper:no", http=bound, after=0
    )
    own = await poll(exec_mcp, "orders://paper:other", MAIN, AAPL, http=bound, after=0)

    assert theirs.content == missing.content
    assert theirs.json()["events"] == theirs.json()["uris"] == []
    assert own["uris"] == ["orders://paper:other", AAPL]


async def test_what_is_no_subject_is_not_there(exec_mcp: Stack) -> None:
    odd = ["trade://", "trade://x", "orders://", "price://", "price://paper", "price://paper/NOPE"]
    odd += ["price://nowhere/AAPL", "kb://laws", "nothing", "trade:", "PRICE://paper/AAPL"]

    told = await poll(exec_mcp, *odd, MAIN)

    assert told["uris"] == [MAIN]


async def test_a_cursor_that_is_none_of_ours_is_refused(exec_mcp: Stack) -> None:
    for after in ("x", "-1", "1.a.b", "9" * 16, ".", "1.a.-1"):
        reply = await ask(exec_mcp, MAIN, after=after)

        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), after


async def test_no_more_than_two_hundred_are_followed_at_once(exec_mcp: Stack) -> None:
    many = [f"trade://{number}" for number in range(201)]

    assert (await ask(exec_mcp, *many)).status_code == 400
    assert (await ask(exec_mcp, *many[1:])).status_code == 200


async def test_a_number_beyond_the_end_means_the_end(exec_mcp: Stack) -> None:
    told = await poll(exec_mcp, MAIN, after=10**9)
    await plan(exec_mcp)

    assert names(await poll(exec_mcp, MAIN, after=told["cursor"])) == ["trade.planned"]


async def test_a_token_that_is_revoked_waits_no_longer(exec_mcp: Stack) -> None:
    http = exec_mcp.http_as(await exec_mcp.token("bot", "read"))
    task = asyncio.create_task(ask(exec_mcp, MAIN, http=http, wait_s=20))
    await until(lambda: exec_mcp.backend.desk.events._news._waiting)

    await exec_mcp.operator.delete("/api/v1/tokens/bot")

    async with asyncio.timeout(5):
        assert (await task).status_code == 401


async def test_a_server_that_stops_lets_nobody_wait(exec_mcp: Stack) -> None:
    task = await waiting(exec_mcp, MAIN)
    exec_mcp.backend.desk.events.stop()

    async with asyncio.timeout(5):
        assert (await task).status_code == 503
    assert (await ask(exec_mcp, MAIN, wait_s=20)).status_code == 503


async def test_nobody_looks_while_nobody_waits(exec_mcp: Stack) -> None:
    events = exec_mcp.backend.desk.events
    await poll(exec_mcp, MAIN)
    assert events._news._looking is None

    task = await waiting(exec_mcp, MAIN)
    looking = events._news._looking
    await plan(exec_mcp)
    await answer_of(task)

    assert looking is not None
    async with asyncio.timeout(5):
        await looking


@pytest.mark.exec_mcp(rate_limit_per_s=1)
async def test_following_takes_nothing_from_what_may_be_asked(exec_mcp: Stack) -> None:
    for _ in range(2):
        assert (await ask(exec_mcp, MAIN)).status_code == 200

    assert (await ask(exec_mcp, MAIN)).status_code == 429
    assert (await plan(exec_mcp)).http == 201


# --- prices ---


async def test_a_price_is_told_as_get_price_tells_it(exec_mcp: Stack) -> None:
    told = await poll(exec_mcp, BTC, wait_s=5)
    asked = await exec_mcp.http.get("/api/v1/prices/BTC/USD")

    (event,) = told["events"]
    price = json.loads(asked.text, parse_float=Decimal)
    assert (event["uri"], event["event"]) == (BTC, "price.changed")
    assert event["data"] == {**price, "stale": False}


async def test_a_tick_wakes_who_waits_and_only_the_newest_is_told(exec_mcp: Stack) -> None:
    first = await poll(exec_mcp, AAPL, wait_s=5)
    task = await waiting(exec_mcp, AAPL, after=first["cursor"])
    for cents in range(10, 60):
        exec_mcp.prices.set("AAPL", f"215.{cents}", f"215.{cents + 1}")

    told = await answer_of(task)

    assert [event["data"]["bid"] for event in told["events"]] == [215.59]
    task = await waiting(exec_mcp, AAPL, BTC, after=told["cursor"])
    assert names(await answer_of(task)) == ["price.changed"]  # BTC, for the first time.


async def test_a_symbol_may_be_written_in_more_than_one_way(exec_mcp: Stack) -> None:
    uris = [BTC, "price://paper/BTC%2FUSD", "price://paper/BTC-USD", "price://paper%3Amain/BTCUSD"]
    for uri in uris:
        await poll(exec_mcp, uri, wait_s=5)

    told = await poll(exec_mcp, *uris)

    assert [event["uri"] for event in told["events"]] == uris
    assert len({event["event_id"] for event in told["events"]}) == 1


async def test_a_silent_source_is_asked_and_its_price_is_told_as_stale(exec_mcp: Stack) -> None:
    exec_mcp.backend.desk.events.feeds.patience = Patience(silent_s=0.02)
    first = await poll(exec_mcp, AAPL, wait_s=5)
    exec_mcp.prices.freeze("AAPL")
    await exec_mcp.advance(60)

    stale = await poll(exec_mcp, AAPL, after=first["cursor"], wait_s=5)
    exec_mcp.prices.set("AAPL", "216.00", "216.02")
    fresh = await poll(exec_mcp, AAPL, after=stale["cursor"], wait_s=5)

    assert names(stale) == ["price.stale"]
    told = stale["events"][0]["data"]
    assert (told["stale"], told["bid"]) == (True, Decimal("215.38"))
    assert told["as_of"] == first["events"][0]["data"]["as_of"]
    assert names(fresh) == ["price.changed"]
    assert fresh["events"][0]["data"]["stale"] is False


async def test_a_book_without_any_price_is_told_as_stale_too(exec_mcp: Stack) -> None:
    exec_mcp.backend.desk.events.feeds.patience = Patience(silent_s=0.02)

    (event,) = (await poll(exec_mcp, "price://paper/TSLA", wait_s=5))["events"]

    assert event["event"] == "price.stale"
    assert event["data"]["as_of"] is None
    assert "bid" not in event["data"]


async def test_a_feed_ends_when_nobody_looks_any_more(exec_mcp: Stack) -> None:
    every = exec_mcp.backend.desk.events.feeds
    every.patience = Patience(silent_s=0.01, unused_s=0.03)
    await poll(exec_mcp, AAPL, wait_s=5)
    (task,) = every._tasks.values()

    async with asyncio.timeout(5):
        await task
    assert not every._feeds
    assert names(await poll(exec_mcp, AAPL, wait_s=5)) == ["price.changed"]


class Told:
    """A source that says what it is told to."""

    def __init__(self, *quotes: Quote | None) -> None:
        self.quotes = list(quotes)

    async def ask(self) -> Quote | None:
        return self.quotes.pop(0) if len(self.quotes) > 1 else self.quotes[0]

    async def fail(self) -> AsyncGenerator[Quote, None]:
        for quote in self.quotes:
            assert quote is not None
            yield quote
        raise RuntimeError("a bug")


@pytest.fixture
async def quote(exec_mcp: Stack) -> Quote:
    found = await exec_mcp.prices.quote("AAPL")
    assert found is not None
    return found


async def a_feed(stack: Stack, source: Source) -> Feed:
    desk = stack.backend.desk
    token = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])
    account = await resolve_account(desk, token, None)
    known = await market.instrument(desk, account, "AAPL")
    patience = Patience(silent_s=5, ask_every_s=0)
    return Feed(known, source, stack.clock, iter(range(1, 99)).__next__, patience)


async def test_a_source_that_cannot_be_watched_is_asked_again_and_again(
    exec_mcp: Stack, quote: Quote
) -> None:
    other = replace(quote, bid=Decimal(1))
    feed = await a_feed(exec_mcp, Source(Told(None, quote, quote, other).ask))
    running = asyncio.create_task(feed.run())

    await until(lambda: feed.quote == other)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert feed.version == 2  # The same quote is no news.


async def test_a_bug_in_a_source_is_told_by_its_feed(exec_mcp: Stack, quote: Quote) -> None:
    source = Told(quote)
    feed = await a_feed(exec_mcp, Source(source.ask, source.fail))

    with pytest.raises(RuntimeError, match="a bug"):
        await feed.run()
