"""Plan: what each check says, what is reserved, and whose plan it is."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest

from backend.domain.errors import OutcomeUnknown
from backend.domain.ledger import FeeSchedule
from backend.services import planning
from backend.testing import stack
from tests.services.fakes import ACCOUNT, add_fake
from tests.services.spoken import (
    TRADES,
    Reply,
    add_account,
    approve,
    assert_whole,
    cancel,
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
LIMIT = {"order_type": "limit", "limit_price": "215.40"}


def finding(reply: Reply, check: str) -> dict[str, object]:
    """Return one check's finding without its sentence."""
    found = next(f for f in reply["checks"] if f["check"] == check)
    return {k: v for k, v in found.items() if k not in ("check", "detail")}


@pytest.mark.parametrize(
    ("terms", "code", "numbers", "nearest"),
    [
        ({"quantity": "1.5"}, "step_size", ("1.5", "1", "AAPL"), ["1", "2"]),
        ({"quantity": "0.4"}, "step_size", ("0.4", "1", "AAPL"), ["1"]),
        ({"quantity": "1000001"}, "quantity_bounds", ("1000001", "1000000", "AAPL"), ["1000000"]),
        (
            {**LIMIT, "limit_price": "215.401"},
            "tick_size",
            ("215.401", "0.01", "USD"),
            ["215.40", "215.41"],
        ),
        (
            {"symbol": "BTC/USD", "quantity": "0.00001", "side": "buy"},
            "min_notional",
            ("0.6400001", "1", "USD"),
            ["0.00002"],
        ),
        ({"quantity": 465}, "buying_power", ("100161.00", "100000", "USD"), None),
        ({"side": "sell", "quantity": 1}, "buying_power", ("1", "0", "AAPL"), None),
        (
            {**LIMIT, "limit_price": "323.11", "quantity": 1},
            "price_band",
            ("5000.47", "5000", "bps"),
            None,
        ),
        (
            {**LIMIT, "side": "sell", "limit_price": "100.00", "quantity": 1},
            "price_band",
            ("5357.05", "5000", "bps"),
            None,
        ),
    ],
    ids=[
        "between two steps",
        "below the first step",
        "above the most",
        "between two ticks",
        "too small a notional",
        "more than is free",
        "more than is held",
        "buys far above the market",
        "sells far below the market",
    ],
)
async def test_a_check_that_blocks_names_value_limit_and_nearest(
    exec_mcp, terms, code, numbers, nearest
):
    refused = await plan(exec_mcp, **terms)

    assert (refused.http, refused.code) == (400, code)
    told = finding(refused, code)
    assert told["status"] == "block"
    value, limit, unit = numbers
    assert (told["value"], told["limit"], told["unit"]) == (D(value), D(limit), unit)
    assert refused.get("nearest") == (nearest and [D(n) for n in nearest])
    assert await funds(exec_mcp) == {"USD": ("100000", "0")}


@pytest.mark.parametrize(
    ("limits", "terms", "code", "numbers"),
    [
        ({"max_order_notional": "2153.99"}, {}, "max_order_notional", ("2154.00", "2153.99")),
        ({"max_order_notional": "2154"}, {}, None, ("2154.00", "2154", "0.00")),
        ({"max_daily_notional": "2153"}, {}, "max_daily_notional", ("2154.00", "2153")),
        ({"duplicate_order": "block"}, {}, None, None),
        ({"price_band": "1"}, {**LIMIT, "limit_price": "215.43"}, "price_band", ("1.40", "1")),
        ({"price_band": "1"}, {**LIMIT, "limit_price": "215.42"}, None, ("0.93", "1", "0.07")),
    ],
    ids=["over", "exactly at it", "the day", "no twin", "outside the band", "inside the band"],
)
async def test_an_account_limit_blocks_above_and_passes_with_its_headroom(
    exec_mcp, limits, terms, code, numbers
):
    await add_account(exec_mcp, "limited", limits=limits)

    reply = await plan(exec_mcp, account_id="paper:limited", **terms)

    assert reply.code == code
    told = finding(reply, next(iter(limits)))
    assert told["status"] == ("block" if code else "pass")
    if numbers:
        assert (told["value"], told["limit"]) == (D(numbers[0]), D(numbers[1]))
    if numbers and not code:
        assert told["headroom"] == D(numbers[2])


@pytest.mark.parametrize("tightest", ["setting", "account", "token"])
async def test_the_tightest_of_setting_account_and_token_counts(tmp_path, tightest):
    limits = {name: "2000" if name == tightest else "3000" for name in ("account", "token")}
    setting = "2000" if tightest == "setting" else "3000"
    async with stack(tmp_path / "home", risk_max_order_notional=setting) as opened:
        mine = {"max_order_notional": limits["account"]}
        await add_account(opened, "limited", limits=mine)
        body = {"name": "small", "scopes": ["trade"], "limits": {"max_order_notional": "3000"}}
        body["limits"] = {"max_order_notional": limits["token"]}
        made = (await opened.operator.post("/api/v1/tokens", json=body)).json()
        async with opened.http_as(made["token"]) as http:
            refused = await plan(opened, http, account_id="paper:limited")

    assert refused.code == "max_order_notional"
    assert finding(refused, "max_order_notional")["limit"] == 2000


async def test_plans_waiting_at_once_are_limited_per_principal(exec_mcp):
    await add_account(exec_mcp, "narrow", limits={"max_pending_trades": "2"})
    other = await exec_mcp.token("other", "read", "trade")
    narrow = {"account_id": "paper:narrow", "quantity": 1}

    replies = [await plan(exec_mcp, **narrow) for _ in range(3)]
    async with exec_mcp.http_as(other) as http:
        theirs = await plan(exec_mcp, http, **narrow)
    await cancel(exec_mcp, replies[0])
    again = await plan(exec_mcp, **narrow)

    assert [r.code for r in replies] == [None, None, "max_pending_trades"]
    assert (theirs.http, again.http) == (201, 201)


async def test_orders_a_minute_are_limited_at_plan_and_again_at_claim(exec_mcp):
    await add_account(exec_mcp, "slow", limits={"max_orders_per_minute": "1"})
    slow = {"account_id": "paper:slow", "quantity": 1}
    first, second = [await plan(exec_mcp, **slow) for _ in range(2)]

    sent = await confirm(exec_mcp, first)
    blocked = await confirm(exec_mcp, second)
    refused = await plan(exec_mcp, **slow)
    await exec_mcp.advance(60)
    later = await plan(exec_mcp, **slow)

    assert sent.http == 200
    assert (blocked.code, blocked.status) == ("max_orders_per_minute", "pending")
    assert refused.code == "max_orders_per_minute"
    assert later.http == 201


async def test_the_days_notional_is_checked_again_at_the_claim_without_counting_itself(exec_mcp):
    await add_account(exec_mcp, "daily", limits={"max_daily_notional": "4308"})
    plans = [await plan(exec_mcp, account_id="paper:daily") for _ in range(3)]

    replies = [await confirm(exec_mcp, made) for made in plans]

    assert [r.code for r in replies] == [None, None, "max_daily_notional"]


async def test_the_same_order_twice_within_a_minute_warns(exec_mcp):
    first = await plan(exec_mcp)

    second = await plan(exec_mcp)
    await exec_mcp.advance(60)
    third = await plan(exec_mcp)

    assert finding(first, "duplicate_order")["status"] == "pass"
    assert finding(second, "duplicate_order")["status"] == "warn"
    assert finding(third, "duplicate_order")["status"] == "pass"


@pytest.mark.parametrize(
    ("setting", "change_it", "code"),
    [
        ("no quote", lambda s: s.prices.remove("AAPL"), "stale_quote"),
        ("old quote", lambda s: s.prices.freeze("AAPL"), "stale_quote"),
    ],
)
@pytest.mark.parametrize("terms", [{}, LIMIT], ids=["market", "limit"])
async def test_without_a_fresh_quote_there_is_no_plan(exec_mcp, setting, change_it, code, terms):
    change_it(exec_mcp)
    exec_mcp.clock.advance(16)

    refused = await plan(exec_mcp, **terms)

    assert (refused.http, refused.code) == (400, code)


async def test_a_limit_in_another_currency_blocks_without_a_conversion(exec_mcp):
    await add_account(exec_mcp, "francs", currency="CHF", limits={"max_order_notional": "1000000"})

    refused = await plan(exec_mcp, account_id="paper:francs")

    assert refused.code == "buying_power"  # Francs buy no dollars' worth.
    assert finding(refused, "max_order_notional")["status"] == "block"


@pytest.mark.parametrize(
    ("fees", "side", "reserved"),
    [
        (("0.001", "0.002", "quote"), "buy", {"USD": "2004"}),
        (("0.003", "0.002", "quote"), "buy", {"USD": "2006"}),
        (("0.001", "0.002", "quote"), "sell", {"BTC": "2"}),
        (("0.001", "0.002", "base"), "buy", {"USD": "2000"}),
        (("0.001", "0.002", "base"), "sell", {"BTC": "2.004"}),
    ],
    ids=["quote, buy", "worse is maker", "quote, sell", "base, buy", "base, sell"],
)
async def test_a_plan_reserves_the_worst_that_it_may_cost(exec_mcp, fees, side, reserved):
    exchange = await add_fake(exec_mcp, band_bps="0")
    exchange.schedule = FeeSchedule(D(fees[0]), D(fees[1]), fees[2])
    exchange.touches["BTC/USD"] = (D(1000), D(1000))

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", side=side, quantity=2)

    assert made.http == 201
    held = {c: h for c, (_, h) in (await funds(exec_mcp, ACCOUNT)).items() if h != "0"}
    assert held == reserved
    assert made["reserved_buying_power"] == D(reserved.get("USD", "0"))
    await assert_whole(exec_mcp)


async def test_a_fee_in_a_third_asset_is_reserved_in_it_with_room_for_its_price(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.schedule = FeeSchedule(D("0.001"), D("0.001"), "BNB")
    exchange.touches["BNB/USD"] = (D(500), D(500))
    await change(
        exec_mcp,
        "INSERT INTO balances SELECT id, 'BNB', '1', '0', 1 FROM accounts WHERE exchange = 'fake'",
    )

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2, side="sell")

    held = D((await funds(exec_mcp, ACCOUNT))["BNB"][1])
    at_the_quote = D("1997.01") * 2 * D("0.001") / 500
    assert made["fee_currency"] == "BNB"
    assert at_the_quote / 2 < held
    exchange.touches["BNB/USD"] = (D("499"), D("499"))  # A little less worth: more is needed.
    assert (await confirm(exec_mcp, made)).http == 200


async def test_a_fee_in_a_third_asset_without_a_price_blocks(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.schedule = FeeSchedule(D("0.001"), D("0.001"), "BNB")

    refused = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)

    assert refused.code == "buying_power"


@pytest.mark.parametrize(
    ("order_type", "given", "outcomes"),
    [
        ("market", {}, {"ioc": 201, None: 201, "gtc": 400, "day": 400, "fok": 400}),
        ("limit", {"limit_price": 215}, dict.fromkeys(("ioc", "gtc", "day", "fok", None), 201)),
        (
            "stop",
            {"stop_price": 220},
            {"ioc": 400, "fok": 400, "gtc": 201, "day": 201, None: 201},
        ),
        (
            "stop_limit",
            {"stop_price": 220, "limit_price": 221},
            {"ioc": 400, "fok": 400, "gtc": 201, "day": 201, None: 201},
        ),
    ],
)
async def test_order_types_take_these_times_in_force(exec_mcp, order_type, given, outcomes):
    for tif, expected in outcomes.items():
        reply = await plan(exec_mcp, quantity=1, order_type=order_type, time_in_force=tif, **given)

        assert (tif, reply.http) == (tif, expected)
        assert reply.code in (None, "unsupported_order")
        if tif is None:
            assert reply["time_in_force"] == ("ioc" if order_type == "market" else "gtc")


@pytest.mark.parametrize(
    "terms",
    [
        {"order_type": "limit"},
        {"order_type": "stop"},
        {"order_type": "stop_limit", "stop_price": 220},
        {"order_type": "market", "limit_price": 215},
        {"order_type": "limit", "limit_price": 215, "stop_price": 220},
        {"order_type": "stop", "limit_price": 215, "stop_price": 220},
    ],
)
async def test_a_price_that_is_missing_or_does_not_belong_is_refused(exec_mcp, terms):
    refused = await plan(exec_mcp, **terms)

    assert (refused.http, refused.code) == (400, "invalid_request")


async def test_what_the_exchange_does_not_declare_is_refused_with_what_it_does(exec_mcp):
    await add_fake(exec_mcp)
    terms = {"account_id": ACCOUNT, "symbol": "BTC/USD", "quantity": 1}

    stop = await plan(exec_mcp, **terms, order_type="stop", stop_price=1000)
    day = await plan(exec_mcp, **terms, order_type="limit", limit_price=999, time_in_force="day")

    assert {stop.code, day.code} == {"unsupported_order"}
    assert "limit, market" in stop["detail"]
    assert "gtc, ioc" in day["detail"]


@pytest.mark.parametrize(
    ("side", "stop_price", "worst"),
    [("buy", "220.00", "222.20"), ("sell", "200.00", "198.00"), ("buy", "220.01", "222.21")],
)
async def test_a_stop_may_fill_one_percent_beyond_its_price(exec_mcp, side, stop_price, worst):
    await confirm(exec_mcp, await plan(exec_mcp, quantity=1))

    made = await plan(exec_mcp, side=side, quantity=1, order_type="stop", stop_price=stop_price)

    assert made["worst_price"] == D(worst)
    assert made["price"] == D(stop_price)
    held = D(worst) if side == "buy" else D(0)
    assert made["reserved_buying_power"] == held


@pytest.mark.parametrize(
    ("side", "touch", "worst"),
    [("buy", "1000.00", "1001.00"), ("sell", "999.00", "998.01"), ("buy", "0.05", "0.05")],
)
async def test_the_band_rounds_towards_the_touch_and_never_inside_it(exec_mcp, side, touch, worst):
    exchange = await add_fake(exec_mcp)
    exchange.touches["BTC/USD"] = (D(touch), D(touch))

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", side=side, quantity=1)

    if D(touch) < 1:
        assert made.code == "min_notional"
        return
    assert (made["price"], made["worst_price"]) == (D(touch), D(worst))
    assert made["band_bps"] == 10
    held = (await funds(exec_mcp, ACCOUNT))["USD" if side == "buy" else "BTC"][1]
    assert D(held) == (D(worst) if side == "buy" else 1)


async def test_a_request_id_answers_the_same_trade_in_its_present_state(exec_mcp):
    first = await plan(exec_mcp, request_id="r-1")
    again = await plan(exec_mcp, request_id="r-1", quantity="10.0", symbol="aapl")
    await confirm(exec_mcp, first)
    after = await plan(exec_mcp, request_id="r-1")
    other = await plan(exec_mcp, request_id="r-1", quantity=11)

    assert [r.http for r in (first, again, after, other)] == [201, 200, 200, 400]
    assert {r.trade_id for r in (first, again, after, other)} == {first.trade_id}
    assert (again.status, after.status) == ("pending", "executed")
    assert other.code == "request_id_reused"


async def test_a_request_that_says_the_default_is_the_same_request(exec_mcp):
    first = await plan(exec_mcp, request_id="r-1")

    again = await plan(exec_mcp, request_id="r-1", order_type="market", time_in_force="ioc")

    assert (again.http, again.trade_id) == (200, first.trade_id)


async def test_a_request_id_of_an_expired_plan_answers_it_as_expired(exec_mcp):
    first = await plan(exec_mcp, request_id="r-1")
    await exec_mcp.advance(60, tick=False)

    again = await plan(exec_mcp, request_id="r-1")

    assert (again.http, again.trade_id, again.status) == (200, first.trade_id, "expired")


async def test_a_request_id_belongs_to_its_principal(exec_mcp):
    mine = await plan(exec_mcp, request_id="r-1")
    other = await exec_mcp.token("other", "read", "trade")

    async with exec_mcp.http_as(other) as http:
        theirs = await plan(exec_mcp, http, request_id="r-1", quantity=1)

    assert theirs.http == 201
    assert theirs.trade_id != mine.trade_id


async def test_racing_plans_with_one_request_id_make_one_trade(exec_mcp):
    replies = await asyncio.gather(*(plan(exec_mcp, request_id="r-1") for _ in range(20)))

    assert sorted(r.http for r in replies) == [200] * 19 + [201]
    assert len({r.trade_id for r in replies}) == 1
    assert (await funds(exec_mcp))["USD"] == ("100000", "2154")


async def test_plans_that_both_passed_the_first_look_are_told_apart_under_the_lock(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.slow = asyncio.Event()
    terms = {"account_id": ACCOUNT, "symbol": "BTC/USD", "quantity": 1, "request_id": "r-1"}
    both = [asyncio.create_task(plan(exec_mcp, **terms)) for _ in range(2)]
    await until(lambda: exchange.asked["fees"] == 2)

    exchange.slow.set()
    replies = await asyncio.gather(*both)

    assert sorted(r.http for r in replies) == [200, 201]
    assert len({r.trade_id for r in replies}) == 1


async def test_racing_plans_never_reserve_more_than_there_is(exec_mcp):
    replies = await asyncio.gather(*(plan(exec_mcp, quantity=46) for _ in range(30)))

    assert sorted(r.http for r in replies) == [201] * 10 + [400] * 20
    assert {r.code for r in replies if r.refused} == {"buying_power"}
    assert (await funds(exec_mcp))["USD"] == ("100000", "99084")
    await assert_whole(exec_mcp)


async def test_an_expired_plan_frees_its_reservation_at_its_instant_without_a_sweeper(exec_mcp):
    await plan(exec_mcp, quantity=464)
    exec_mcp.clock.advance(59.999999)
    before = await plan(exec_mcp, quantity=464)
    exec_mcp.clock.advance(0.000001)

    at_it = await plan(exec_mcp, quantity=464)

    assert (before.code, at_it.http) == ("buying_power", 201)


async def test_no_account_named_means_the_tokens_only_one_else_the_default(exec_mcp):
    await add_account(exec_mcp, "second")
    bound = await exec_mcp.token("bound", "trade", accounts=["paper:second"])

    async with exec_mcp.http_as(bound) as http:
        only = await plan(exec_mcp, http)
        foreign = await plan(exec_mcp, http, account_id="paper:main")
        missing = await plan(exec_mcp, http, account_id="paper:none")
    default = await plan(exec_mcp)

    assert only["account_id"] == "paper:second"
    assert default["account_id"] == "paper:main"
    assert foreign.text == missing.text
    assert foreign.http == 404


async def test_the_default_is_never_a_live_account(tmp_path):
    async with stack(tmp_path / "home", default_account=ACCOUNT) as opened:
        await add_fake(opened, environment="live")
        bound = await opened.token("bound", "trade", accounts=[ACCOUNT])

        unnamed = await plan(opened, symbol="BTC/USD", quantity=1)
        named = await plan(opened, symbol="BTC/USD", quantity=1, account_id=ACCOUNT)
        async with opened.http_as(bound) as http:
            its_only_one = await plan(opened, http, symbol="BTC/USD", quantity=1)

    assert (unnamed.http, unnamed.code) == (400, "invalid_request")
    assert named["environment"] == "live"
    assert its_only_one.http == 201


async def test_a_live_plan_needs_approval_by_default_and_lives_longer(exec_mcp):
    await add_fake(exec_mcp, environment="live")

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    waiting = await confirm(exec_mcp, made)

    assert made["approval"]["required"] is True
    assert made["expires_in_s"] == 600
    assert (waiting.http, waiting.code, waiting.status) == (400, "awaiting_approval", "pending")


@pytest.mark.parametrize(
    ("earlier", "advance_s", "required"),
    [
        ([], 0, False),
        ([("confirm", 10)], 0, True),
        ([("plan", 10)], 0, True),
        ([("confirm", 9)], 0, False),
        ([("plan", 10)], 60, False),
        ([("confirm", 10)], 86_399, True),
        ([("confirm", 10)], 86_400, False),
    ],
    ids=[
        "alone at the threshold",
        "with one confirmed",
        "with one pending",
        "exactly at it",
        "the pending one expired",
        "within the day",
        "after the day",
    ],
)
async def test_the_approval_threshold_counts_the_principals_last_24_hours(
    exec_mcp, earlier, advance_s, required
):
    # 215.40 x 19 = 4092.60
    await add_account(exec_mcp, "watched", limits={"approval_threshold": "4092.60"})
    watched = {"account_id": "paper:watched"}
    for what, quantity in earlier:
        made = await plan(exec_mcp, quantity=quantity, **watched)
        if what == "confirm":
            await confirm(exec_mcp, made)
    await exec_mcp.advance(advance_s)

    made = await plan(exec_mcp, quantity=10 if earlier else 19, **watched)

    assert made["approval"]["required"] is required


async def test_an_approved_plan_executes_once_and_only_its_planner_confirms_it(exec_mcp):
    await add_account(exec_mcp, "watched", limits={"approval_threshold": "0"})
    made = await plan(exec_mcp, account_id="paper:watched")
    await exec_mcp.advance(590)

    approved = await approve(exec_mcp, made)
    twice = await approve(exec_mcp, made)
    await exec_mcp.advance(59)
    done = await confirm(exec_mcp, made)

    assert approved["approval"]["approved"] is True
    assert approved["expires_in_s"] == 60
    assert twice.code == "approval_refused"
    assert (done.http, done.status) == (200, "executed")


async def test_a_look_up_that_gets_no_answer_at_plan_says_that_nothing_was_sent(exec_mcp):
    exchange = await add_fake(exec_mcp)
    for method in ("fees", "metadata"):
        exchange.trouble = {method: OutcomeUnknown("no answer came")}

        refused = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

        assert (refused.http, refused.code) == (503, "exchange_unavailable")


async def test_a_refused_plan_leaves_nothing_behind(exec_mcp):
    before = await row(exec_mcp, "SELECT COUNT(*) AS n, MAX(seq) AS seq FROM audit")

    for terms in ({"quantity": "0.5"}, {"quantity": 10_000}, {"symbol": "NOPE"}):
        assert (await plan(exec_mcp, **terms)).http == 400

    assert await row(exec_mcp, "SELECT COUNT(*) AS n, MAX(seq) AS seq FROM audit") == before
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM trades"))["n"] == 0
    assert Reply(await exec_mcp.http.get(TRADES))["trades"] == []


async def test_another_tokens_plan_is_seen_by_the_account_and_looks_foreign_outside(exec_mcp):
    await add_account(exec_mcp, "second")
    made = await plan(exec_mcp)
    bound = await exec_mcp.token("bound", "read", "trade", accounts=["paper:second"])

    async with exec_mcp.http_as(bound) as http:
        foreign = await http.get(f"{TRADES}/{made.trade_id}")
        missing = await http.get(f"{TRADES}/trd-{'a' * 20}")
        confirmed = await confirm(exec_mcp, made, http)

    assert foreign.content == missing.content
    assert confirmed.http == 404
    assert (await look(exec_mcp, made)).status == "pending"


# --- what nobody may take away from a plan and its approval ---


async def test_an_account_that_is_stopped_while_a_plan_is_prepared_takes_none(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.slow = asyncio.Event()
    terms = {"account_id": ACCOUNT, "symbol": "BTC/USD", "quantity": 1}
    request = asyncio.create_task(plan(exec_mcp, **terms))
    await until(lambda: exchange.asked["fees"])

    await change(exec_mcp, "UPDATE accounts SET state = 'disabled' WHERE exchange = 'fake'")
    exchange.slow.set()

    assert (await request).code == "account_enabled"


async def test_a_tokens_own_limit_binds_its_confirm_as_well(exec_mcp):
    body = {"name": "slow", "scopes": ["trade"], "limits": {"max_orders_per_minute": "1"}}
    made = (await exec_mcp.operator.post("/api/v1/tokens", json=body)).json()
    async with exec_mcp.http_as(made["token"]) as http:
        plans = [await plan(exec_mcp, http, quantity=1) for _ in range(2)]
        told = [await confirm(exec_mcp, one, http) for one in plans]

    assert [one.code for one in told] == [None, "max_orders_per_minute"]


async def test_a_plan_is_not_counted_in_its_own_confirm(exec_mcp):
    await add_account(exec_mcp, "narrow", limits={"max_pending_trades": "2"})
    plans = [await plan(exec_mcp, account_id="paper:narrow", quantity=1) for _ in range(2)]

    assert [(await confirm(exec_mcp, one)).http for one in plans] == [200, 200]


async def test_the_same_order_on_another_account_is_no_twin(exec_mcp):
    await add_account(exec_mcp, "second")
    await plan(exec_mcp)

    other = await plan(exec_mcp, account_id="paper:second")

    assert finding(other, "duplicate_order")["status"] == "pass"


@pytest.mark.parametrize(
    ("moment", "day"),
    [("2026-05-27T03:59:59+00:00", "2026-05-26"), ("2026-05-27T04:00:00+00:00", "2026-05-27")],
)
def test_a_days_notional_is_counted_by_the_eastern_day(moment, day):
    assert planning.today(datetime.fromisoformat(moment)) == day


async def in_bitcoin(stack, **limits: str) -> None:
    """Add the fake account, whose own currency is BTC: 1000 USD and a band are 1.0015 BTC."""
    await add_fake(stack, **limits)
    await change(stack, "UPDATE accounts SET currency = 'BTC' WHERE exchange = 'fake'")


@pytest.mark.parametrize(("threshold", "required"), [("1.0010", True), ("1.0020", False)])
async def test_an_approval_counts_the_worst_price_in_the_accounts_currency(
    exec_mcp, threshold, required
):
    await in_bitcoin(exec_mcp, approval_threshold=threshold)

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    assert made["approval"]["required"] is required


async def test_a_limit_counts_in_the_accounts_currency(exec_mcp):
    await in_bitcoin(exec_mcp, max_order_notional="2")

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)
    more = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=2)

    assert (made.http, more.code) == (201, "max_order_notional")


async def test_what_cannot_be_converted_needs_an_approval(exec_mcp):
    await add_fake(exec_mcp, approval_threshold="1000000")
    await change(exec_mcp, "UPDATE accounts SET currency = 'CHF' WHERE exchange = 'fake'")

    made = await plan(exec_mcp, account_id=ACCOUNT, symbol="BTC/USD", quantity=1)

    assert made["approval"]["required"] is True


async def test_an_approval_does_not_count_what_others_trade(exec_mcp):
    await add_account(exec_mcp, "watched", limits={"approval_threshold": "4092.60"})
    other = await exec_mcp.token("other", "read", "trade")
    async with exec_mcp.http_as(other) as http:
        theirs = await plan(exec_mcp, http, account_id="paper:watched", quantity=19)
        await confirm(exec_mcp, theirs, http)
        await plan(exec_mcp, http, account_id="paper:watched", quantity=18)

    mine = await plan(exec_mcp, account_id="paper:watched", quantity=19)

    assert mine["approval"]["required"] is False


async def test_nobody_approves_a_plan_of_his_own_or_one_that_needs_no_approval(exec_mcp):
    await add_account(exec_mcp, "watched", limits={"approval_threshold": "0"})
    free = await plan(exec_mcp)
    own = await plan(exec_mcp, account_id="paper:watched")
    await change(exec_mcp, "UPDATE trades SET principal = 'operator' WHERE id = ?", own.trade_id)

    needless, himself = await approve(exec_mcp, free), await approve(exec_mcp, own)

    assert (needless.http, needless.code) == (400, "approval_refused")
    assert himself.http == 403
    approved = await row(exec_mcp, "SELECT COUNT(approved_by) AS n FROM trades")
    assert approved["n"] == 0


async def test_an_approval_makes_no_plan_older_than_an_hour(tmp_path):
    async with stack(tmp_path / "home", approval_ttl_s=3600) as opened:
        await add_account(opened, "watched", limits={"approval_threshold": "0"})
        made = await plan(opened, account_id="paper:watched")
        await opened.advance(3590)

        approved = await approve(opened, made)

    assert approved["expires_in_s"] == 10
