"""Confirm: one claim, one order, and the truth for everybody who asked."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.clock import to_row
from backend.domain.errors import (
    ExchangeRejected,
    ExchangeUnavailable,
    Forbidden,
    OutcomeUnknown,
    TradeNotPending,
    Unauthorised,
)
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Side
from backend.services import execution, planning, risk
from backend.services.claim import Claimed, claim
from backend.store import accounts, tokens
from backend.testing import FaultScript, stack
from tests.services.fakes import ACCOUNT, FakeExchange, a_fill, a_report, add_fake
from tests.services.spoken import (
    TRADES,
    Reply,
    add_account,
    assert_whole,
    cancel,
    cancel_order,
    change,
    confirm,
    funds,
    look,
    plan,
    row,
    until,
)

pytestmark = pytest.mark.anyio
D = Decimal
Script = Callable[[FaultScript], object]

WHOLE = ("97846.00", "0", "10")
NOTHING = ("100000", "0", "0")


@pytest.mark.parametrize(
    ("script", "terms", "http", "status", "reason", "state", "books"),
    [
        (lambda f: None, {}, 200, "executed", None, "filled", ("97846", "0", "10")),
        (
            lambda f: f.partial(D(4)),
            {},
            200,
            "executed",
            None,
            "cancelled",
            ("99138.4", "0", "4"),
        ),
        (
            lambda f: None,
            {"order_type": "limit", "limit_price": "215.00"},
            200,
            "working",
            None,
            "open",
            ("100000", "2150", "0"),
        ),
        (
            lambda f: None,
            {"order_type": "limit", "limit_price": "215.00", "time_in_force": "ioc"},
            422,
            "failed",
            "not_filled",
            "cancelled",
            NOTHING,
        ),
        (
            lambda f: None,
            {"order_type": "limit", "limit_price": "215.00", "time_in_force": "fok"},
            422,
            "failed",
            "not_filled",
            "cancelled",
            NOTHING,
        ),
        (lambda f: f.reject(), {}, 422, "failed", "rejected", "rejected", NOTHING),
        (lambda f: f.unavailable(), {}, 503, "failed", "not_sent", "not_sent", NOTHING),
        (lambda f: f.lose_answer(), {}, 202, "executing", None, "unknown", ("100000", "2154", "0")),
        (
            lambda f: f.lose_request(),
            {},
            202,
            "executing",
            None,
            "unknown",
            ("100000", "2154", "0"),
        ),
        (lambda f: f.delay(5), {}, 202, "executing", None, "unknown", ("100000", "2154", "0")),
        (
            lambda f: f.stale_rules("AAPL", min_quantity=D(100)),
            {},
            422,
            "failed",
            "rejected",
            "rejected",
            NOTHING,
        ),
    ],
    ids=[
        "fill",
        "partial",
        "resting",
        "ioc not filled",
        "fok not filled",
        "reject",
        "unavailable",
        "lost answer",
        "lost request",
        "delayed",
        "stale rules",
    ],
)
async def test_an_outcome_is_told_held_and_booked(
    exec_mcp, script: Script, terms: dict[str, Any], http, status, reason, state, books
):
    made = await plan(exec_mcp, **terms)
    script(exec_mcp.faults)

    told = await confirm(exec_mcp, made)

    assert (told.http, told.status) == (http, status)
    if told.refused:
        assert (told["reason"], told["trade_id"]) == (reason, made.trade_id)
        assert told["trade"]["status"] == status
    trade = await look(exec_mcp, made)
    assert (trade.status, trade["reason"], trade["order"]["state"]) == (status, reason, state)
    held = await funds(exec_mcp)
    assert (*held["USD"], held.get("AAPL", ("0",))[0]) == books
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    ("script", "status", "reason", "total"),
    [
        (lambda f: f.lose_answer(), "executed", None, "97846"),
        (lambda f: f.lose_request(), "failed", "absent", "100000"),
        (lambda f: f.delay(5), "failed", "absent", "100000"),
        (lambda f: f.delay(1), "executed", None, "97846"),
    ],
    ids=["lost answer", "lost request", "delayed past its validity", "delayed a little"],
)
async def test_an_unknown_outcome_is_looked_up_and_never_sent_again(
    exec_mcp, script: Script, status, reason, total
):
    made = await plan(exec_mcp)
    script(exec_mcp.faults)
    await confirm(exec_mcp, made)

    for _ in range(10):
        await exec_mcp.advance(1)

    trade = await look(exec_mcp, made)
    assert (trade.status, trade["reason"]) == (status, reason)
    assert (await funds(exec_mcp))["USD"] == (total, "0")
    assert len(exec_mcp.faults.attempts) == 1
    await assert_whole(exec_mcp)


async def test_forty_confirms_at_once_send_one_order_and_the_others_learn_the_truth(exec_mcp):
    made = await plan(exec_mcp)

    replies = await asyncio.gather(*(confirm(exec_mcp, made) for _ in range(40)))

    won = [r for r in replies if r.http == 200]
    lost = [r for r in replies if r.http == 400]
    assert (len(won), len(lost)) == (1, 39)
    assert len(exec_mcp.faults.attempts) == 1
    for reply in lost:
        assert reply.code == "trade_not_pending"
        assert reply.status == reply["trade"]["status"]
        assert reply.status in ("executing", "executed")
        assert reply["trade"]["trade_id"] == made.trade_id
    await assert_whole(exec_mcp)


@pytest.mark.parametrize("first", ["confirm", "cancel"])
async def test_confirm_racing_cancel_has_one_winner(exec_mcp, first):
    for _ in range(10):
        sent = len(exec_mcp.faults.sent)
        made = await plan(exec_mcp, quantity=1)
        calls = [confirm(exec_mcp, made), cancel(exec_mcp, made)]

        replies = await asyncio.gather(*(calls if first == "confirm" else calls[::-1]))

        confirmed, cancelled = replies if first == "confirm" else replies[::-1]
        executed = confirmed.http == 200
        assert executed is not (cancelled.http == 200 and cancelled.status == "cancelled")
        assert len(exec_mcp.faults.sent) - sent == executed
        assert (confirmed if not executed else cancelled).http == 400
    await assert_whole(exec_mcp)


async def test_confirm_racing_the_sweeper_at_the_expiry_instant_is_expired(exec_mcp):
    made = await plan(exec_mcp)
    exec_mcp.clock.advance(60)

    told, _ = await asyncio.gather(confirm(exec_mcp, made), exec_mcp.advance(0))

    assert (told.http, told.status) == (400, "expired")
    assert told["detail"].startswith("Trade has expired")
    assert exec_mcp.faults.attempts == []
    assert (await funds(exec_mcp))["USD"] == ("100000", "0")


@pytest.mark.parametrize(("age_s", "status"), [(59.999999, "executed"), (60, "expired")])
async def test_a_plan_expires_at_its_instant(exec_mcp, age_s, status):
    made = await plan(exec_mcp)
    exec_mcp.clock.advance(age_s)

    assert (await confirm(exec_mcp, made)).status == status


async def engage(stack, **scope: Any) -> Reply:
    body = {"reason": "a test", **scope}
    return Reply(await stack.http.post("/api/v1/risk/kill-switch", json=body))


async def disable(stack) -> Reply:
    path = "/api/v1/accounts/paper:main/disable"
    return Reply(await stack.operator.post(path))


@pytest.mark.parametrize(
    ("stop", "code", "reason"),
    [
        (engage, "kill_switch", "kill_switch"),
        (disable, "account_enabled", "account_disabled"),
    ],
    ids=["kill switch", "account disabled"],
)
async def test_what_stops_trading_before_the_claim_wins_and_cancels(exec_mcp, stop, code, reason):
    made = await plan(exec_mcp)

    assert (await stop(exec_mcp)).http == 200
    told = await confirm(exec_mcp, made)

    assert (told.http, told.status) == (400, "cancelled")
    assert told["trade"]["reason"] == reason
    assert exec_mcp.faults.attempts == []
    assert (await funds(exec_mcp))["USD"] == ("100000", "0")
    assert (await plan(exec_mcp)).code == code


@pytest.mark.parametrize(
    ("sql", "values", "code", "reason"),
    [
        (
            "INSERT INTO kill_switches VALUES ('symbol:AAPL', 1, 1, 'w', 'x', '')",
            (),
            "kill_switch",
            "kill_switch",
        ),
        ("UPDATE accounts SET state = 'disabled'", (), "account_enabled", "account_disabled"),
        ("INSERT INTO meta VALUES ('quarantine', 'restored')", (), "quarantined", "quarantine"),
    ],
    ids=["kill switch", "account disabled", "quarantine"],
)
async def test_a_stop_that_nobody_announced_is_seen_by_the_claim_itself(
    exec_mcp, sql, values, code, reason
):
    made = await plan(exec_mcp)
    await change(exec_mcp, sql, *values)

    told = await confirm(exec_mcp, made)

    assert (told.http, told.code, told.status) == (400, code, "cancelled")
    assert (await look(exec_mcp, made))["reason"] == reason
    assert exec_mcp.faults.attempts == []
    await assert_whole(exec_mcp, but="I-10")


async def test_confirms_racing_the_kill_switch_send_nothing_once_it_has_answered(exec_mcp):
    plans = [await plan(exec_mcp, quantity=1) for _ in range(10)]
    calls = [confirm(exec_mcp, made) for made in plans]

    engaged, *replies = await asyncio.gather(engage(exec_mcp), *calls)
    sent = len(exec_mcp.faults.attempts)
    later = [await confirm(exec_mcp, made) for made in plans]

    assert engaged["engaged"] is True
    assert len(exec_mcp.faults.attempts) == sent == sum(r.http == 200 for r in replies)
    assert {r.status for r in later} <= {"cancelled", "executed"}
    await assert_whole(exec_mcp)


async def test_the_kill_switch_asks_for_the_cancel_of_every_order_even_if_one_does_not_answer(
    exec_mcp,
):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "open") for _ in range(2)]
    resting = {"account_id": ACCOUNT, "symbol": "BTC/USD", "quantity": 2}
    resting |= {"order_type": "limit", "limit_price": 900}
    made = [await plan(exec_mcp, **resting) for _ in range(2)]
    for one in made:
        await confirm(exec_mcp, one)
    exchange.trouble = {"cancel": OutcomeUnknown("no answer"), "find": ExchangeUnavailable("away")}

    engaged = await engage(exec_mcp, account_id=ACCOUNT)

    ids = {one.trade_id for one in made}
    assert {report["trade_id"] for report in engaged["cancel_requested"]} == ids
    assert all(report["cancel_requested"] for report in engaged["cancel_requested"])
    assert set(exchange.cancelled) == ids


async def test_a_token_bound_to_accounts_cannot_stop_the_others(exec_mcp):
    bound = await exec_mcp.token("bound", "approve", accounts=["paper:main"])

    async with exec_mcp.http_as(bound) as http:
        body = {"reason": "a test", "scope": "global"}
        refused = Reply(await http.post("/api/v1/risk/kill-switch", json=body))

    assert refused.http == 403


@pytest.mark.parametrize(("scope", "symbol"), [("global", None), ("symbol", "AAPL")])
async def test_a_bound_token_stops_no_other_account_whoever_asks_for_it(exec_mcp, scope, symbol):
    await exec_mcp.token("bound", "approve", accounts=["paper:main"])
    desk = exec_mcp.backend.desk
    (bound,) = await desk.database.read(lambda tx: tokens.of_principal(tx, "bound"))

    with pytest.raises(Forbidden):
        await risk.engage(
            desk,
            bound,
            reason="a test",
            scope=scope,
            account=None,
            symbol=symbol,
            cancel_orders=False,
        )

    assert (await plan(exec_mcp)).http == 201


async def test_only_the_planner_confirms(exec_mcp):
    made = await plan(exec_mcp)
    other = await exec_mcp.token("other", "read", "trade")

    async with exec_mcp.http_as(other) as http:
        refused = await confirm(exec_mcp, made, http)
        released = Reply(await http.delete(f"{TRADES}/{made.trade_id}"))

    assert (refused.http, refused.code) == (403, "not_the_planner")
    assert released.status == "cancelled"  # Whoever has the account may cancel.


async def test_a_token_revoked_while_its_request_is_on_the_way_claims_nothing(exec_mcp):
    made = await plan(exec_mcp)
    desk = exec_mcp.backend.desk
    agent = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])
    await desk.database.write(lambda tx: tokens.revoke(tx, "agent"))

    with pytest.raises(Exception, match="revoked"):
        await execution.confirm(desk, agent, made.trade_id)

    assert exec_mcp.faults.attempts == []
    assert (await row(exec_mcp, "SELECT status FROM trades"))["status"] == "pending"


async def test_what_changed_since_the_plan_refuses_and_leaves_it_pending(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    same = exchange.schedule

    exchange.schedule = FeeSchedule(D("0.001"), D("0.001"))
    fees = await confirm(exec_mcp, made)
    exchange.schedule = same
    await change(exec_mcp, "UPDATE accounts SET credential_version = credential_version + 1")
    credentials = await confirm(exec_mcp, made)
    await change(exec_mcp, "UPDATE accounts SET credential_version = credential_version - 1")
    tampered = "UPDATE trades SET quantity = '2' WHERE id = ?"
    await change(exec_mcp, tampered, made.trade_id)
    terms = await confirm(exec_mcp, made)

    for refused in (fees, credentials, terms):
        assert (refused.http, refused.code, refused.status) == (400, "plan_changed", "pending")
    assert exchange.sent == []


async def test_changed_rules_are_checked_again_and_nothing_is_rounded(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    exchange.rules = replace(exchange.rules, version="fake-2", step_size=D("0.3"))
    refused = await confirm(exec_mcp, made)
    exchange.rules = replace(exchange.rules, version="fake-3", step_size=D("0.5"))
    passed = await confirm(exec_mcp, made)

    assert (refused.http, refused.code, refused.status) == (400, "step_size", "pending")
    assert passed.http == 200
    assert [order.terms.quantity for order in exchange.sent] == [D(1)]


async def test_an_approval_does_not_outlive_a_change_of_rules(exec_mcp):
    exchange = await add_fake(exec_mcp, approval_threshold="1")
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    await exec_mcp.approve(made)

    exchange.rules = replace(exchange.rules, version="fake-2")
    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code, refused.status) == (400, "plan_changed", "pending")
    assert exchange.sent == []


async def test_a_market_that_left_the_band_refuses_until_it_is_back(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    exchange.touches["BTC/USD"] = (D("1001.00"), D("1001.01"))
    outside = await confirm(exec_mcp, made)
    exchange.touches["BTC/USD"] = (D("1000.90"), D("1001.00"))
    inside = await confirm(exec_mcp, made)

    assert (outside.http, outside.code, outside.status) == (400, "price_moved", "pending")
    assert inside.http == 200
    assert exchange.sent[0].worst_price == D("1001.00")


class Hooked:
    """The product's database, with something that happens after the claim's commit."""

    def __init__(self, database: Any, after_claim: Callable[[], None]) -> None:
        self._database = database
        self._after_claim = after_claim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        result = await self._database.write(body)
        if isinstance(result, Claimed):
            self._after_claim()
        return result


async def test_an_order_that_comes_later_than_a_second_after_its_claim_is_not_sent(exec_mcp):
    made = await plan(exec_mcp)
    desk = exec_mcp.backend.desk
    desk.database = Hooked(desk.database, lambda: exec_mcp.clock.advance(1.000001))

    told = await confirm(exec_mcp, made)

    assert (told.http, told["reason"]) == (503, "not_sent")
    assert exec_mcp.faults.attempts == []
    assert (await funds(exec_mcp))["USD"] == ("100000", "0")
    await assert_whole(exec_mcp)


async def test_what_is_sent_is_what_was_stored_before(exec_mcp):
    made = await plan(exec_mcp)
    stored: dict[str, Any] = {}
    desk = exec_mcp.backend.desk
    desk.database = Hooked(desk.database, lambda: exec_mcp.clock.advance(0.9))

    await confirm(exec_mcp, made)

    stored = await row(exec_mcp, "SELECT sign_time, valid_until FROM orders")
    (sent,) = exec_mcp.faults.sent
    assert stored["sign_time"] == sent.sign_time.isoformat(timespec="microseconds")
    assert stored["valid_until"] == sent.valid_until.isoformat(timespec="microseconds")
    assert (sent.client_order_id, sent.terms.quantity) == (made.trade_id, D(10))


async def test_a_clock_that_stepped_back_takes_no_new_risk_and_revives_nothing(exec_mcp):
    expired = await plan(exec_mcp)
    await exec_mcp.advance(61)
    alive = await plan(exec_mcp)
    exec_mcp.clock.advance(-10)

    replies = [await plan(exec_mcp), await confirm(exec_mcp, alive)]
    dead = await confirm(exec_mcp, expired)
    cancelled = await cancel(exec_mcp, alive)
    exec_mcp.clock.advance(6)

    assert [(r.http, r.code) for r in replies] == [(400, "clock")] * 2
    assert dead.status == "expired"
    assert cancelled.status == "cancelled"
    assert (await plan(exec_mcp)).http == 201


async def test_a_caller_that_goes_away_does_not_stop_the_execution(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.hang = asyncio.Event()
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    request = asyncio.create_task(confirm(exec_mcp, made))
    await until(lambda: exchange.sent)

    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    exchange.hang.set()
    await exec_mcp.backend.desk.tasks.drain(5)

    assert (await look(exec_mcp, made)).status == "executed"
    assert len(exchange.sent) == 1
    await assert_whole(exec_mcp)


async def test_an_exchange_that_hangs_is_answered_as_executing_and_books_later(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.hang = asyncio.Event()
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    desk = exec_mcp.backend.desk
    agent = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])

    told = await execution.confirm(desk, agent, made.trade_id, answer_within_s=0.02)
    again = await confirm(exec_mcp, made)
    exchange.hang.set()
    await desk.tasks.drain(5)

    assert (told["status"], told["order_state"]) == ("executing", "sending")
    assert (again.http, again.status) == (400, "executing")
    assert (await look(exec_mcp, made)).status == "executed"


async def test_a_confirm_that_still_prepares_is_answered_without_a_claim(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    desk = exec_mcp.backend.desk
    agent = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])
    exchange.slow = asyncio.Event()

    told = await execution.confirm(desk, agent, made.trade_id, answer_within_s=0.02)
    exchange.slow.set()
    await desk.tasks.drain(5)

    assert told == {
        "trade_id": made.trade_id,
        "status": "executing",
        "environment": "testnet",
        "account_id": ACCOUNT,
        "next": "call get_trade",
    }
    assert (await look(exec_mcp, made)).status == "executed"
    assert len(exchange.sent) == 1


@pytest.mark.parametrize(
    "error", [ExchangeUnavailable("away"), OutcomeUnknown("?"), ExchangeRejected("no", "429")]
)
async def test_a_look_up_that_fails_after_the_order_left_never_says_that_it_did_not(
    exec_mcp, error
):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [a_report("", "filled", filled="2")]  # Without its fills.
    exchange.trouble = {"find": error}
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)

    told = await confirm(exec_mcp, made)

    assert (told.http, told.status) == (200, "working")
    held = await funds(exec_mcp, ACCOUNT)
    assert held["USD"][1] == "2002"


@pytest.mark.parametrize("method", ["now", "prepare", "fees", "metadata"])
async def test_a_look_up_that_fails_before_the_claim_leaves_the_plan_pending(exec_mcp, method):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    exchange.trouble = {method: OutcomeUnknown("no answer")}

    told = await confirm(exec_mcp, made)

    assert (told.http, told.code) == (503, "exchange_unavailable")
    assert (await look(exec_mcp, made)).status == "pending"
    assert exchange.sent == []


async def test_a_database_that_fills_up_after_the_order_left_answers_executing(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)
    desk = exec_mcp.backend.desk
    writer = desk.database._writer
    exchange.answers = [
        a_report("", "filled", *[a_fill("0.001", "1000.00", f"f-{i}") for i in range(2000)])
    ]

    def fill_the_disk() -> None:
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count={pages}")

    desk.database = Hooked(desk.database, fill_the_disk)
    told = await confirm(exec_mcp, made)
    writer.execute("PRAGMA max_page_count=1000000")

    assert (told.http, told.status) == (202, "executing")
    exchange.told[made.trade_id] = a_report(made.trade_id, "filled", a_fill("2"))
    await exec_mcp.advance(1)
    assert (await look(exec_mcp, made)).status == "executed"
    assert len(exchange.sent) == 1
    await assert_whole(exec_mcp)


async def test_a_full_disk_refuses_plan_and_claim_and_changes_nothing(exec_mcp):
    plans = [await plan(exec_mcp, quantity=1) for _ in range(20)]
    writer = exec_mcp.backend.desk.database._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count={pages}")
    claims = [Reply(await exec_mcp.http.get("/api/v1/health"))]
    while not claims[-1].refused:
        claims.append(await confirm(exec_mcp, plans[len(claims) - 1]))
        await plan(exec_mcp, quantity=1)  # Until no page has room.
    refused = plans[len(claims) - 2]

    planned = await plan(exec_mcp, quantity=1)
    left = await look(exec_mcp, refused)

    assert [(r.http, r.code) for r in (claims[-1], planned)] == [(400, "storage")] * 2
    assert (left.status, left["order"]) == ("pending", None)
    assert len(exec_mcp.faults.attempts) == len(claims) - 2
    writer.execute("PRAGMA max_page_count=1000000")
    await assert_whole(exec_mcp)
    assert (await confirm(exec_mcp, refused)).http == 200


async def test_cancelling_a_plan_twice_or_after_its_end_is_benign(exec_mcp):
    made = await plan(exec_mcp)
    done = await plan(exec_mcp, quantity=1)
    await confirm(exec_mcp, done)

    first = await cancel(exec_mcp, made)
    second = await cancel(exec_mcp, made)
    executed = await cancel(exec_mcp, done)

    assert (first["released_buying_power"], second["released_buying_power"]) == (2154, 0)
    assert (second.http, second.status) == (200, "cancelled")
    assert (executed.http, executed.status) == (400, "executed")


async def test_cancelling_an_order_on_its_way_sets_the_flag_and_waits(exec_mcp):
    made = await plan(exec_mcp)
    exec_mcp.faults.lose_request()
    await confirm(exec_mcp, made)

    refused = await cancel(exec_mcp, made)
    flagged = await cancel_order(exec_mcp, made)

    assert (refused.http, refused["next"]) == (400, "cancel_order")
    assert (flagged.http, flagged["state"], flagged["cancel_requested"]) == (202, "unknown", True)
    assert (await funds(exec_mcp))["USD"] == ("100000", "2154")


async def test_rejecting_an_order_on_its_way_gives_nothing_back(exec_mcp):
    made = await plan(exec_mcp)
    exec_mcp.faults.lose_request()
    await confirm(exec_mcp, made)

    refused = Reply(await exec_mcp.operator.post(f"{TRADES}/{made.trade_id}/reject"))

    assert (refused.http, refused.status) == (400, "executing")
    assert (await funds(exec_mcp))["USD"] == ("100000", "2154")
    await assert_whole(exec_mcp)


async def test_a_second_account_is_untouched_by_the_first(exec_mcp):
    await add_account(exec_mcp, "second")

    await confirm(exec_mcp, await plan(exec_mcp))

    assert await funds(exec_mcp, "paper:second") == {"USD": ("100000", "0")}


async def test_a_day_order_is_not_sent_into_the_next_session(tmp_path):
    just_before_the_close = datetime(2026, 5, 26, 19, 59, 50, tzinfo=UTC)
    async with stack(tmp_path / "home", clock=just_before_the_close) as late:
        terms = {"order_type": "limit", "limit_price": "200", "time_in_force": "day"}
        made = await plan(late, **terms)
        late.clock.advance(10)

        refused = await confirm(late, made)

        assert made["order_expires_at"] == "2026-05-26T16:00:00-04:00"
        assert (refused.http, refused.code, refused.status) == (400, "plan_changed", "pending")
        assert late.faults.attempts == []


# --- what nobody may take away from the claim and from the gate ---


async def held_up(stack, exchange: FakeExchange, made: Reply) -> asyncio.Task[Reply]:
    """Return a confirm that has seen its plan pending, and now waits for the exchange's fees."""
    asked = exchange.asked["fees"]
    request = asyncio.create_task(confirm(stack, made))
    await until(lambda: exchange.asked["fees"] > asked)
    return request


async def test_who_was_told_that_it_expired_never_sees_it_claimed(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    exchange.slow = asyncio.Event()
    request = await held_up(exec_mcp, exchange, made)

    exec_mcp.clock.advance(60)
    exchange.slow.set()
    told = await request
    exec_mcp.clock.advance(-1)
    again = await confirm(exec_mcp, made)

    assert [(r.code, r.status) for r in (told, again)] == [("trade_not_pending", "expired")] * 2
    assert exchange.sent == []


async def test_a_cancel_that_overtakes_a_confirm_is_what_it_is_told(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    exchange.slow = asyncio.Event()
    request = await held_up(exec_mcp, exchange, made)

    await cancel(exec_mcp, made)
    exchange.slow.set()
    told = await request

    assert (told.code, told.status) == ("trade_not_pending", "cancelled")
    assert exchange.sent == []


async def test_one_plan_among_more_due_ones_than_end_at_once_is_not_claimed(exec_mcp):
    made = await plan(exec_mcp)
    await change(
        exec_mcp,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        " INSERT INTO trades SELECT t.number + i, 'trd-' || substr('aaaaaaaaaaaaaaaa' || i, -20),"
        f" {', '.join('t.' + name for name in await columns(exec_mcp))} FROM trades t, n",
    )
    await change(exec_mcp, "UPDATE trades SET expires_at = created_at WHERE id <> ?", made.trade_id)
    desk = exec_mcp.backend.desk
    agent = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])
    account = await desk.database.read(lambda tx: accounts.by_number(tx, 1))
    exec_mcp.clock.advance(60)
    facts = await planning.gather(desk, account, "AAPL", Side.BUY)

    with pytest.raises(TradeNotPending):
        await desk.database.write(
            lambda tx: claim(tx, desk, agent, made.trade_id, facts, desk.clock())
        )

    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM orders"))["n"] == 0


async def columns(stack) -> list[str]:
    """Return the columns of a trade after its number and its id."""
    found = await stack.backend.desk.database.read(lambda tx: tx.rows("PRAGMA table_info(trades)"))
    return [one["name"] for one in found if one["name"] not in ("number", "id")]


async def test_each_term_of_a_plan_is_bound_by_its_hash(exec_mcp):
    exchange = await add_fake(exec_mcp)
    terms = {"order_type": "limit", "limit_price": "1000.00", "quantity": 1}
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", **terms)
    other = {
        "side": "sell",
        "quantity": "0.9",
        "limit_price": "999.99",
        "price": "999.99",
        "worst_price": "999.99",
        "band_bps": "1",
        "time_in_force": "ioc",
    }

    for name, value in other.items():
        before = await row(exec_mcp, f"SELECT {name} AS was FROM trades")
        await change(exec_mcp, f"UPDATE trades SET {name} = ?", value)
        refused = await confirm(exec_mcp, made)
        await change(exec_mcp, f"UPDATE trades SET {name} = ?", before["was"])

        assert (name, refused.code) == (name, "plan_changed")
        assert "the plan's terms" in refused["detail"], name
    assert exchange.sent == []
    assert (await confirm(exec_mcp, made)).http == 200


async def test_a_fee_whose_asset_has_no_price_any_more_refuses_the_confirm(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.schedule = FeeSchedule(D("0.001"), D("0.001"), "BNB")
    exchange.touches["BNB/USD"] = (D(500), D(500))
    await change(
        exec_mcp,
        "INSERT INTO balances SELECT id, 'BNB', '1', '0', 1 FROM accounts WHERE exchange = 'fake'",
    )
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    del exchange.touches["BNB/USD"]
    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code, refused.status) == (400, "plan_changed", "pending")
    assert exchange.sent == []


async def test_a_sale_leaves_its_band_downwards(exec_mcp):
    exchange = await add_fake(exec_mcp)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", side="sell", quantity=1)

    exchange.touches["BTC/USD"] = (D("998.00"), D("998.01"))
    outside = await confirm(exec_mcp, made)
    exchange.touches["BTC/USD"] = (D("998.01"), D("998.02"))
    inside = await confirm(exec_mcp, made)

    assert (outside.code, outside.status) == ("price_moved", "pending")
    assert inside.http == 200


async def test_an_order_is_signed_and_stored_with_the_exchanges_time(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.clock = lambda: exec_mcp.clock() + timedelta(seconds=2)
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    await confirm(exec_mcp, made)

    stored = await row(exec_mcp, "SELECT sign_time, valid_until FROM orders")
    (sent,) = exchange.sent
    assert sent.sign_time == exchange.clock()
    assert sent.valid_until == sent.sign_time + exchange.capabilities.validity
    assert (stored["sign_time"], stored["valid_until"]) == (
        to_row(sent.sign_time),
        to_row(sent.valid_until),
    )


class Suspended(Hooked):
    """A machine that slept after the claim's commit, while its wall clock was put back."""

    async def write(self, body: Callable[[Any], Any]) -> Any:
        result = await super().write(body)
        if isinstance(result, Claimed):
            return replace(result, elapsed_s=result.elapsed_s - 1.000001)
        return result


async def test_a_clock_that_was_put_back_does_not_open_the_gate_again(exec_mcp):
    made = await plan(exec_mcp)
    desk = exec_mcp.backend.desk
    desk.database = Suspended(desk.database, lambda: exec_mcp.clock.advance(-1))

    told = await confirm(exec_mcp, made)

    assert (told.http, told["reason"]) == (503, "not_sent")
    assert exec_mcp.faults.attempts == []


async def test_the_journal_has_its_line_while_the_order_is_on_its_way(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.hang = asyncio.Event()
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    request = asyncio.create_task(confirm(exec_mcp, made))
    await until(lambda: exchange.sent)

    lines = exec_mcp.backend.desk.journal.path.read_bytes()
    exchange.hang.set()
    await request

    assert lines.count(made.trade_id.encode()) >= 1


async def test_an_order_whose_journal_line_fails_after_the_claim_does_not_leave(exec_mcp):
    made = await plan(exec_mcp)
    desk = exec_mcp.backend.desk

    def lose_the_journal() -> None:
        desk.journal.close()
        desk.journal.path = desk.journal.path.parent / "nowhere" / "sends.log"

    desk.database = Hooked(desk.database, lose_the_journal)
    told = await confirm(exec_mcp, made)

    assert (told.http, told["reason"]) == (503, "not_sent")
    assert exec_mcp.faults.attempts == []
    assert (await funds(exec_mcp))["USD"] == ("100000", "0")
    await assert_whole(exec_mcp)


async def test_an_id_that_a_lost_answer_named_is_kept(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.answers = [OutcomeUnknown("timed out, look at x-77", order_id="x-77")]
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    await confirm(exec_mcp, made)

    assert (await look(exec_mcp, made))["order"]["exchange_order_id"] == "x-77"


async def test_a_token_that_expired_while_its_request_is_on_the_way_claims_nothing(exec_mcp):
    made = await plan(exec_mcp)
    desk = exec_mcp.backend.desk
    agent = await desk.database.read(lambda tx: tokens.of_principal(tx, "agent")[0])
    await change(exec_mcp, "UPDATE tokens SET expires_at = ?", to_row(exec_mcp.clock()))

    with pytest.raises(Unauthorised, match="expired"):
        await execution.confirm(desk, agent, made.trade_id)

    assert exec_mcp.faults.attempts == []


# --- the kill switch ---


async def test_engage_waits_for_the_order_that_is_being_sent(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.hang = asyncio.Event()
    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    request = asyncio.create_task(confirm(exec_mcp, made))
    await until(lambda: exchange.sent)

    engaged = asyncio.create_task(engage(exec_mcp, account_id=ACCOUNT, cancel_orders=False))
    too_early, _ = await asyncio.wait({engaged}, timeout=0.1)
    exchange.hang.set()
    told = await engaged

    assert too_early == set()
    assert (told["in_flight"], (await request).status) == ([made.trade_id], "executed")


async def test_every_kill_switch_over_an_order_stops_it_and_no_other_does(exec_mcp):
    await add_fake(exec_mcp)
    over = ["global", f"account:{ACCOUNT}", "symbol:BTC/USD", f"symbol:{ACCOUNT}:BTC/USD"]
    beside = ["account:paper:main", "symbol:AAPL", "symbol:paper:main:BTC/USD"]
    terms = {"account_id": ACCOUNT, "symbol": "BTC/USD", "quantity": 1}

    async def planned_under(scope: str, engaged: int) -> Reply:
        row = "INSERT INTO kill_switches VALUES (?, ?, 1, 'w', 'x', '')"
        await change(exec_mcp, row, scope, engaged)
        made = await plan(exec_mcp, **terms)
        await change(exec_mcp, "DELETE FROM kill_switches")
        return made

    assert [(await planned_under(s, 1)).code for s in over] == ["kill_switch"] * 4
    assert [(await planned_under(s, 1)).http for s in beside] == [201] * 3
    assert (await planned_under("global", 0)).http == 201


async def test_the_kill_switch_of_a_symbol_ends_its_plans_and_no_others(exec_mcp):
    stopped, other = await plan(exec_mcp), await plan(exec_mcp, symbol="SPY")

    engaged = await engage(exec_mcp, scope="symbol", account_id="paper:main", symbol="AAPL")

    assert engaged["cancelled_trades"] == [stopped.trade_id]
    assert (await look(exec_mcp, stopped))["reason"] == "kill_switch"
    assert (await look(exec_mcp, other)).status == "pending"
    told = await row(exec_mcp, "SELECT actor FROM audit WHERE event = 'kill_switch.engaged'")
    assert told["actor"] == "agent"


# --- what is shown, and what is written down ---


async def test_what_is_free_is_shown_anew_when_a_plan_ends(exec_mcp):
    made = await plan(exec_mcp)
    before = (await exec_mcp.portfolio())["buying_power"]

    await cancel(exec_mcp, made)

    assert before == D("97846")
    assert (await exec_mcp.portfolio())["buying_power"] == D(100_000)


async def test_each_step_of_a_trade_stands_in_the_audit_by_its_name(exec_mcp):
    executed, dropped, expired = [await plan(exec_mcp, quantity=n) for n in (1, 2, 3)]
    await confirm(exec_mcp, executed)
    await cancel(exec_mcp, dropped)
    await exec_mcp.advance(60)

    async def told(made: Reply) -> list[str]:
        found = await exec_mcp.backend.desk.database.read(
            lambda tx: tx.rows("SELECT event FROM audit WHERE trade_id = ?", (made.trade_id,))
        )
        return [one["event"] for one in found]

    assert await told(executed) == ["trade.planned", "trade.claimed", "order.settled"]
    assert await told(dropped) == ["trade.planned", "trade.cancelled"]
    assert await told(expired) == ["trade.planned", "trade.expired"]
