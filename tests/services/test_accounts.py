"""Accounts once they are there: drained, deleted, watched, and with settings of ours."""

from datetime import timedelta
from decimal import Decimal

import pytest

from backend.domain.errors import NotFound
from backend.services import accounts, common_settings, reconcile
from tests.services import real
from tests.services.fakes import a_report, install_real
from tests.services.real import (
    ACCOUNTS,
    ONE,
    a_key,
    account_one,
    add,
    count,
    kept_key,
    lost,
    plan_one,
    revealed,
)
from tests.services.spoken import Reply, add_account, assert_whole, confirm, funds, look, row

pytestmark = pytest.mark.anyio
D = Decimal


# --- disable, delete ---


async def test_a_disabled_account_drains(exec_mcp):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp)
    resting, waiting = await real.rest(exec_mcp, module), await plan_one(exec_mcp)

    disabled = await real.change(exec_mcp, "disable")
    refused = await plan_one(exec_mcp)
    exchange.told[resting.trade_id] = a_report(resting.trade_id, "cancelled")
    await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp), whole=True)

    assert (disabled["cancelled_plans"], disabled["live_orders"]) == (
        [waiting.trade_id],
        [resting.trade_id],
    )
    assert refused.code == "account_enabled"
    assert (await look(exec_mcp, resting)).status == "failed"
    assert (await funds(exec_mcp, ONE))["USD"] == ("100000", "0")
    assert (await real.change(exec_mcp, "enable"))["enabled"] is True
    assert (await plan_one(exec_mcp)).http == 201


@pytest.mark.parametrize("lives", ["working", "unknown"])
async def test_an_account_is_not_deleted_while_an_order_of_it_lives(exec_mcp, lives):
    module = install_real(exec_mcp)
    module.holds("key-one")
    await add(exec_mcp)
    order = await (real.rest if lives == "working" else lost)(exec_mcp, module)
    waiting = await plan_one(exec_mcp)

    refused = await real.delete(exec_mcp)

    assert (refused.code, refused["live_orders"]) == ("account_in_use", [order.trade_id])
    assert (await look(exec_mcp, waiting)).status == "pending"
    assert revealed(await kept_key(exec_mcp)) == a_key()


async def test_a_deleted_account_is_nowhere_and_its_trades_are_still_there(exec_mcp):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp)
    done, waiting = await plan_one(exec_mcp), await plan_one(exec_mcp, **real.RESTING)
    await confirm(exec_mcp, done)

    assert (await real.delete(exec_mcp)).http == 200

    listed = Reply(await exec_mcp.operator.get(ACCOUNTS))
    assert [one["account_id"] for one in listed["accounts"]] == ["paper:main"]
    assert (await real.show(exec_mcp)).http == (await plan_one(exec_mcp)).http == 404
    assert (await real.delete(exec_mcp)).http == 404
    assert await count(exec_mcp, "credentials") == 0
    path = "/api/v1/trading/trades/"
    seen = Reply(await exec_mcp.operator.get(path + done.trade_id))
    assert (seen.status, seen["account_id"]) == ("executed", ONE)
    assert (await look(exec_mcp, waiting))["reason"] == "account_disabled"
    looked = exchange.asked["balances"]
    await exec_mcp.advance(3600)
    assert exchange.asked["balances"] == looked
    assert exchange.asked["close"] == 2  # The probe's, and the one in use.
    await assert_whole(exec_mcp)


async def test_of_two_that_delete_at_once_one_finds_nothing(exec_mcp):
    install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)
    desk, found = exec_mcp.backend.desk, await account_one(exec_mcp)  # By both.

    await accounts.delete(desk, "operator", found)
    with pytest.raises(NotFound):
        await accounts.delete(desk, "operator", found)

    written = "SELECT COUNT(*) AS n FROM audit WHERE event = 'account.deleted'"
    assert (await row(exec_mcp, written))["n"] == 1


async def test_an_account_that_never_traded_leaves_no_row(exec_mcp):
    install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)
    await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp))

    assert (await real.delete(exec_mcp)).http == 200

    for table in ("accounts", "balances", "postings", "snapshots", "exchange_balances"):
        found = await row(exec_mcp, f"SELECT COUNT(*) AS n FROM {table}")
        assert found["n"] == (1 if table in ("accounts", "balances", "postings") else 0), table


# --- balances ---


async def test_snapshots_tell_what_the_exchange_held_over_time(exec_mcp):
    exchange = install_real(exec_mcp).holds("key-one")
    await add(exec_mcp, settings={"on_difference": "adjust"})
    desk = exec_mcp.backend.desk
    for total in (100_000, 100_050, 100_050):
        exchange.totals["USD"] = D(total)
        await reconcile.reconcile(desk, await account_one(exec_mcp))
        exec_mcp.clock.advance(timedelta(hours=1, seconds=1).total_seconds())

    reply = Reply(await exec_mcp.http.get(f"{ACCOUNTS}/{ONE}/snapshots"))
    newest = Reply(await exec_mcp.http.get(f"{ACCOUNTS}/{ONE}/snapshots", params={"limit": 1}))

    dollars = [s for s in reply["snapshots"] if s["currency"] == "USD"]
    assert [s["exchange_total"] for s in dollars] == [100_050, 100_050, 100_000]
    assert [s["ledger_total"] for s in dollars] == [100_000, 100_000, 100_000]
    assert len({s["at"] for s in dollars}) == 3
    assert len(newest["snapshots"]) == 1
    assert (await funds(exec_mcp, ONE))["USD"] == ("100050", "0")


async def test_a_real_account_shows_beside_ours_what_the_exchange_said_last(exec_mcp):
    exchange = install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)
    opening = (await real.show(exec_mcp))["balances"][1]
    exchange.totals["USD"] = D(99_000)
    exec_mcp.clock.advance(3601)
    await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp))
    waiting = await plan_one(exec_mcp)

    after = (await exec_mcp.call("get_account_info", account_id=ONE))["balances"][1]
    paper = (await exec_mcp.call("get_account_info", account_id="paper:main"))["balances"][0]

    assert opening["exchange_total"] == opening["exchange_free"] == 100_000
    assert (after["total"], after["reserved"]) == (100_000, waiting["reserved_buying_power"])
    assert (after["exchange_total"], after["exchange_free"]) == (99_000, 99_000)
    assert opening["as_of"] < after["as_of"]
    assert after["as_of"].endswith("-04:00")
    assert set(paper) == {"currency", "total", "available", "reserved"}


# --- settings of ours ---


def test_our_settings_are_those_that_reconcile_reads():
    assert set(common_settings.SETTINGS) == {common_settings.ON_DIFFERENCE}
    assert set(common_settings.CHOICES) <= set(common_settings.SETTINGS)
    for name, choices in common_settings.CHOICES.items():
        assert common_settings.SETTINGS[name][0] == choices[0]


@pytest.mark.parametrize(
    ("given", "stopped"),
    [({}, True), ({"on_difference": "stop"}, True), ({"on_difference": "adjust"}, False)],
)
async def test_what_a_difference_does_is_the_accounts_setting_and_no_adapters(
    exec_mcp, given, stopped
):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp, settings={"speed": "fast", **given})
    exchange.totals["USD"] = D(50)
    for _ in range(2):
        await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp))
        exec_mcp.clock.advance(1)

    account = await account_one(exec_mcp)
    assert [key.settings for key in module.keys] == [{"speed": "fast"}] * 2
    assert account.settings == {"speed": "fast", **given}
    assert (account.break_reason is not None) is stopped
    assert (await funds(exec_mcp, ONE))["USD"][0] == ("100000" if stopped else "50")


async def test_a_difference_has_two_answers_on_real_exchanges_and_none_on_paper(exec_mcp):
    install_real(exec_mcp).holds("key-one")

    wrong = await add(exec_mcp, settings={"on_difference": "ignore"})
    paper = await add_account(exec_mcp, "two", settings={"on_difference": "stop"})
    unknown = await add(exec_mcp, settings={"on_diference": "stop"})

    assert "on_difference must be stop or adjust, was 'ignore'" in wrong["detail"]
    assert [r.http for r in (wrong, paper, unknown)] == [400] * 3
    assert "on_difference" in paper["detail"]
    assert await count(exec_mcp, "accounts") == 1
