"""A test account begins anew only when its exchange was reset; a live one never does."""

import asyncio
from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.services import reconcile
from backend.services.execution import take_report
from backend.store import accounts
from tests.api.routes import contents
from tests.services import real
from tests.services.fakes import a_fill, a_report, install_real
from tests.services.real import ONE, account_one, add, lost, plan_one
from tests.services.spoken import Reply, assert_whole, confirm, funds, look, row, until

pytestmark = pytest.mark.anyio
D = Decimal
FRESH = {"USD": D(10_000), "ETH": D(3)}
# Seconds after which no order can come any more: validity and margin of the fake exchange.
LATE = 34


async def stop(stack, reason="the ledger and the exchange differ in USD") -> None:
    """Stop the account as a difference does."""
    number = (await account_one(stack)).number
    await stack.backend.desk.database.write(lambda tx: accounts.set_break(tx, number, reason))


async def before_the_reset(stack):
    """Return the exchange with a resting, a partly filled and a lost order, and these three."""
    module = install_real(stack)
    exchange = module.holds("key-one")
    await add(stack)
    resting, partly = await real.rest(stack, module), await real.rest(stack, module)
    fill = a_fill("0.5", "990.00", "f-7")
    exchange.told[partly.trade_id] = a_report(
        partly.trade_id, "partially_filled", fill, filled="0.8"
    )
    await reconcile.reconcile(stack.backend.desk, await account_one(stack), whole=True)
    return exchange, [resting, partly, await lost(stack, module)]


def wipe(exchange) -> None:
    """Reset the exchange: orders, history and balances."""
    exchange.told.clear()
    exchange.totals = dict(FRESH)


async def test_after_a_reset_of_the_exchange_a_test_account_begins_anew(exec_mcp):
    exchange, (resting, partly, unknown) = await before_the_reset(exec_mcp)
    waiting = await plan_one(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)

    done = await real.change(exec_mcp, "reset")

    assert (done.http, done["balances"]) == (200, {"ETH": 3, "USD": 10_000})
    assert set(done["ended"]) == {o.trade_id for o in (resting, partly, unknown)}
    assert await funds(exec_mcp, ONE) == {
        "USD": ("10000", "0"),
        "BTC": ("0", "0"),
        "ETH": ("3", "0"),
    }
    for order, status in ((resting, "failed"), (partly, "executed"), (unknown, "failed")):
        after = await look(exec_mcp, order)
        assert after.status == status
        assert after["order"]["state"] == "expired"
        stored = await row(
            exec_mcp, "SELECT exchange_code FROM orders WHERE trade_id = ?", order.trade_id
        )
        assert stored["exchange_code"] == "exchange_reset"
    assert (await look(exec_mcp, partly))["filled_quantity"] == D("0.5")
    assert (await look(exec_mcp, waiting)).status in ("cancelled", "expired")
    shown = await real.show(exec_mcp)
    assert (shown["stopped"], shown["balances"][2]["exchange_total"]) == (None, 10_000)
    written = await row(exec_mcp, "SELECT detail FROM audit WHERE event = 'account.epoch'")
    assert "a new accounting epoch" in written["detail"]
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM positions"))["n"] == 0
    await assert_whole(exec_mcp)


async def test_after_a_new_epoch_the_account_trades_also_under_ids_that_come_again(exec_mcp):
    exchange, (_, partly, _) = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)
    exchange.totals["BTC"] = D(0)
    await real.change(exec_mcp, "reset")
    again = a_fill("0.5", "1000.00", "f-7")  # The number that an older fill has.
    exchange.answers = [a_report("", "filled", again, quantity=D("0.5"))]

    made = Reply(
        await exec_mcp.http.post(
            "/api/v1/trading/trades",
            json={"account_id": ONE, "symbol": "BTC/USD", "side": "buy", "quantity": "0.5"},
        )
    )
    done = await confirm(exec_mcp, made)

    assert (done.status, done["filled_quantity"]) == ("executed", D("0.5"))
    assert (await real.show(exec_mcp))["stopped"] is None
    assert (await look(exec_mcp, partly))["filled_quantity"] == D("0.5")
    await assert_whole(exec_mcp)


async def test_a_lost_order_that_was_live_stops_the_account_and_a_reset_clears_it(exec_mcp):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp)
    order = await real.rest(exec_mcp, module)
    wipe(exchange)
    for _ in range(4):
        exec_mcp.clock.advance(LATE)
        await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp), whole=True)

    stopped = (await real.show(exec_mcp))["stopped"]
    done = await real.change(exec_mcp, "reset")

    assert "was it reset?" in stopped
    assert done["ended"] == [order.trade_id]
    assert (await plan_one(exec_mcp)).http == 201
    await assert_whole(exec_mcp)


async def known_still(exchange, trades):
    exchange.told[trades[0].trade_id] = a_report(trades[0].trade_id, "open")


async def known_as_ended(exchange, trades):
    exchange.told[trades[0].trade_id] = a_report(trades[0].trade_id, "cancelled")


async def an_open_order_of_no_row(exchange, trades):
    exchange.told["trd-" + "a" * 20] = a_report("trd-" + "a" * 20, "open")


@pytest.mark.parametrize("finds", [known_still, known_as_ended, an_open_order_of_no_row])
async def test_nothing_begins_anew_while_the_exchange_knows_an_order_of_ours(exec_mcp, finds):
    exchange, trades = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)
    await finds(exchange, trades)
    before = await funds(exec_mcp, ONE)

    refused = await real.change(exec_mcp, "reset")

    assert (refused.code, len(refused["live_orders"])) == ("account_in_use", 1)
    assert await funds(exec_mcp, ONE) == before
    assert (await look(exec_mcp, trades[0])).status == "working"
    assert (await real.show(exec_mcp))["stopped"]


async def ended(stack):
    """Return the exchange and two orders that filled and ended there, the older one first."""
    exchange = install_real(stack).holds("key-one")
    await add(stack)
    made = []
    for _ in range(2):
        stack.clock.advance(1)
        made.append(await plan_one(stack))
        assert (await confirm(stack, made[-1])).status == "executed"
    await stop(stack)
    stack.clock.advance(LATE)
    return exchange, made


async def test_nothing_begins_anew_while_the_exchange_knows_what_it_filled_last(exec_mcp):
    exchange, (_, newest) = await ended(exec_mcp)
    before = await funds(exec_mcp, ONE)

    refused = await real.change(exec_mcp, "reset")
    news = exchange.told[newest.trade_id]  # The stream tells of it again.
    await take_report(exec_mcp.backend.desk, await account_one(exec_mcp), exchange, news, "stream")

    assert (refused.http, refused.code) == (400, "account_in_use")
    assert refused["live_orders"] == [newest.trade_id]
    assert await funds(exec_mcp, ONE) == before
    assert (await real.show(exec_mcp))["stopped"]
    await assert_whole(exec_mcp)


async def test_what_was_filled_and_is_not_known_any_more_stands_in_no_ones_way(exec_mcp):
    exchange, trades = await ended(exec_mcp)
    wipe(exchange)

    done = await real.change(exec_mcp, "reset")

    assert (done.http, done["ended"]) == (200, [])
    assert [(await look(exec_mcp, one)).status for one in trades] == ["executed"] * 2


async def test_an_id_of_an_earlier_epoch_that_is_given_out_again_stands_in_no_ones_way(exec_mcp):
    exchange, (_, newest) = await ended(exec_mcp)
    known = exchange.told[newest.trade_id]
    wipe(exchange)
    assert (await real.change(exec_mcp, "reset")).http == 200
    await stop(exec_mcp)
    wipe(exchange)
    # Asked for by the exchange's own id, it tells of whatever has this id now.
    exchange.told[newest.trade_id] = known

    done = await real.change(exec_mcp, "reset")

    assert done.http == 200


async def test_an_exchange_that_does_not_say_what_it_filled_last_changes_nothing(exec_mcp):
    exchange, _ = await ended(exec_mcp)
    wipe(exchange)
    exchange.trouble["find"] = OutcomeUnknown("silence")

    refused = await real.change(exec_mcp, "reset")

    assert (refused.http, refused.code) == (503, "exchange_unavailable")
    assert (await real.show(exec_mcp))["stopped"]


async def test_nothing_begins_anew_while_an_order_may_still_come(exec_mcp):
    exchange, (_, _, unknown) = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    wipe(exchange)

    too_soon = await real.change(exec_mcp, "reset")
    exec_mcp.clock.advance(LATE)

    assert too_soon.code == "account_in_use"
    assert unknown.trade_id in too_soon["live_orders"]
    assert (await real.change(exec_mcp, "reset")).http == 200


async def test_an_account_that_nothing_stopped_is_not_reset(exec_mcp):
    exchange, _ = await before_the_reset(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)

    refused = await real.change(exec_mcp, "reset")

    assert "nothing has stopped real:one" in refused["detail"]


async def test_a_live_account_is_never_reset(exec_mcp):
    install_real(exec_mcp).holds("key-one")
    token = (await add(exec_mcp, environment="live"))["operator_token"]
    await stop(exec_mcp)
    before = contents(exec_mcp.home)

    async with exec_mcp.http_as(token) as operator:
        refused = Reply(await operator.post(f"{real.ACCOUNTS}/{ONE}/reset"))

    assert (refused.http, "is live" in refused["detail"]) == (400, True)
    assert contents(exec_mcp.home) == before


@pytest.mark.parametrize("method", ["now", "open_orders", "find", "balances"])
@pytest.mark.parametrize("error", [OutcomeUnknown("silence"), ExchangeUnavailable("down")], ids=str)
async def test_an_exchange_that_does_not_answer_changes_nothing(exec_mcp, method, error):
    exchange, trades = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)
    exchange.trouble[method] = error
    before = await funds(exec_mcp, ONE)

    refused = await real.change(exec_mcp, "reset")

    assert (refused.http, refused.code) == (503, "exchange_unavailable")
    assert await funds(exec_mcp, ONE) == before
    assert (await look(exec_mcp, trades[0])).status == "working"


async def test_news_that_comes_meanwhile_is_not_thrown_away(exec_mcp):
    exchange, (resting, _, _) = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)
    exchange.slow = asyncio.Event()
    asked = exchange.asked["now"]
    resetting = asyncio.create_task(real.change(exec_mcp, "reset"))
    await until(lambda: exchange.asked["now"] > asked)
    news = a_report(resting.trade_id, "filled", a_fill("2", "990.00", "f-9"))
    await take_report(exec_mcp.backend.desk, await account_one(exec_mcp), exchange, news, "stream")
    exchange.slow.set()

    refused = await resetting

    assert (refused.code, "try again" in refused["detail"]) == ("account_in_use", True)
    assert (await look(exec_mcp, resting)).status == "executed"


async def test_a_second_reset_finds_nothing_to_do(exec_mcp):
    exchange, _ = await before_the_reset(exec_mcp)
    await stop(exec_mcp)
    exec_mcp.clock.advance(LATE)
    wipe(exchange)

    first, second = [await real.change(exec_mcp, "reset") for _ in range(2)]

    assert (first.http, second.http) == (200, 400)
