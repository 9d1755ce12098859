"""Settle: every piece of news once, in any order, and nothing released without evidence."""

import asyncio
import itertools
from dataclasses import replace
from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.domain.order import Side
from backend.services.execution import take_report
from backend.store import accounts
from tests.services.fakes import (
    ACCOUNT,
    a_fill,
    a_report,
    add_fake,
    fake_account,
    reconcile_fake,
)
from tests.services.spoken import assert_whole, cancel_order, confirm, funds, look, plan, row, until

pytestmark = pytest.mark.anyio
D = Decimal

ONE, TWO = a_fill("0.5", "1000.00", "f-1"), a_fill("1.5", "1001.00", "f-2")
RESTING = {"order_type": "limit", "limit_price": "1001.00"}


async def planned(stack, **terms):
    """Plan a buy of 2 BTC on the fake exchange: 2002 USD are held."""
    return await plan(stack, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, **terms)


async def tell(stack, exchange, report, source="stream"):
    """Settle what the exchange told."""
    desk = stack.backend.desk
    await take_report(desk, await fake_account(desk), exchange, report, source)


async def stopped(stack) -> str | None:
    """Return why the fake account takes no new risk."""
    return (await fake_account(stack.backend.desk)).break_reason


async def incidents(stack) -> int:
    found = await row(stack, "SELECT COUNT(*) AS n FROM audit WHERE event = 'incident'")
    return int(found["n"])


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
async def test_fills_by_reply_stream_and_look_up_in_any_order_are_booked_once(exec_mcp, order):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open")]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)
    news = [
        a_report(made.trade_id, "partially_filled", ONE, filled="0.5"),
        a_report(made.trade_id, "filled", TWO, filled="2"),
        a_report(made.trade_id, "partially_filled", ONE),
        a_report(made.trade_id, "filled", ONE, TWO),
    ]

    for index in order:
        for _ in range(2):
            await tell(exec_mcp, exchange, news[index])

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["filled_quantity"]) == ("executed", 2)
    assert trade["executed_price"] == D("1000.75")
    held = await funds(exec_mcp, ACCOUNT)
    assert held == {"USD": ("97998.5", "0"), "BTC": ("12", "0")}
    assert await incidents(exec_mcp) == 0
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    ("early", "answer"),
    [
        ("filled", a_report("", "filled", ONE, TWO)),
        ("filled", OutcomeUnknown("no answer")),
        ("filled", ExchangeUnavailable("away")),
        ("filled", ExchangeRejected("no", "x")),
        ("partially_filled", a_report("", "filled", ONE, TWO)),
    ],
    ids=["then the reply", "then none", "then 'not sent'", "then 'rejected'", "then the rest"],
)
async def test_a_fill_that_comes_before_the_reply_counts_whatever_the_reply(
    exec_mcp, early, answer
):
    exchange = await add_fake(exec_mcp)
    exchange.hang = asyncio.Event()
    exchange.answers = [answer]
    made = await planned(exec_mcp)
    request = asyncio.create_task(confirm(exec_mcp, made))
    await until(lambda: exchange.sent)

    fills = (ONE, TWO) if early == "filled" else (ONE,)
    await tell(exec_mcp, exchange, a_report(made.trade_id, early, *fills))
    exchange.hang.set()
    told = await request

    assert (told.http, told.status) == (200, "executed")
    assert told["filled_quantity"] == 2
    assert await incidents(exec_mcp) == 0
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": D("1.6")},
        {"price": D("1001.01")},
        {"fee": D("1")},
        {"side": Side.SELL},
        {"fee_currency": "BTC"},
    ],
    ids=lambda changed: next(iter(changed)),
)
@pytest.mark.parametrize("source", ["stream", "look-up", "submit"])
async def test_the_same_fill_with_other_numbers_is_an_incident_and_stops_the_account(
    exec_mcp, changed, source
):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", ONE, TWO)]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)
    before = await funds(exec_mcp, ACCOUNT)

    other = replace(TWO, **changed)
    await tell(
        exec_mcp, exchange, a_report(made.trade_id, "filled", ONE, other, filled="2"), source
    )

    assert await funds(exec_mcp, ACCOUNT) == before
    assert await stopped(exec_mcp)
    assert "other numbers" in (await look(exec_mcp, made))["incident"]
    assert (await planned(exec_mcp)).code == "account_enabled"
    await assert_whole(exec_mcp)


async def test_a_fill_that_two_orders_claim_is_booked_once_with_an_incident(exec_mcp):
    exchange = await add_fake(exec_mcp)
    first, second = [await planned(exec_mcp) for _ in range(2)]
    exchange.answers = [a_report("", "filled", ONE, TWO) for _ in range(2)]

    await confirm(exec_mcp, first)
    told = await confirm(exec_mcp, second)

    assert (told.status, told["filled_quantity"]) == ("working", 0)
    assert "another order's too" in told["incident"]
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("97998.5", "2002")
    assert await stopped(exec_mcp)


async def test_a_filled_report_without_its_fills_keeps_the_hold_until_they_are_fetched(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", ONE, filled="2")]
    made = await planned(exec_mcp)

    told = await confirm(exec_mcp, made)
    held = await funds(exec_mcp, ACCOUNT)
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", ONE, TWO)
    await reconcile_fake(exec_mcp)

    assert (told.status, told["filled_quantity"]) == ("working", D("0.5"))
    assert held["USD"] == ("99500", "1502")
    assert (await look(exec_mcp, made)).status == "executed"
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("97998.5", "0")
    await assert_whole(exec_mcp)


async def test_missing_fills_are_fetched_at_once(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", filled="2")]
    made = await planned(exec_mcp)
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", ONE, TWO)

    assert (await confirm(exec_mcp, made)).status == "executed"


async def test_the_word_filled_is_no_outcome_the_filled_quantity_is(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled")]  # "Filled", of nothing.
    made = await planned(exec_mcp)

    told = await confirm(exec_mcp, made)

    assert told.status == "working"
    assert (await funds(exec_mcp, ACCOUNT))["USD"][1] == "2002"
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (a_report("", "cancelled"), "cancelled"),
        (ExchangeRejected("no", "x"), "rejected"),
        (ExchangeUnavailable("away"), "not_sent"),
    ],
    ids=["cancelled", "rejected", "not sent"],
)
async def test_a_fill_after_the_end_is_booked_from_free_funds_with_an_incident(
    exec_mcp, answer, state
):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [answer]
    made = await planned(exec_mcp)
    failed = await confirm(exec_mcp, made)

    for fill in (ONE, TWO):
        await tell(exec_mcp, exchange, a_report(made.trade_id, "partially_filled", fill))

    trade = await look(exec_mcp, made)
    assert failed.status == "failed"
    assert (trade.status, trade["order"]["state"], trade["reason"]) == ("executed", state, None)
    assert trade["filled_quantity"] == 2
    assert "filled after it had ended" in trade["incident"]
    assert await stopped(exec_mcp)
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("97998.5", "0")
    await assert_whole(exec_mcp)
    # Each posting has its audit row, the second late fill's too.
    settled = await row(exec_mcp, "SELECT COUNT(*) AS n FROM audit WHERE detail LIKE ?", '%"f-2"%')
    assert settled["n"] >= 1


async def test_an_order_seen_live_after_its_absence_is_cancelled_at_once_and_booked(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [OutcomeUnknown("no answer")]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)
    path = f"/api/v1/trading/trades/{made.trade_id}/settle"
    body = {"outcome": "absent", "reason": "looked"}
    early = await exec_mcp.operator.post(path, json=body)
    exec_mcp.clock.advance(34)
    await exec_mcp.operator.post(path, json=body)
    assert early.status_code == 400  # The exchange could still take it.
    assert (await look(exec_mcp, made)).status == "failed"

    # While our cancel is on its way, half of it is filled.
    live = a_report(made.trade_id, "open")
    exchange.told[made.trade_id] = a_report(made.trade_id, "cancelled", ONE)
    await tell(exec_mcp, exchange, live)

    trade = await look(exec_mcp, made)
    assert exchange.cancelled == [made.trade_id]
    assert (trade.status, trade["order"]["state"]) == ("executed", "absent")
    assert trade["filled_quantity"] == D("0.5")
    assert await stopped(exec_mcp)
    await assert_whole(exec_mcp)


async def test_a_partial_fill_then_a_cancel_releases_the_rest(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "partially_filled", ONE)]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)
    exchange.told[made.trade_id] = a_report(made.trade_id, "cancelled", ONE)

    order = await cancel_order(exec_mcp, made)

    assert (order.http, order["state"], order.status) == (200, "cancelled", "executed")
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("99500", "0")
    await assert_whole(exec_mcp)


async def test_a_cancel_that_loses_against_a_fill_books_the_fill(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open")]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)
    exchange.trouble = {"cancel": ExchangeRejected("unknown order", "-2011")}
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", ONE, TWO)

    order = await cancel_order(exec_mcp, made)
    again = await cancel_order(exec_mcp, made)

    assert (order["state"], order.status) == ("filled", "executed")
    assert (again.http, again.code, again.status) == (400, "order_not_open", "executed")
    await assert_whole(exec_mcp)


@pytest.mark.parametrize("state", ["open", "partially_filled"])
async def test_a_cancels_acknowledgement_is_not_a_final_quantity(exec_mcp, state):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open")]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)
    fills = (ONE,) if state == "partially_filled" else ()
    exchange.told[made.trade_id] = a_report(made.trade_id, state, *fills)

    order = await cancel_order(exec_mcp, made)

    assert (order["state"], order["cancel_requested"], order.status) == (state, True, "working")
    assert D((await funds(exec_mcp, ACCOUNT))["USD"][1]) == (1502 if fills else 2002)


@pytest.mark.parametrize(
    ("state", "reason"), [("cancelled", "order_cancelled"), ("expired", "order_expired")]
)
async def test_a_resting_order_that_ends_unfilled_fails_with_the_reason(exec_mcp, state, reason):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open")]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)

    await tell(exec_mcp, exchange, a_report(made.trade_id, state))

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["reason"]) == ("failed", reason)
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("100000", "0")


async def test_a_fill_that_leaves_the_account_short_is_booked_and_opens_a_break(exec_mcp):
    exchange = await add_fake(exec_mcp)
    dear = a_fill("2", "60000.00")  # Far beyond the worst price: the exchange is the truth.
    exchange.answers = [a_report("", "filled", dear)]
    made = await planned(exec_mcp)

    told = await confirm(exec_mcp, made)

    assert told.status == "executed"
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("-20000", "0")
    assert "short of USD" in str(await stopped(exec_mcp))
    assert (await planned(exec_mcp)).code == "account_enabled"
    await assert_whole(exec_mcp)


async def test_more_filled_than_ordered_is_booked_with_an_incident(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", ONE, TWO, a_fill("0.1", fill_id="f-3"))]
    made = await planned(exec_mcp)

    await confirm(exec_mcp, made)

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["filled_quantity"]) == ("executed", D("2.1"))
    assert "more was filled" in trade["incident"]
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    "other", [{"side": Side.SELL}, {"quantity": D(3)}, {"symbol": "ETH/USD"}], ids=str
)
async def test_another_order_under_our_id_is_never_attached(exec_mcp, other):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [OutcomeUnknown("duplicate client order id")]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)
    exchange.told[made.trade_id] = replace(a_report(made.trade_id, "filled", ONE, TWO), **other)

    await reconcile_fake(exec_mcp)

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["filled_quantity"]) == ("executing", 0)
    assert "another order under its id" in trade["incident"]
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("100000", "2002")
    assert await stopped(exec_mcp)


async def test_a_terminal_order_never_goes_back(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", ONE, TWO)]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)
    before = await row(exec_mcp, "SELECT status, version FROM trades")

    for state in ("open", "partially_filled", "cancelled", "expired", "rejected"):
        await tell(exec_mcp, exchange, a_report(made.trade_id, state, ONE))

    assert await row(exec_mcp, "SELECT status, version FROM trades") == before
    assert (await look(exec_mcp, made))["order"]["state"] == "filled"
    assert await incidents(exec_mcp) == 0


async def test_a_fee_in_base_lowers_the_position(exec_mcp):
    exchange = await add_fake(exec_mcp)
    fills = [replace(f, fee=D("0.002"), fee_currency="BTC") for f in (ONE, TWO)]
    exchange.answers = [a_report("", "filled", *fills)]
    made = await planned(exec_mcp)

    told = await confirm(exec_mcp, made)

    assert told["new_position"]["quantity"] == D("1.996")
    assert (await funds(exec_mcp, ACCOUNT))["BTC"] == ("11.996", "0")
    await assert_whole(exec_mcp)


# --- what nobody may take away from it ---


async def test_what_another_account_is_told_is_not_of_this_order(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open")]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)
    desk = exec_mcp.backend.desk
    paper = await desk.database.read(lambda tx: accounts.find(tx, "paper:main"))
    assert paper is not None

    news = a_report(made.trade_id, "filled", ONE, TWO)
    await take_report(desk, paper, exchange, news, "stream")

    assert (await look(exec_mcp, made))["order"]["state"] == "open"
    assert await funds(exec_mcp) == {"USD": ("100000", "0")}


async def test_an_order_of_which_a_part_is_told_is_waited_for(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [OutcomeUnknown("no answer")]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)

    await tell(exec_mcp, exchange, a_report(made.trade_id, "cancelled", ONE, quantity=D("0.5")))

    assert (await look(exec_mcp, made))["order"]["state"] == "unknown"
    assert (await incidents(exec_mcp), await stopped(exec_mcp)) == (0, None)


async def test_what_was_told_to_be_filled_is_not_unsaid_by_a_later_word(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "partially_filled", filled="0.5")]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)

    await tell(exec_mcp, exchange, a_report(made.trade_id, "cancelled"))
    before = await look(exec_mcp, made), (await funds(exec_mcp, ACCOUNT))["USD"]
    await tell(exec_mcp, exchange, a_report(made.trade_id, "cancelled", ONE))

    assert (before[0].status, before[1]) == ("working", ("100000", "2002"))
    assert (await look(exec_mcp, made)).status == "executed"
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("99500", "0")


async def test_an_order_with_fills_that_is_called_rejected_is_executed(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "partially_filled", ONE)]
    made = await planned(exec_mcp, **RESTING)
    await confirm(exec_mcp, made)

    await tell(exec_mcp, exchange, a_report(made.trade_id, "rejected", filled="0.5"))

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["order"]["state"]) == ("executed", "cancelled")
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("99500", "0")


@pytest.mark.parametrize(
    ("answer", "state"),
    [(ExchangeRejected("no", "x"), "rejected"), (ExchangeUnavailable("away"), "not_sent")],
    ids=["rejected", "not sent"],
)
async def test_an_order_that_lives_though_it_never_should_is_cancelled_with_one_incident(
    exec_mcp, answer, state
):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [answer]
    made = await planned(exec_mcp)
    await confirm(exec_mcp, made)

    for _ in range(2):
        await tell(exec_mcp, exchange, a_report(made.trade_id, "open"))

    trade = await look(exec_mcp, made)
    assert exchange.cancelled == [made.trade_id] * 2
    assert (trade["order"]["state"], trade["order"]["cancel_requested"]) == (state, True)
    assert await incidents(exec_mcp) == 1
    assert await stopped(exec_mcp)


async def test_two_orders_may_each_have_a_fill_of_the_same_id(exec_mcp):
    exchange = await add_fake(exec_mcp)
    first, second = [await planned(exec_mcp) for _ in range(2)]
    others = [replace(f, exchange_order_id="x-2") for f in (ONE, TWO)]
    exchange.answers = [
        a_report("", "filled", ONE, TWO),
        a_report("", "filled", *others, exchange_order_id="x-2"),
    ]

    told = [await confirm(exec_mcp, made) for made in (first, second)]

    assert [one.status for one in told] == ["executed"] * 2
    assert (await funds(exec_mcp, ACCOUNT))["BTC"] == ("14", "0")
    assert await incidents(exec_mcp) == 0


@pytest.mark.parametrize(("price", "short"), [("48999.00", False), ("48999.01", True)])
async def test_an_account_that_has_less_than_it_keeps_is_short(exec_mcp, price, short):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", a_fill("2", price))]
    made, _ = await planned(exec_mcp), await planned(exec_mcp)  # The second keeps its 2002.

    await confirm(exec_mcp, made)

    assert ("short of USD" in str(await stopped(exec_mcp))) is short
