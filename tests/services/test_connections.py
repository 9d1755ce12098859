"""Connections: one per account, made with its newest key, and not hammered when they fail."""

import asyncio
from typing import cast

import pytest
import structlog

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable
from backend.exchanges import ExchangeModule, Identity
from backend.services import reconcile
from tests.services import real
from tests.services.fakes import FakeExchange, RealModule, install_real
from tests.services.real import ACCOUNTS, ONE, account_one, add, plan_one, set_key
from tests.services.spoken import Reply, until

pytestmark = pytest.mark.anyio
REFUSED = ExchangeRejected("no such key", "-2015")


async def unconnected(stack, *more_keys: str) -> tuple[RealModule, FakeExchange]:
    """Add `real:one`, which the next use connects to with `key-two`, and return what it meets."""
    module = install_real(stack)
    for key in ("key-one", "key-two", *more_keys):
        module.holds(key)
    await add(stack)
    assert (await set_key(stack, "key-two")).http == 200
    return module, module.accounts["key-two"]


async def health(stack) -> dict[str, object]:
    told = await stack.http.get("/health")
    assert told.status_code == 200
    return dict(told.json())


# --- after a failure ---


async def test_a_key_that_is_refused_is_presented_less_and_less_often(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.trouble["identity"] = REFUSED
    presented = []

    for second in range(100):
        before = exchange.asked["identity"]
        await exec_mcp.advance(1)
        presented += [second] * (exchange.asked["identity"] - before)

    gaps = [later - earlier for earlier, later in zip(presented, presented[1:], strict=False)]
    assert gaps == [1, 2, 4, 8, 16, 30, 30]


async def test_after_a_connection_the_pauses_begin_anew(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.trouble["identity"] = REFUSED
    await exec_mcp.advance(1)
    await exec_mcp.advance(1)
    exchange.trouble.clear()
    await exec_mcp.advance(2)
    assert (await plan_one(exec_mcp)).http == 201
    await exec_mcp.backend.desk.connections.drop((await account_one(exec_mcp)).number)
    exchange.trouble["identity"] = REFUSED
    await exec_mcp.advance(0)
    exchange.trouble.clear()

    at_once = await plan_one(exec_mcp)
    exec_mcp.clock.advance(1)
    later = await plan_one(exec_mcp)

    assert (at_once.http, later.http) == (503, 201)


async def test_another_key_is_tried_at_once_though_the_old_one_just_failed(exec_mcp):
    _, exchange = await unconnected(exec_mcp, "key-three")
    exchange.trouble["identity"] = REFUSED
    failed = await plan_one(exec_mcp)

    assert (await set_key(exec_mcp, "key-three")).http == 200

    assert (failed.http, failed.code) == (503, "exchange_unavailable")
    assert (await plan_one(exec_mcp)).http == 201


async def test_a_clock_that_was_set_back_ends_a_pause(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.trouble["identity"] = REFUSED
    assert (await plan_one(exec_mcp)).http == 503
    exchange.trouble.clear()

    exec_mcp.clock.advance(-1)

    assert (await plan_one(exec_mcp)).http == 201


async def test_callers_who_wait_for_a_connection_share_its_failure(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.slow = asyncio.Event()
    exchange.says = Identity("two", may_trade=True, may_withdraw=False)
    before = exchange.asked["identity"]

    waiting = [asyncio.create_task(plan_one(exec_mcp)) for _ in range(10)]
    await until(lambda: exchange.asked["identity"] > before)
    exchange.slow.set()
    told = await asyncio.gather(*waiting)

    assert {(one.http, one["detail"]) for one in told} == {
        (503, told[0]["detail"]),
    }
    assert "belong to another account" in told[0]["detail"]
    assert exchange.asked["identity"] == before + 1


async def test_callers_who_wait_for_a_connection_share_it(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.slow = asyncio.Event()
    before = exchange.asked["identity"]

    waiting = [asyncio.create_task(plan_one(exec_mcp)) for _ in range(10)]
    await until(lambda: exchange.asked["identity"] > before)
    exchange.slow.set()
    told = await asyncio.gather(*waiting)

    assert {one.http for one in told} == {201}
    assert exchange.asked["identity"] == before + 1


# --- older accounts ---


async def test_who_read_the_account_before_its_key_changed_uses_the_newer_connection(exec_mcp):
    module, exchange = await unconnected(exec_mcp, "key-three")
    earlier = await account_one(exec_mcp)
    await set_key(exec_mcp, "key-three")
    assert (await plan_one(exec_mcp)).http == 201
    newest = module.accounts["key-three"]
    made, closed = len(module.keys), newest.asked["close"]

    await reconcile.reconcile(exec_mcp.backend.desk, earlier)
    planned = await plan_one(exec_mcp, **real.RESTING)

    assert planned.http == 201
    assert (len(module.keys), newest.asked["close"]) == (made, closed)
    assert newest.asked["balances"] > exchange.asked["balances"]


@pytest.mark.parametrize("leads", [True, False], ids=["the keeper's process", "another process"])
async def test_the_connection_of_an_account_that_another_process_deleted_is_closed(exec_mcp, leads):
    other = await exec_mcp.second_server()
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp)
    cast(dict[str, ExchangeModule], other.backend.desk.exchanges)["real"] = cast(
        ExchangeModule, module
    )
    await exec_mcp.advance(1)  # The first server takes the lease.
    holder, deleter = (exec_mcp, other) if leads else (other, exec_mcp)
    assert (await plan_one(holder)).http == 201
    assert (await deleter.operator.delete(f"{ACCOUNTS}/{ONE}")).status_code == 200
    closed = exchange.asked["close"]

    await exec_mcp.advance(1)

    assert exchange.asked["close"] == closed + 1


# --- what is told of it ---


async def test_health_counts_the_accounts_whose_exchange_gives_no_answer_and_names_none(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.trouble["identity"] = REFUSED
    await exec_mcp.advance(1)

    silent = await health(exec_mcp)
    exchange.trouble.clear()
    await exec_mcp.advance(30)
    answering = await health(exec_mcp)

    assert (silent["status"], silent["silent_accounts"]) == ("ok", 1)
    assert not any(word in str(silent) for word in ("real", ONE, "key"))
    assert "silent_accounts" not in answering


async def test_health_forgets_a_silent_account_that_is_deleted(exec_mcp):
    _, exchange = await unconnected(exec_mcp)
    exchange.trouble["identity"] = REFUSED
    await exec_mcp.advance(1)
    assert (await health(exec_mcp))["silent_accounts"] == 1

    assert Reply(await exec_mcp.operator.delete(f"{ACCOUNTS}/{ONE}")).http == 200
    await exec_mcp.advance(1)

    assert "silent_accounts" not in await health(exec_mcp)


async def test_a_silence_is_logged_once_until_it_ends_or_its_reason_changes(exec_mcp):
    _, exchange = await unconnected(exec_mcp)

    with structlog.testing.capture_logs() as told:
        for trouble in (REFUSED, ExchangeUnavailable("no route"), None, REFUSED):
            exchange.trouble = {"identity": trouble} if trouble else {}
            number = (await account_one(exec_mcp)).number
            await exec_mcp.backend.desk.connections.drop(number)
            for _ in range(5):
                await exec_mcp.advance(31)

    silences = [line["detail"] for line in told if line["event"] == "reconcile.no_answer"]
    assert [("no such key" in one, "no route" in one) for one in silences] == [
        (True, False),
        (False, True),
        (True, False),
    ]
