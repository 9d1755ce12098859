"""A round of reconcile does all that it can, though one of its questions gets no answer."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeRejected, OutcomeUnknown, RateLimited
from tests.services.fakes import (
    ACCOUNT,
    FakeExchange,
    a_report,
    add_fake,
    fake_account,
    filled,
    reconcile_fake,
)
from tests.services.spoken import Reply, assert_whole, cancel_order, confirm, look, plan

pytestmark = pytest.mark.anyio
D = Decimal
MANY = 21
RESTING = {"order_type": "limit", "limit_price": "1000.00"}
SPENT = RateLimited("half the budget is used")


async def pass_by(stack, *seconds: float) -> None:
    """Let these times pass, reconciling after each."""
    for one in seconds:
        stack.clock.advance(one)
        await reconcile_fake(stack)


async def limited(stack, *seconds: float) -> int:
    """Let these times pass; return how many rounds ended because no more may be asked."""
    ended = 0
    for one in seconds:
        stack.clock.advance(one)
        try:
            await reconcile_fake(stack)
        except RateLimited:
            ended += 1
    return ended


async def lose(stack, exchange: FakeExchange, quantity: str = "2") -> Reply:
    """Return a buy whose answer was lost."""
    exchange.answers = [OutcomeUnknown("no answer")]
    made = await plan(stack, account_id=ACCOUNT, symbol="BTC/USD", quantity=quantity)
    assert (await confirm(stack, made)).http == 202, made
    return made


async def rest(stack, exchange: FakeExchange) -> Reply:
    """Return a buy of 2 BTC that rests."""
    exchange.answers = [a_report("", "open")]
    made = await plan(stack, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, **RESTING)
    assert (await confirm(stack, made)).status == "working"
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")
    return made


# --- the history ---


@pytest.mark.parametrize("error", [ExchangeRejected("invalid symbol", "-1121"), OutcomeUnknown("")])
async def test_many_lost_orders_are_found_though_their_history_cannot_be_read(exec_mcp, error):
    exchange = await add_fake(exec_mcp, pending_trades="1000")
    made = [await lose(exec_mcp, exchange, f"0.{100 + n}") for n in range(MANY)]
    for order in exchange.sent:
        exchange.told[order.client_order_id] = filled(order)
        exchange.totals["BTC"] += order.terms.quantity
        exchange.totals["USD"] -= order.terms.quantity * order.price
    exchange.trouble["orders"] = error

    await pass_by(exec_mcp, 1)

    assert exchange.asked["orders"] == 1
    assert {(await look(exec_mcp, one)).status for one in made} == {"executed"}
    await pass_by(exec_mcp, 1, 1)
    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None
    await assert_whole(exec_mcp)


async def test_a_spent_budget_ends_the_round_before_each_lost_order_is_asked_for(exec_mcp):
    exchange = await add_fake(exec_mcp, pending_trades="1000")
    made = [await lose(exec_mcp, exchange, f"0.{100 + n}") for n in range(MANY)]
    exchange.trouble["orders"] = SPENT

    ended = await limited(exec_mcp, 1)

    assert (ended, exchange.asked["find"]) == (1, 0)
    assert {(await look(exec_mcp, one)).status for one in made} == {"executing"}


# --- cancels ---


@pytest.mark.parametrize("spent", ["find", "open_orders"])
async def test_cancels_that_were_asked_for_are_repeated_though_no_more_may_be_looked_up(
    exec_mcp, spent
):
    exchange = await add_fake(exec_mcp)
    resting = [await rest(exec_mcp, exchange) for _ in range(3)]
    exchange.trouble["cancel"] = OutcomeUnknown("the request was lost")
    for one in resting[:2]:
        assert (await cancel_order(exec_mcp, one))["cancel_requested"] is True
    exchange.trouble = {spent: SPENT}
    exchange.cancelled.clear()

    ended = await limited(exec_mcp, 30, 30, 30)

    assert ended == 3
    assert Counter(exchange.cancelled) == {one.trade_id: 3 for one in resting[:2]}
    assert (await look(exec_mcp, resting[2]))["order"]["cancel_requested"] is False


async def test_cancels_are_repeated_though_a_lost_order_uses_the_look_ups_up(exec_mcp):
    exchange = await add_fake(exec_mcp)
    resting = await rest(exec_mcp, exchange)
    await cancel_order(exec_mcp, resting)
    lost = await lose(exec_mcp, exchange)
    exchange.trouble = {"find": SPENT}
    exchange.cancelled.clear()
    bulk = exchange.asked["open_orders"]

    ended = await limited(exec_mcp, 30, 30, 30)

    assert (ended, exchange.asked["open_orders"]) == (3, bulk)
    assert exchange.cancelled == [resting.trade_id] * 3
    assert (await look(exec_mcp, lost)).status == "executing"


async def test_a_repeated_cancel_keeps_to_the_pace_of_the_look_ups(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.capabilities = replace(
        exchange.capabilities,
        look_up_every=timedelta(seconds=11),
        poll_every=timedelta(hours=1),
    )
    resting = await rest(exec_mcp, exchange)
    await pass_by(exec_mcp, 1)
    await cancel_order(exec_mcp, resting)
    lost = [await lose(exec_mcp, exchange) for _ in range(3)]
    exchange.trouble = {"find": SPENT}
    exchange.cancelled.clear()

    ended = await limited(exec_mcp, *[1] * 22)

    assert ended == 6  # Each of the lost ones once in eleven seconds.
    assert exchange.cancelled == [resting.trade_id] * 2
    assert {(await look(exec_mcp, one)).status for one in lost} == {"executing"}


# --- what was found absent ---


@pytest.mark.parametrize("error", [ExchangeRejected("banned", "418"), OutcomeUnknown("no answer")])
async def test_an_absent_order_that_cannot_be_asked_for_again_ends_no_round(exec_mcp, error):
    exchange = await add_fake(exec_mcp)
    made = await lose(exec_mcp, exchange)
    exchange.totals["USD"] -= 1
    await pass_by(exec_mcp, 34, 11, 11)
    assert (await look(exec_mcp, made))["reason"] == "absent"
    exchange.trouble["find"] = error
    asked = exchange.asked["find"]

    await pass_by(exec_mcp, 1)

    # It was asked for, and what comes after it was done: the difference was seen a second time.
    assert exchange.asked["find"] == asked + 1
    stopped = (await fake_account(exec_mcp.backend.desk)).break_reason
    assert stopped == "the ledger and the exchange differ in USD"
