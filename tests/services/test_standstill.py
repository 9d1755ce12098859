"""What stops, and how it goes on: an account that stopped, a restored copy, the keeper."""

import asyncio

import pytest

from backend.domain.errors import ExchangeUnavailable
from backend.services.keeper import Keeper
from backend.store import accounts
from backend.testing import stack
from tests.services.fakes import ACCOUNT, add_fake, fake_account, reconcile_fake
from tests.services.meanwhile import Meanwhile
from tests.services.spoken import assert_whole, change, confirm, funds, plan

pytestmark = pytest.mark.anyio
RESUME = "/api/v1/accounts/paper:main/resume"
ACCEPT = {"reason": "looked at both books", "accept_exchange": True}


async def test_books_rolled_back_with_their_journal_stop_the_account_after_the_start(tmp_path):
    home = tmp_path / "home"
    async with stack(home) as before:
        await before.stop()
        older = {name: (home / name).read_bytes() for name in ("exec-mcp.db", "sends.log")}
        await before.start()
        await confirm(before, await plan(before))
        await before.stop()
        for name, content in older.items():
            (home / name).write_bytes(content)  # Into the same file, as a volume is rolled back.

        await before.start()
        await before.advance(6)
        await before.advance(1)
        status = await before.call("risk_status")
        refused = await plan(before)

        assert status["stopped"] == "the ledger and the exchange differ in AAPL, USD"
        assert refused.code == "account_enabled"


async def test_the_first_comparison_waits_for_an_exchange_that_was_away(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.totals["USD"] -= 1
    exchange.trouble["open_orders"] = ExchangeUnavailable("away")
    exec_mcp.clock.advance(1)
    with pytest.raises(ExchangeUnavailable):
        await reconcile_fake(exec_mcp)

    del exchange.trouble["open_orders"]
    for _ in range(3):
        exec_mcp.clock.advance(31)
        await reconcile_fake(exec_mcp)

    assert (await fake_account(exec_mcp.backend.desk)).break_reason


async def test_resume_posts_what_the_exchange_holds_and_the_account_goes_on(exec_mcp):
    await change(exec_mcp, "UPDATE balances SET total = '99990' WHERE currency = 'USD'")
    await change(exec_mcp, "UPDATE postings SET amount = '99990' WHERE currency = 'USD'")
    await exec_mcp.advance(3601)
    await exec_mcp.advance(1)
    stopped = await plan(exec_mcp)

    resumed = (await exec_mcp.operator.post(RESUME, json=ACCEPT)).json()
    await exec_mcp.advance(1)

    assert stopped.code == "account_enabled"
    assert resumed["adjustments"] == {"USD": "10"}
    assert (await funds(exec_mcp))["USD"][0] == "100000"
    assert (await plan(exec_mcp)).http == 201
    await assert_whole(exec_mcp)


async def test_resume_does_not_count_a_fill_twice(exec_mcp):
    resting = {"order_type": "limit", "limit_price": "200.00"}
    await confirm(exec_mcp, await plan(exec_mcp, **resting))
    exec_mcp.prices.set("AAPL", bid="199.00", ask="199.02")

    refused = await exec_mcp.operator.post(RESUME, json=ACCEPT)
    await exec_mcp.advance(1)

    assert (refused.status_code, refused.json()["code"]) == (400, "account_in_use")
    assert (await funds(exec_mcp))["AAPL"][0] == "10"
    await assert_whole(exec_mcp)


async def test_resume_posts_nothing_when_the_account_moved_since_the_question(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.totals["USD"] -= 10
    desk = exec_mcp.backend.desk
    number = (await fake_account(desk)).number
    desk.database = Meanwhile(
        desk.database,
        lambda: exchange.asked["balances"],
        lambda tx: accounts.touch_postings(tx, number),
    )

    refused = await exec_mcp.operator.post(f"/api/v1/accounts/{ACCOUNT}/resume", json=ACCEPT)

    assert (refused.status_code, refused.json()["code"]) == (400, "account_in_use")
    assert (await funds(exec_mcp, ACCOUNT))["USD"][0] == "100000"


class Broken(Keeper):
    """A keeper with a bug, until it is mended."""

    mended = False

    async def _take_lease(self) -> bool:
        if not self.mended:
            raise KeyError("a bug")
        return await super()._take_lease()


async def test_a_bug_in_the_keeper_shows_in_health_and_it_starts_again(exec_mcp):
    keeper = Broken(exec_mcp.backend.desk)
    keeper.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    ill = await exec_mcp.http.get("/health")
    await keeper.stop()
    keeper.start()  # As the delayed call does that a stop may not outrun.

    assert (ill.status_code, ill.json()["status"]) == (503, "degraded")
    assert keeper._loop is not None
    assert keeper._loop.done()
