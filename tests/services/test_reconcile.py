"""Reconcile: evidence before release, on an exchange whose look-up is no authority."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.services import reconcile
from backend.store import accounts
from backend.testing import START
from tests.services.fakes import (
    ACCOUNT,
    FakeExchange,
    a_fill,
    a_report,
    add_fake,
    fake_account,
    reconcile_fake,
)
from tests.services.meanwhile import Meanwhile
from tests.services.spoken import (
    Reply,
    assert_whole,
    cancel_order,
    change,
    confirm,
    funds,
    look,
    plan,
    row,
)

pytestmark = pytest.mark.anyio
D = Decimal
RESTING = {"order_type": "limit", "limit_price": "1000.00"}
WHOLE = a_fill("2")


async def lost(stack) -> tuple[FakeExchange, Reply]:
    """Return the fake exchange and a buy of 2 BTC whose answer was lost: 2002 USD are held."""
    exchange = await add_fake(stack)
    exchange.answers = [OutcomeUnknown("no answer")]
    made = await plan(stack, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)
    assert (await confirm(stack, made)).http == 202
    return exchange, made


async def resting(stack) -> tuple[FakeExchange, Reply]:
    """Return the fake exchange and a buy of 2 BTC that rests there."""
    exchange = await add_fake(stack)
    exchange.answers = [a_report("", "open")]
    made = await plan(stack, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, **RESTING)
    assert (await confirm(stack, made)).status == "working"
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")
    return exchange, made


async def pass_by(stack, *seconds: float) -> None:
    """Let these times pass, reconciling after each."""
    for one in seconds:
        stack.clock.advance(one)
        await reconcile_fake(stack)


async def state(stack, made) -> str:
    return str((await look(stack, made))["order"]["state"])


async def test_an_unknown_order_that_is_found_is_settled(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)

    await pass_by(exec_mcp, 1)

    assert (await look(exec_mcp, made)).status == "executed"
    assert len(exchange.sent) == 1
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((1, 11, 11, 10), "unknown"),
        ((33, 11, 11), "unknown"),
        ((33.000001, 11), "unknown"),
        ((33.000001, 11, 10.9), "unknown"),
        ((33.000001, 11, 10.9, 0.1), "absent"),
        ((33.000001, 11, 11), "absent"),
        ((1000, 0, 0, 0, 0), "unknown"),
        ((1000, 11, 11), "absent"),
    ],
    ids=[
        "before validity and margin have passed",
        "an answer at their end does not count",
        "two answers",
        "too close together",
        "spaced again",
        "three spaced answers",
        "all at once",
        "late, spaced",
    ],
)
async def test_absence_needs_enough_spaced_answers_after_the_validity(exec_mcp, times, expected):
    _, made = await lost(exec_mcp)

    await pass_by(exec_mcp, *times)

    assert await state(exec_mcp, made) == expected
    trade = await look(exec_mcp, made)
    held = (await funds(exec_mcp, ACCOUNT))["USD"]
    if expected == "absent":
        assert (trade.status, trade["reason"], held) == ("failed", "absent", ("100000", "0"))
    else:
        assert (trade.status, held) == ("executing", ("100000", "2002"))
    await assert_whole(exec_mcp)


@pytest.mark.parametrize("method", ["find", "orders", "fills", "now"])
@pytest.mark.parametrize(
    "error", [OutcomeUnknown("?"), ExchangeUnavailable("away"), ExchangeRejected("banned", "418")]
)
async def test_errors_are_no_evidence(exec_mcp, method, error):
    exchange, made = await lost(exec_mcp)
    exchange.trouble = {method: error}
    desk = exec_mcp.backend.desk

    for _ in range(6):
        exec_mcp.clock.advance(100)
        await reconcile.reconcile_all(desk)

    assert await state(exec_mcp, made) == "unknown"
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("100000", "2002")
    exchange.trouble = {}
    await pass_by(exec_mcp, 11, 11, 11)
    assert await state(exec_mcp, made) == "absent"


async def test_an_account_whose_exchange_is_away_holds_up_no_other(exec_mcp):
    exchange, _ = await lost(exec_mcp)
    exchange.trouble = dict.fromkeys(("find", "now", "open_orders"), ExchangeUnavailable("away"))
    exec_mcp.faults.lose_answer()
    paper = await plan(exec_mcp)
    await confirm(exec_mcp, paper)

    await exec_mcp.advance(1)

    assert (await look(exec_mcp, paper)).status == "executed"


async def test_an_exchange_that_cannot_even_be_connected_to_holds_up_no_other(exec_mcp):
    desk = exec_mcp.backend.desk
    await desk.database.write(
        lambda tx: tx.execute(
            "INSERT INTO accounts SELECT 0, exchange, 'gone', 'gone', environment, currency,"
            " state, settings, limits, 1, 0, NULL, NULL, created_at, NULL, NULL FROM accounts"
        )
    )
    exec_mcp.faults.lose_answer()
    paper = await plan(exec_mcp)
    await confirm(exec_mcp, paper)

    await exec_mcp.advance(1)

    assert (await look(exec_mcp, paper)).status == "executed"


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (a_fill("2", fill_id="z-1", exchange_order_id="x-9"), "unknown"),
        (a_fill("0.1", fill_id="z-1", exchange_order_id="x-9"), "unknown"),
        (a_fill("2", fill_id="z-1", side="sell"), "absent"),
    ],
    ids=["one like ours", "a part", "the other side"],
)
async def test_a_fill_that_nobody_owns_blocks_the_verdict_and_stops_the_account(
    exec_mcp, fill, expected
):
    exchange, made = await lost(exec_mcp)
    exchange.account_fills = [fill]

    await pass_by(exec_mcp, 34, 11, 11, 11)

    assert await state(exec_mcp, made) == expected
    stopped = (await fake_account(exec_mcp.backend.desk)).break_reason
    assert (stopped is not None) is (expected == "unknown")
    await assert_whole(exec_mcp)


async def test_fills_of_our_other_orders_do_not_block_the_verdict(exec_mcp):
    exchange, made = await lost(exec_mcp)
    known = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    await confirm(exec_mcp, known)
    exchange.account_fills = list(exchange.told[known.trade_id].fills)

    await pass_by(exec_mcp, 34, 11, 11)

    assert await state(exec_mcp, made) == "absent"


async def test_a_blocked_verdict_waits_for_the_operator(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.account_fills = [a_fill("2", fill_id="z-1", exchange_order_id="x-9")]
    await pass_by(exec_mcp, 34, 11, 11)

    path = f"/api/v1/trading/trades/{made.trade_id}/settle"
    body = {"outcome": "absent", "reason": "it is a manual trade"}
    agent = await exec_mcp.http.post(path, json=body)
    settled = Reply(await exec_mcp.operator.post(path, json=body))

    assert agent.status_code == 403
    assert (settled.status, settled["reason"]) == ("failed", "absent")
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("100000", "0")
    await assert_whole(exec_mcp)


async def test_an_order_that_only_the_history_holds_is_settled_from_it(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.history = [a_report(made.trade_id, "filled", WHOLE)]

    await pass_by(exec_mcp, 34, 11, 11)

    assert (await look(exec_mcp, made)).status == "executed"
    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None
    await assert_whole(exec_mcp)


async def test_an_order_found_after_two_misses_is_settled(exec_mcp):
    exchange, made = await lost(exec_mcp)
    await pass_by(exec_mcp, 34, 11)
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")

    await pass_by(exec_mcp, 11)
    del exchange.told[made.trade_id]
    await pass_by(exec_mcp, 11, 11, 11, 11)

    # Seen live once, it is not gone because answers miss it.
    assert (await look(exec_mcp, made)).status == "working"


async def test_not_found_now_and_then_between_answers_that_find_it_loses_no_order(exec_mcp):
    exchange, made = await resting(exec_mcp)
    there = exchange.told[made.trade_id]

    for _ in range(3):
        del exchange.told[made.trade_id]
        await pass_by(exec_mcp, 60)
        exchange.told[made.trade_id] = there
        await pass_by(exec_mcp, 60)

    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None
    trade = await look(exec_mcp, made)
    assert (trade.status, trade.get("incident")) == ("working", None)


async def test_not_found_often_enough_in_a_row_stops_the_account(exec_mcp):
    exchange, made = await resting(exec_mcp)
    await pass_by(exec_mcp, 60)
    del exchange.told[made.trade_id]

    await pass_by(exec_mcp, 60, 60)
    before = (await fake_account(exec_mcp.backend.desk)).break_reason
    await pass_by(exec_mcp, 60)

    assert before is None
    assert "was it reset?" in ((await fake_account(exec_mcp.backend.desk)).break_reason or "")
    assert (await look(exec_mcp, made)).status == "working"


async def test_a_cancel_asked_for_while_unknown_is_asked_again_when_it_is_found(exec_mcp):
    exchange, made = await lost(exec_mcp)
    await cancel_order(exec_mcp, made)
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")

    await pass_by(exec_mcp, 1, 1)
    asked = list(exchange.cancelled)
    exchange.told[made.trade_id] = a_report(made.trade_id, "cancelled", a_fill("0.5"))
    await pass_by(exec_mcp, 1)

    assert asked == [made.trade_id] * 3  # At once, when it was found, and while it lives.
    trade = await look(exec_mcp, made)
    assert (trade.status, trade["filled_quantity"]) == ("executed", D("0.5"))
    await assert_whole(exec_mcp)


async def test_a_cancel_flag_makes_no_evidence_of_an_unknown_order(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.trouble = {"cancel": ExchangeRejected("unknown order", "-2011")}

    await cancel_order(exec_mcp, made)
    await pass_by(exec_mcp, 1, 1, 1)

    assert await state(exec_mcp, made) == "unknown"


async def test_an_absent_order_that_turns_up_live_is_cancelled_each_time_it_is_seen(exec_mcp):
    exchange, made = await lost(exec_mcp)
    await pass_by(exec_mcp, 34, 11, 11)
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")

    await pass_by(exec_mcp, 1, 1)

    trade = await look(exec_mcp, made)
    assert len(exchange.cancelled) >= 2
    assert set(exchange.cancelled) == {made.trade_id}
    assert (trade.status, trade["order"]["state"]) == ("failed", "absent")
    assert "live at the exchange" in trade["incident"]
    assert (await fake_account(exec_mcp.backend.desk)).break_reason


async def test_orders_of_others_are_tolerated_and_never_attached(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.told["by hand"] = replace(a_report("by hand", "open"), quantity=D(7))

    await pass_by(exec_mcp, 1, 1)

    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM orders"))["n"] == 0
    assert exchange.cancelled == []
    assert (await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)).http == 201


async def test_working_orders_are_read_in_bulk_and_looked_up_only_when_missing(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open") for _ in range(3)]
    made = [
        await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, **RESTING)
        for _ in range(3)
    ]
    for one in made:
        await confirm(exec_mcp, one)
        exchange.told[one.trade_id] = a_report(one.trade_id, "open")
    exchange.asked.clear()
    await pass_by(exec_mcp, 1)
    bulk = dict(exchange.asked)
    exchange.told[made[1].trade_id] = a_report(
        made[1].trade_id, "filled", WHOLE, exchange_order_id="x-1"
    )
    exchange.totals["USD"] -= 2000
    exchange.totals["BTC"] += 2

    await pass_by(exec_mcp, 1)

    assert bulk.get("find", 0) == 0
    assert exchange.asked["find"] == 1
    assert [(await look(exec_mcp, one)).status for one in made] == [
        "working",
        "executed",
        "working",
    ]


@pytest.mark.parametrize(
    ("times", "stops"), [(1, False), (2, True), (3, True)], ids=["once", "twice", "thrice"]
)
async def test_a_balance_difference_at_rest_twice_in_a_row_stops_the_account(
    exec_mcp, times, stops
):
    exchange = await add_fake(exec_mcp)
    exchange.totals["USD"] -= 1

    await pass_by(exec_mcp, *[1] * times)

    stopped = (await fake_account(exec_mcp.backend.desk)).break_reason
    assert stopped == ("the ledger and the exchange differ in USD" if stops else None)


async def test_a_balance_difference_that_goes_away_stops_nothing(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.totals["USD"] -= 1
    await pass_by(exec_mcp, 1)
    exchange.totals["USD"] += 1

    await pass_by(exec_mcp, 1)
    exchange.totals["USD"] -= 1
    await pass_by(exec_mcp, 1)

    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None


async def test_differences_that_differ_from_each_other_stop_nothing_until_one_lasts(exec_mcp):
    exchange = await add_fake(exec_mcp)
    seen = []
    for less in (1, 1, 0):
        exchange.totals["USD"] -= less
        await pass_by(exec_mcp, 1)
        seen.append((await fake_account(exec_mcp.backend.desk)).break_reason)

    assert seen == [None, None, "the ledger and the exchange differ in USD"]


async def test_balances_are_not_compared_while_an_order_moves(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.totals["USD"] -= 2000

    await pass_by(exec_mcp, 1, 1, 1)
    assert exchange.asked["balances"] == 0
    exchange.totals["BTC"] += 2
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)
    await pass_by(exec_mcp, 1, 1, 1)

    assert exchange.asked["balances"] > 0
    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None


async def test_a_lasting_difference_is_not_written_down_every_second(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.totals["USD"] -= 1

    await pass_by(exec_mcp, *[1] * 20)

    kept = await row(exec_mcp, "SELECT COUNT(*) AS n FROM snapshots")
    assert kept["n"] <= 6
    assert (await fake_account(exec_mcp.backend.desk)).break_reason
    await change(exec_mcp, "UPDATE accounts SET break_reason = NULL")
    await pass_by(exec_mcp, 1)
    assert (await fake_account(exec_mcp.backend.desk)).break_reason  # Nothing was put right.


@pytest.mark.parametrize("found", [True, False])
async def test_two_reconcilers_at_once_do_no_harm(exec_mcp, found):
    second = await exec_mcp.second_server()
    exchange, made = await lost(exec_mcp)
    if found:
        exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)
        exchange.totals = {"USD": D(98_000), "BTC": D(12)}
    there = second.backend.desk
    there.exchanges = exec_mcp.backend.desk.exchanges
    account = await fake_account(there)

    for seconds in (34, 11, 11, 1):
        exec_mcp.clock.advance(seconds)
        await asyncio.gather(
            reconcile_fake(exec_mcp),
            reconcile.reconcile(there, account),
            reconcile_fake(exec_mcp),
        )

    trade = await look(exec_mcp, made)
    assert trade.status == ("executed" if found else "failed")
    rows = await row(exec_mcp, "SELECT COUNT(*) AS n FROM postings WHERE kind = 'fill'")
    assert rows["n"] == (2 if found else 0)
    assert (await fake_account(there)).break_reason is None
    await assert_whole(exec_mcp)


async def test_a_fill_that_is_not_seen_yet_is_no_balance_difference(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.capabilities = replace(exchange.capabilities, poll_every=timedelta(seconds=30))
    exchange.answers = [a_report("", "open")]
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, **RESTING)
    await confirm(exec_mcp, made)
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")
    await pass_by(exec_mcp, 1)

    # It fills, and the stream is silent: nobody knows until the next poll.
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)
    exchange.totals = {"USD": D(98_000), "BTC": D(12)}
    await change(exec_mcp, "UPDATE accounts SET posted_at = '2030'")
    await pass_by(exec_mcp, *[1] * 10)
    before = (await fake_account(exec_mcp.backend.desk)).break_reason
    await pass_by(exec_mcp, *[10] * 4)

    assert before is None
    assert (await look(exec_mcp, made)).status == "executed"
    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None


# --- after an order's end, and while one is not to be found ---


@pytest.mark.parametrize("end", ["cancelled", "expired"])
async def test_balances_are_read_again_when_an_order_ends_that_had_locked_some(exec_mcp, end):
    exchange, made = await resting(exec_mcp)
    await pass_by(exec_mcp, 31, 31)
    before = exchange.asked["balances"]
    await pass_by(exec_mcp, 31)
    assert exchange.asked["balances"] == before  # Nothing happened.

    exchange.told[made.trade_id] = a_report(made.trade_id, end)
    await pass_by(exec_mcp, 31, 31)
    after = exchange.asked["balances"]
    await pass_by(exec_mcp, 31, 31)

    assert (await look(exec_mcp, made)).status == "failed"
    assert before < after == exchange.asked["balances"]  # And then no more.


async def test_balances_are_read_again_when_an_order_is_found_absent(exec_mcp):
    exchange = await add_fake(exec_mcp)
    await pass_by(exec_mcp, 1)
    before = exchange.asked["balances"]
    exchange.answers = [OutcomeUnknown("no answer")]
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)
    await confirm(exec_mcp, made)

    await pass_by(exec_mcp, 34, 11, 11, 1)
    after = exchange.asked["balances"]
    await pass_by(exec_mcp, 1, 1)

    assert await state(exec_mcp, made) == "absent"
    assert before < after == exchange.asked["balances"]  # And then no more.


async def follow(stack) -> None:
    """Let `fake:one` take over what somebody else moves."""
    settings = '{"on_difference": "adjust"}'
    await change(stack, "UPDATE accounts SET settings = ? WHERE identifier = 'one'", settings)


async def adjustments(stack) -> int:
    found = await row(stack, "SELECT COUNT(*) AS n FROM postings WHERE kind = 'adjustment'")
    return int(found["n"])


@pytest.mark.parametrize("hours", [1, 2, 8], ids=["a doubt", "two in a row", "lost long since"])
async def test_what_an_order_that_is_not_to_be_found_moved_is_booked_once_when_it_shows(
    exec_mcp, hours
):
    exchange, made = await resting(exec_mcp)
    await follow(exec_mcp)
    await pass_by(exec_mcp, 1)
    del exchange.told[made.trade_id]  # It fills, and is forgotten for a while.
    exchange.totals = {"USD": D(98_000), "BTC": D(12)}
    await pass_by(exec_mcp, *[3700] * hours)
    meanwhile = await funds(exec_mcp, ACCOUNT), await adjustments(exec_mcp)

    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)
    await pass_by(exec_mcp, 1)

    assert meanwhile == ({"USD": ("100000", "2000"), "BTC": ("10", "0")}, 0)
    assert (await look(exec_mcp, made)).status == "executed"
    assert await funds(exec_mcp, ACCOUNT) == {"USD": ("98000", "0"), "BTC": ("12", "0")}
    await pass_by(exec_mcp, *[3700] * 3)
    assert await adjustments(exec_mcp) == 0
    await assert_whole(exec_mcp)


async def test_a_stopped_account_takes_over_nothing_until_it_is_resumed(exec_mcp):
    exchange, _ = await resting(exec_mcp)
    await follow(exec_mcp)
    await change(exec_mcp, "UPDATE accounts SET break_reason = 'an incident'")
    exchange.totals["USD"] -= 5

    await pass_by(exec_mcp, *[3700] * 3)
    stopped = await adjustments(exec_mcp)
    await change(exec_mcp, "UPDATE accounts SET break_reason = NULL")
    await pass_by(exec_mcp, 1, 1)

    assert stopped == 0
    assert await adjustments(exec_mcp) == 1
    assert (await funds(exec_mcp, ACCOUNT))["USD"] == ("99995", "2000")


# --- what nobody may take away from the evidence ---


async def not_found(stack) -> int:
    """Return how many "not found" count so far."""
    return int((await row(stack, "SELECT not_found FROM orders"))["not_found"])


async def look_at(stack, exchange: FakeExchange, asked_s: float, answered_s: float) -> None:
    """Reconcile once; the exchange's clock tells these seconds after the start."""
    times = iter([START + timedelta(seconds=s) for s in (asked_s, answered_s)])
    exchange.clock = lambda: next(times)
    await reconcile_fake(stack)


async def test_a_question_that_was_asked_in_time_is_no_evidence_however_late_its_answer(exec_mcp):
    exchange, _ = await lost(exec_mcp)

    await look_at(exec_mcp, exchange, 33, 50)
    in_time = await not_found(exec_mcp)
    await look_at(exec_mcp, exchange, 33.1, 50)

    assert (in_time, await not_found(exec_mcp)) == (0, 1)


async def test_answers_are_spaced_from_when_the_one_before_came(exec_mcp):
    exchange, _ = await lost(exec_mcp)

    await look_at(exec_mcp, exchange, 34, 46)
    await look_at(exec_mcp, exchange, 56.9, 57)
    too_close = await not_found(exec_mcp)
    await look_at(exec_mcp, exchange, 57, 58)

    assert (too_close, await not_found(exec_mcp)) == (1, 2)


async def test_absence_goes_by_the_exchanges_clock_and_not_by_ours(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.clock = lambda: START

    await pass_by(exec_mcp, 34, 11, 11, 11)

    assert (await state(exec_mcp, made), await not_found(exec_mcp)) == ("unknown", 0)


@pytest.mark.parametrize(
    ("client_order_id", "quantity", "expected"),
    [("by hand", 2, "unknown"), ("by hand", 3, "absent"), (f"trd-{'a' * 20}", 2, "absent")],
    ids=["the same order", "another quantity", "an order of ours"],
)
async def test_an_order_that_asks_for_the_same_under_another_id_blocks_the_verdict(
    exec_mcp, client_order_id, quantity, expected
):
    exchange, made = await lost(exec_mcp)
    report = a_report(client_order_id, "filled", exchange_order_id="x-9", quantity=D(quantity))
    exchange.history = [report]

    await pass_by(exec_mcp, 34, 11, 11)

    assert await state(exec_mcp, made) == expected
    stopped = (await fake_account(exec_mcp.backend.desk)).break_reason
    assert ("could be this one" in (stopped or "")) is (expected == "unknown")


@pytest.mark.parametrize(("before_s", "expected"), [(5, "unknown"), (5.1, "absent")])
async def test_a_fill_that_seems_a_little_older_than_the_order_may_be_its_own(
    exec_mcp, before_s, expected
):
    exchange, made = await lost(exec_mcp)
    moment = START - timedelta(seconds=before_s)
    strange = a_fill("2", fill_id="z-1", exchange_order_id="x-9", executed_at=moment)
    exchange.account_fills = [strange]

    await pass_by(exec_mcp, 34, 11, 11)

    assert await state(exec_mcp, made) == expected


async def test_a_fill_under_the_id_that_the_lost_answer_named_blocks_the_verdict(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [OutcomeUnknown("timed out", order_id="x-9")]
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)
    await confirm(exec_mcp, made)
    exchange.account_fills = [a_fill("2", fill_id="z-1", exchange_order_id="x-9")]

    await pass_by(exec_mcp, 34, 11, 11)

    assert await state(exec_mcp, made) == "unknown"
    assert (await fake_account(exec_mcp.backend.desk)).break_reason


async def test_an_absent_order_that_turns_up_filled_is_booked_with_an_incident(exec_mcp):
    exchange, made = await lost(exec_mcp)
    await pass_by(exec_mcp, 34, 11, 11)
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)

    await pass_by(exec_mcp, 1)

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["filled_quantity"]) == ("executed", 2)
    assert "filled after it had ended" in trade["incident"]
    assert (await fake_account(exec_mcp.backend.desk)).break_reason


async def test_an_order_of_our_form_without_a_row_quarantines_and_voids_what_waits(exec_mcp):
    exchange = await add_fake(exec_mcp)
    waiting = await plan(exec_mcp)
    foreign = f"trd-{'a' * 20}"
    exchange.told[foreign] = a_report(foreign, "open")

    await pass_by(exec_mcp, 1)

    assert (await look(exec_mcp, waiting))["reason"] == "quarantine"
    assert (await plan(exec_mcp)).code == "quarantined"
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM orders"))["n"] == 0
    assert exchange.cancelled == []


async def test_totals_are_not_compared_while_fills_are_missing(exec_mcp):
    exchange, made = await resting(exec_mcp)
    half = a_report(made.trade_id, "partially_filled", filled="0.5")  # Without its fill.
    exchange.told[made.trade_id] = half
    exchange.totals = {"USD": D(99_500), "BTC": D("10.5")}

    await pass_by(exec_mcp, 1, 1, 1)

    assert (await fake_account(exec_mcp.backend.desk)).break_reason is None
    assert exchange.asked["balances"] == 0


async def test_an_answer_that_is_older_than_a_posting_is_not_compared(exec_mcp):
    exchange = await add_fake(exec_mcp)
    desk = exec_mcp.backend.desk
    account = await fake_account(desk)
    exchange.totals["USD"] -= 1
    desk.database = Meanwhile(
        desk.database,
        lambda: exchange.asked["balances"],
        lambda tx: accounts.touch_postings(tx, account.number),
    )

    await pass_by(exec_mcp, 1)

    assert exchange.asked["balances"] == 1
    assert account.number not in desk.compared
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM snapshots"))["n"] == 0


async def test_between_two_looks_at_the_working_orders_no_totals_are_compared(exec_mcp):
    exchange, _ = await resting(exec_mcp)
    exchange.capabilities = replace(exchange.capabilities, poll_every=timedelta(seconds=30))
    await pass_by(exec_mcp, 30)
    before = exchange.asked["balances"]
    await change(exec_mcp, "UPDATE accounts SET posted_at = '2030'")

    await pass_by(exec_mcp, *[1] * 5)
    between = exchange.asked["balances"]
    await pass_by(exec_mcp, 30)

    assert before == between < exchange.asked["balances"]


async def test_the_first_look_after_a_start_compares_whatever_was_compared_before(exec_mcp):
    exchange = await add_fake(exec_mcp)
    await pass_by(exec_mcp, 1)
    exec_mcp.backend.desk.compared.clear()  # As a start does, perhaps on an older copy.
    exchange.totals["USD"] -= 1

    await pass_by(exec_mcp, 1, 1)

    assert (await fake_account(exec_mcp.backend.desk)).break_reason


# --- settled by hand ---


async def settle_by_hand(stack, made) -> Reply:
    body = {"outcome": "absent", "reason": "looked"}
    path = f"/api/v1/trading/trades/{made.trade_id}/settle"
    return Reply(await stack.operator.post(path, json=body))


async def test_an_order_that_the_exchange_knows_is_settled_as_it_says_and_not_by_hand(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exec_mcp.clock.advance(34)
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", WHOLE)

    refused = await settle_by_hand(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "order_not_open")
    assert (await look(exec_mcp, made)).status == "executed"


@pytest.mark.parametrize("silent", [False, True], ids=["not found", "no answer"])
async def test_an_order_that_may_still_be_taken_is_not_ended_by_hand(exec_mcp, silent):
    exchange, made = await lost(exec_mcp)
    if silent:
        exchange.trouble = {"find": OutcomeUnknown("no answer")}
    exec_mcp.clock.advance(33)

    early = await settle_by_hand(exec_mcp, made)
    exec_mcp.clock.advance(0.1)
    settled = await settle_by_hand(exec_mcp, made)

    assert (early.http, early.status) == (400, "executing")
    assert (settled.http, settled["reason"]) == (200, "absent")


async def test_by_hand_it_is_the_exchanges_clock_as_well_that_counts(exec_mcp):
    exchange, made = await lost(exec_mcp)
    exchange.clock = lambda: START
    exec_mcp.clock.advance(34)

    assert (await settle_by_hand(exec_mcp, made)).http == 400
    assert await state(exec_mcp, made) == "unknown"


async def test_an_order_that_is_known_is_not_ended_by_hand(exec_mcp):
    _, made = await resting(exec_mcp)
    exec_mcp.clock.advance(100)

    refused = await settle_by_hand(exec_mcp, made)

    assert (refused.http, refused.code, refused.status) == (400, "order_not_open", "working")
    told = await row(exec_mcp, "SELECT COUNT(*) AS n FROM audit WHERE event LIKE '%by_hand'")
    assert (told["n"], await state(exec_mcp, made)) == (0, "open")
