"""The exchanges' rules: fetched when needed, kept whole, refreshed, never torn, never lost."""

import asyncio
import json
import zlib
from collections import UserDict
from dataclasses import replace
from typing import Any

import pytest

from backend.database import sqlite3  # type: ignore[attr-defined, unused-ignore]
from backend.domain.errors import (
    ExchangeRejected,
    ExchangeUnavailable,
    ExecError,
    OutcomeUnknown,
    RateLimited,
)
from backend.services.metadata import REFRESH_EVERY
from backend.store import accounts
from backend.testing import stack
from tests.exchanges.tiny import BTC, TinyMarket, version_of
from tests.services.mirrors import (
    LIVE,
    MIRRORED,
    add_mirrored,
    install,
    markets,
    mirrored,
    plan_btc,
)
from tests.services.spoken import Reply, change, row, until

pytestmark = pytest.mark.anyio
DAY_S = REFRESH_EVERY.total_seconds()
STORED = "SELECT * FROM metadata WHERE exchange = 'tiny' AND environment = 'live'"


async def stored(stack) -> dict[str, Any]:
    return await row(stack, STORED)


async def changes(stack) -> list[dict[str, Any]]:
    """Return what the audit says of changed rules, oldest first."""
    found = await stack.backend.desk.database.read(
        lambda tx: tx.rows("SELECT detail FROM audit WHERE event = 'metadata.changed' ORDER BY seq")
    )
    return [json.loads(one["detail"]) for one in found]


async def health(stack) -> tuple[int, str, list[str]]:
    told = await stack.http.get("/health")
    return told.status_code, told.json()["status"], told.json().get("stale_rules", [])


async def get(stack, path: str, **query: Any) -> Reply:
    return Reply(await stack.http.get(f"/api/v1{path}", params=query))


async def test_the_rules_are_fetched_when_first_needed_and_kept_whole(exec_mcp):
    market = install(exec_mcp)
    market.answer = json.dumps([BTC]).encode() + b"  \n"
    assert market.fetched == 0

    await add_mirrored(exec_mcp)
    await plan_btc(exec_mcp)

    kept = await stored(exec_mcp)
    version = version_of(market.answer)
    assert market.fetched == 1
    assert zlib.decompress(kept["content"]) == market.answer
    assert kept["version"] == version
    assert await changes(exec_mcp) == [
        {
            "exchange": "tiny",
            "environment": "live",
            "before": None,
            "after": version,
            "instruments": 1,
        }
    ]


async def test_of_many_who_need_the_rules_at_once_one_fetches_them(exec_mcp):
    market = install(exec_mcp)

    found = await asyncio.gather(*(markets(exec_mcp).require(*LIVE) for _ in range(5)))

    assert market.fetched == 1
    assert all(one is found[0] for one in found)


async def test_a_second_process_takes_over_what_is_stored_and_then_what_is_newer(exec_mcp):
    first = await mirrored(exec_mcp)
    other = await exec_mcp.second_server()
    second = install(other)

    before = await markets(other).require(*LIVE)
    first.change(step_size="0.5")
    await markets(exec_mcp).refresh(*LIVE)
    after = await markets(other).require(*LIVE)

    assert second.fetched == 0
    assert str(before.instruments["BTC/USDT"].step_size) == "0.001"
    assert str(after.instruments["BTC/USDT"].step_size) == "0.5"
    assert markets(other).metadata(*LIVE) is after
    assert await markets(other).require(*LIVE) is after


async def test_the_rules_are_refreshed_at_the_start_and_once_a_day(exec_mcp):
    market = await mirrored(exec_mcp)
    fetched = []

    for seconds in (0, DAY_S - 1, 1, DAY_S - 1, 1):
        await exec_mcp.advance(seconds)
        fetched.append(market.fetched)

    assert fetched == [2, 2, 3, 3, 4]
    assert len(await changes(exec_mcp)) == 1


async def test_nothing_is_refreshed_that_no_account_follows(exec_mcp):
    market = install(exec_mcp)

    await exec_mcp.advance(DAY_S)

    assert market.fetched == 0


@pytest.mark.parametrize(
    "bad",
    [
        ExchangeUnavailable("down"),
        OutcomeUnknown("no answer"),
        ExchangeRejected("blocked", "403"),
        RateLimited("too many"),
        b"[]",
        b"",
        b"<html>",
        b'{"code": -1003}',
        b'[{"symbol": "BTC/USDT"}]',
        b"[null]",
    ],
    ids=str,
)
async def test_a_bad_refresh_keeps_the_last_good_set_and_shows_trouble(exec_mcp, bad):
    market = await mirrored(exec_mcp)
    before = await stored(exec_mcp)
    if isinstance(bad, ExecError):
        market.trouble = bad
    else:
        market.answer = bad

    await exec_mcp.advance(1)
    ill = await health(exec_mcp)
    traded = await plan_btc(exec_mcp)

    assert ill == (200, "ok", ["tiny:live"])
    assert "tiny:live" in markets(exec_mcp).trouble
    assert await stored(exec_mcp) == before
    assert traded.http == 201
    assert len(await changes(exec_mcp)) == 1

    market.trouble = market.answer = None
    await exec_mcp.advance(299)
    still = await health(exec_mcp)
    await exec_mcp.advance(1)

    assert still == (200, "ok", ["tiny:live"])
    assert await health(exec_mcp) == (200, "ok", [])


async def test_the_running_server_refreshes_in_the_background(tmp_path):
    async with stack(tmp_path / "home", background=True) as opened:
        market = await mirrored(opened)

        await until(lambda: market.fetched == 2, pause_s=0.05)


async def test_a_market_with_a_bug_is_not_asked_again_every_second(exec_mcp):
    market = await mirrored(exec_mcp)
    market.answer = b'[{"symbol": {}}]'  # Its reader trips over this: no ValueError.
    with pytest.raises(AttributeError):
        await exec_mcp.advance(1)
    before = market.fetched

    await exec_mcp.advance(299)

    assert market.fetched == before


async def test_trouble_is_forgotten_with_the_last_account_that_follows(exec_mcp):
    market = await mirrored(exec_mcp)
    market.trouble = ExchangeUnavailable("down")
    await exec_mcp.advance(1)

    await exec_mcp.operator.delete(f"/api/v1/accounts/{MIRRORED}")
    await exec_mcp.advance(1)

    assert await health(exec_mcp) == (200, "ok", [])


async def test_a_restart_without_the_exchange_works_from_what_is_stored(exec_mcp):
    await mirrored(exec_mcp)
    await exec_mcp.restart()
    market = install(exec_mcp)
    market.trouble = ExchangeUnavailable("down")

    listed = await get(exec_mcp, "/markets", exchange="paper", query="usdt", limit=200)
    planned = await plan_btc(exec_mcp)
    done = Reply(await exec_mcp.http.post(f"/api/v1/trading/trades/{planned.trade_id}/confirm"))

    assert "BTC/USDT" in {m["symbol"] for m in listed["markets"] if m.get("mirror") == "tiny"}
    assert done.status == "executed"
    assert market.fetched == 0


async def test_what_is_stored_and_not_understood_is_fetched_again(exec_mcp):
    await mirrored(exec_mcp)
    await change(exec_mcp, "UPDATE metadata SET version = 'x', content = ?", zlib.compress(b"?"))
    await exec_mcp.restart()
    market = install(exec_mcp)

    planned = await plan_btc(exec_mcp)

    assert planned.http == 201
    assert market.fetched == 1
    assert (await stored(exec_mcp))["version"] != "x"


async def test_what_is_stored_and_not_understood_leaves_a_running_server_what_it_knew(exec_mcp):
    market = await mirrored(exec_mcp)
    known = markets(exec_mcp).metadata(*LIVE)
    await change(exec_mcp, "UPDATE metadata SET version = 'x', content = ?", zlib.compress(b"?"))
    market.trouble = ExchangeUnavailable("down")

    assert await markets(exec_mcp).require(*LIVE) is known


async def test_without_any_set_and_without_the_exchange_no_account_is_made(exec_mcp):
    market = install(exec_mcp)
    market.trouble = ExchangeUnavailable("down")

    refused = await add_mirrored(exec_mcp)
    market.trouble = None
    exec_mcp.clock.advance(10)  # A failed fetch is not repeated at once.
    added = await add_mirrored(exec_mcp)

    assert (refused.http, refused.code) == (503, "exchange_unavailable")
    assert "the rules of tiny (live) could not be fetched" in refused["detail"]
    assert added.http == 201


async def test_a_first_fetch_that_failed_is_not_repeated_at_once(exec_mcp):
    market = install(exec_mcp)
    market.rows = []
    fetched = []

    for seconds in (0, 0, 9.9, 0.1, 9.9, 0.1):
        exec_mcp.clock.advance(seconds)
        refused = await add_mirrored(exec_mcp)
        assert "the rules of tiny (live) could not be fetched" in refused["detail"]
        fetched.append(market.fetched)

    assert fetched == [1, 1, 1, 2, 2, 3]


async def test_of_many_who_need_rules_that_cannot_be_fetched_one_asks_for_them(exec_mcp):
    market = install(exec_mcp)
    market.rows = []

    told = await asyncio.gather(
        *(markets(exec_mcp).require(*LIVE) for _ in range(5)), return_exceptions=True
    )

    assert market.fetched == 1
    assert {type(one) for one in told} == {ExchangeUnavailable}
    assert len({str(one) for one in told}) == 1


async def test_another_environment_is_asked_though_one_just_failed(exec_mcp):
    market = install(exec_mcp)
    market.trouble = ExchangeUnavailable("down")
    with pytest.raises(ExchangeUnavailable):
        await markets(exec_mcp).require(*LIVE)

    assert (await markets(exec_mcp).require("tiny", "testnet")).instruments


async def test_a_clock_that_was_set_back_ends_the_pause_after_a_failed_fetch(exec_mcp):
    market = install(exec_mcp)
    market.trouble = ExchangeUnavailable("down")
    assert (await add_mirrored(exec_mcp)).http == 503
    market.trouble = None

    exec_mcp.clock.advance(-1)

    assert (await add_mirrored(exec_mcp)).http == 201


async def test_what_is_stored_and_not_understood_is_read_once_until_it_changes(exec_mcp):
    market = await mirrored(exec_mcp)
    known = markets(exec_mcp).metadata(*LIVE)
    market.trouble = ExchangeUnavailable("down")
    read = []

    for version in ("x", "y"):
        text = "UPDATE metadata SET version = ?, content = ?"
        await change(exec_mcp, text, version, zlib.compress(b"?"))
        for _ in range(5):
            assert await markets(exec_mcp).require(*LIVE) is known
        read.append(market.read)

    assert [number - read[0] for number in read] == [0, 1]
    assert read[0] == 2  # What was fetched, and the first that was not understood.


async def test_a_set_and_its_audit_row_are_written_together_or_not_at_all(exec_mcp):
    market = await mirrored(exec_mcp)
    before = await stored(exec_mcp)
    await change(
        exec_mcp,
        "CREATE TRIGGER torn BEFORE INSERT ON audit WHEN NEW.event = 'metadata.changed'"
        " BEGIN SELECT RAISE(ABORT, 'torn'); END",
    )
    market.change(step_size="0.5")

    with pytest.raises(sqlite3.IntegrityError, match="torn"):
        await markets(exec_mcp).refresh(*LIVE)

    assert await stored(exec_mcp) == before
    assert str(markets(exec_mcp).metadata(*LIVE).instruments["BTC/USDT"].step_size) == "0.001"


async def test_each_change_has_its_audit_row_and_an_unchanged_set_has_none(exec_mcp):
    market = await mirrored(exec_mcp)
    market.change(step_size="0.5")

    await markets(exec_mcp).refresh(*LIVE)
    await markets(exec_mcp).refresh(*LIVE)

    first, second = await changes(exec_mcp)
    assert second["before"] == first["after"] != second["after"]


async def add_real(stack) -> None:
    """Add an account at the tiny exchange itself: one that can never be reached."""

    def body(tx):
        accounts.insert(
            tx,
            exchange="tiny",
            identifier="one",
            name="one",
            environment="live",
            currency="USDT",
            settings={},
            limits={},
        )

    await stack.backend.desk.database.write(body)


async def test_rules_are_told_without_a_key_while_the_exchange_is_down(exec_mcp):
    market = await mirrored(exec_mcp)
    await add_real(exec_mcp)
    market.trouble = ExchangeUnavailable("down")

    listed = await get(exec_mcp, "/markets", exchange="tiny")
    money = await get(exec_mcp, "/currencies", exchange="tiny")
    one = await get(exec_mcp, "/markets/BTC/USDT", account_id="tiny:one")
    price = await get(exec_mcp, "/prices/BTC/USDT", account_id="tiny:one")

    assert [m["symbol"] for m in listed["markets"]] == ["BTC/USDT"]
    assert [c["currency"] for c in money["currencies"]] == ["BTC", "USDT"]
    assert (one.http, one["price"], str(one["tick_size"])) == (200, None, "0.01")
    assert (price.http, price.code) == (503, "exchange_unavailable")


class Counted(UserDict[str, Any]):
    """Instruments that count how often somebody walks through them."""

    walks = 0

    def values(self):
        Counted.walks += 1
        return super().values()


class CountedMarket(TinyMarket):
    def read_metadata(self, content, as_of):
        found = super().read_metadata(content, as_of)
        return replace(found, instruments=Counted(found.instruments))


async def test_3600_instruments_are_paged_each_once_without_reading_them_again(exec_mcp):
    install(exec_mcp)
    market = CountedMarket(exec_mcp.clock)
    module: Any = exec_mcp.backend.desk.exchanges["tiny"]
    module.markets["live"] = market
    market.rows = [{**BTC, "symbol": f"C{number}/USDT"} for number in range(3600)]
    await add_mirrored(exec_mcp)
    await add_mirrored(exec_mcp, "twin")
    Counted.walks, cursor, pages = 0, None, 0
    seen: list[str] = []

    while pages == 0 or cursor:
        query: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page = await get(exec_mcp, "/markets", query="/USDT", exchange="paper", limit=200, **query)
        seen += [m["symbol"] for m in page["markets"] if "mirror" in m]
        cursor, pages = page["next_cursor"], pages + 1

    assert len(seen) == len(set(seen)) == 3600
    assert seen == sorted(seen)
    assert Counted.walks == pages  # Two accounts, one set.
    assert (market.fetched, market.read) == (1, 1)
