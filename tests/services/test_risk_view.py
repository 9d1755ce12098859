"""What the checks are told of an account: live orders, holdings, permissions, what is free."""

from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.clock import to_row
from backend.domain.errors import OutcomeUnknown
from backend.domain.instrument import PriceBand
from backend.exchanges import Identity
from backend.store import accounts, ledger
from tests.exchanges.tiny import BTC
from tests.services.fakes import ACCOUNT, a_fill, a_report, add_fake, fake_account
from tests.services.mirrors import LIVE, add_mirrored, install, markets, mirrored, plan_btc
from tests.services.spoken import Reply, cancel_order, change, confirm, plan

pytestmark = pytest.mark.anyio
D = Decimal
REST: dict[str, Any] = {"order_type": "limit", "limit_price": "90"}
STOP: dict[str, Any] = {"order_type": "stop_limit", "stop_price": "120", "limit_price": "121"}
ON_FAKE: dict[str, Any] = {
    "account_id": ACCOUNT,
    "symbol": "BTC/USD",
    "order_type": "limit",
    "limit_price": "1000.00",
    "quantity": 2,
}


def told(reply: Reply, check: str) -> tuple[str, Any]:
    """Return a finding's status and value."""
    found = next(f for f in reply["checks"] if f["check"] == check)
    return found["status"], found.get("value")


async def working(stack, **terms: Any) -> Reply:
    """Let an order rest on the mirrored account."""
    made = await plan_btc(stack, **{**REST, **terms})
    done = await confirm(stack, made)
    assert done.status == "working", done
    return done


# --- live orders ---


async def test_live_orders_are_counted_on_their_own_instrument_and_nothing_else_is(exec_mcp):
    market = install(exec_mcp)
    market.rows = [{**BTC, "max_open_orders": 3}, {**BTC, "symbol": "ETH/USDT"}]
    market.prices.touches["ETH/USDT"] = ("99", "100")
    await add_mirrored(exec_mcp)
    await add_mirrored(exec_mcp, "other")
    await working(exec_mcp)
    await working(exec_mcp, symbol="ETH/USDT")
    await working(exec_mcp, account_id="paper:other")
    await plan_btc(exec_mcp, **REST)
    await confirm(exec_mcp, await plan_btc(exec_mcp))
    await cancel_order(exec_mcp, await working(exec_mcp))
    await exec_mcp.advance(1)

    second = await plan_btc(exec_mcp, **REST)

    assert told(second, "max_open_orders") == ("pass", D(2))


async def test_as_many_orders_as_the_exchange_takes_can_be_live(exec_mcp):
    market = await mirrored(exec_mcp)
    market.change(max_open_orders=2)
    await markets(exec_mcp).refresh(*LIVE)
    await working(exec_mcp)
    last = await plan_btc(exec_mcp, **REST)
    waiting = await plan_btc(exec_mcp, **REST)

    # The plan itself does not count in its own confirm.
    first_confirm, second_confirm = await confirm(exec_mcp, last), await confirm(exec_mcp, waiting)
    refused = await plan_btc(exec_mcp, **REST)

    assert first_confirm.status == "working"
    assert second_confirm.code == refused.code == "max_open_orders"
    assert told(refused, "max_open_orders") == ("block", D(3))


async def test_stop_orders_are_counted_for_a_stop_order_only(exec_mcp):
    market = await mirrored(exec_mcp)
    market.change(max_stop_orders=1)
    await markets(exec_mcp).refresh(*LIVE)
    await working(exec_mcp, **STOP)

    limit = await plan_btc(exec_mcp, **REST)
    stop = await plan_btc(exec_mcp, **STOP)

    assert told(limit, "max_open_orders") == ("pass", None)
    assert told(stop, "max_open_orders") == ("block", D(2))


async def test_the_base_position_is_what_is_owned_and_what_live_orders_buy(exec_mcp):
    market = await mirrored(exec_mcp, settings={"mirror": "tiny", "taker_fee_bps": "0"})
    market.change(max_position="8")
    await markets(exec_mcp).refresh(*LIVE)
    await confirm(exec_mcp, await plan_btc(exec_mcp, quantity=3))
    await working(exec_mcp, quantity=4)
    await working(exec_mcp, side="sell", limit_price="110", quantity=1)
    await plan_btc(exec_mcp, **REST, quantity=1)  # Waits: buys nothing yet.

    fits = await plan_btc(exec_mcp, quantity=1)
    beyond = await plan_btc(exec_mcp, quantity="1.001")
    sale = await plan_btc(exec_mcp, side="sell", quantity=2)

    assert told(fits, "max_position") == ("pass", D(8))
    assert told(beyond, "max_position") == ("block", D("8.001"))
    assert told(sale, "max_position") == ("not_run", None)


# --- what the exchange says ---


@pytest.mark.parametrize(
    ("permissions", "wanted", "status"),
    [
        (("spot",), (), "pass"),
        ((), (), "pass"),
        (("spot",), ({"spot", "margin"},), "pass"),
        (("spot",), ({"spot"}, {"group_7"}), "block"),
        (("spot", "group_7"), ({"spot"}, {"group_7"}), "pass"),
        ((), ({"spot"},), "block"),
    ],
)
async def test_the_permissions_are_those_that_the_exchange_told_of_the_account(
    exec_mcp, permissions, wanted, status
):
    exchange = await add_fake(exec_mcp)
    exchange.rules = replace(exchange.rules, permissions=tuple(map(frozenset, wanted)))
    account = await fake_account(exec_mcp.backend.desk)
    says = asdict(Identity("one", True, False, permissions))
    await exec_mcp.backend.desk.database.write(
        lambda tx: accounts.set_identity(tx, account.number, says)
    )

    made = await plan(exec_mcp, **ON_FAKE)

    assert told(made, "instrument_open") == (status, None)


BAND = PriceBand(D("1.1"), D("0.9"), D("1.2"), D("0.8"))


@pytest.mark.parametrize(
    ("reference", "price", "code"),
    [
        (None, "1000.00", "exchange_band"),
        (D(1000), "1000.00", None),
        (D(900), "1000.00", "exchange_band"),
    ],
    ids=["not known", "inside", "outside"],
)
async def test_a_band_is_around_the_exchanges_own_reference_price(exec_mcp, reference, price, code):
    exchange = await add_fake(exec_mcp)
    exchange.rules = replace(exchange.rules, price_band=BAND)
    exchange.reference = reference

    made = await plan(exec_mcp, **{**ON_FAKE, "limit_price": price})

    assert made.code == code


async def test_a_reference_price_that_is_not_told_is_asked_for_again_by_the_caller(exec_mcp):
    exchange = await add_fake(exec_mcp)
    exchange.rules = replace(exchange.rules, price_band=BAND)
    exchange.trouble["reference_price"] = OutcomeUnknown("no answer")

    made = await plan(exec_mcp, **ON_FAKE)

    assert (made.http, made.code) == (503, "exchange_unavailable")


async def test_nobody_asks_for_a_reference_price_without_a_band(exec_mcp):
    exchange = await add_fake(exec_mcp)

    assert (await plan(exec_mcp, **ON_FAKE)).http == 201
    assert exchange.asked["reference_price"] == 0


# --- what is free on an exchange that has a word in it ---


async def snapshot(stack, usd: str, btc: str = "10") -> None:
    """Let the exchange have said just now what is free."""
    desk = stack.backend.desk
    account, as_of = await fake_account(desk), to_row(desk.clock())

    def body(tx):
        for currency, free in (("USD", usd), ("BTC", btc)):
            ledger.keep_exchange_balance(tx, account.number, currency, D(free), D(free), as_of)

    await desk.database.write(body)
    stack.clock.advance(10)


async def free(stack, currency: str = "USD") -> Decimal | None:
    desk = stack.backend.desk
    account = await fake_account(desk)
    found: Decimal | None = await desk.database.read(
        lambda tx: ledger.exchange_free(tx, account.number, currency)
    )
    return found


async def order(stack, exchange, state: str | None, *fills: Any, **terms: Any) -> None:
    """Plan to buy 2 BTC for 2000 USD, and let its order become this; None: only the plan."""
    made = await plan(stack, **{**ON_FAKE, **terms})
    if state is not None:
        unsettled = state in ("sending", "unknown")
        side = terms.get("side", "buy")
        report = a_report(made.trade_id, "open" if unsettled else state, *fills, side=side)
        exchange.answers.append(report)
        await confirm(stack, made)
    if state in ("sending", "unknown"):
        await change(stack, "UPDATE orders SET state = ? WHERE trade_id = ?", state, made.trade_id)
    stack.clock.advance(10)


HALF, WHOLE = a_fill("0.5"), a_fill("2")
SOLD = a_fill("2", side="sell")


@pytest.mark.parametrize(
    ("before", "after", "usd", "btc"),
    [
        ([], [], "5000", "10"),
        ([(None,)], [], "3000", "10"),
        ([], [(None,)], "3000", "10"),
        ([("sending",)], [], "3000", "10"),
        ([], [("sending",)], "3000", "10"),
        ([("unknown",)], [], "3000", "10"),
        ([], [("unknown",)], "3000", "10"),
        ([("open",)], [], "5000", "10"),
        ([], [("open",)], "3000", "10"),
        ([("partially_filled", HALF)], [], "5000", "10"),
        ([], [("partially_filled", HALF)], "3000", "10.5"),
        ([("filled", WHOLE)], [], "5000", "10"),
        ([], [("filled", WHOLE)], "3000", "12"),
        ([("cancelled", HALF)], [], "5000", "10"),
        ([], [("cancelled", HALF)], "4500", "10.5"),
        ([("cancelled",)], [("cancelled",)], "5000", "10"),
        ([("open",)], [("open",)], "3000", "10"),
    ],
    ids=[
        "nothing but the snapshot",
        "a plan made before it",
        "a plan made after it",
        "sending since before it",
        "sent after it",
        "unknown since before it",
        "unknown, sent after it",
        "open before it: it is counted there",
        "open since after it",
        "partly filled before it",
        "partly filled after it",
        "filled before it",
        "filled after it",
        "partly filled and cancelled before it",
        "partly filled and cancelled after it",
        "cancelled before and after it",
        "one open before it and one after it",
    ],
)
async def test_what_the_exchange_lets_us_spend_is_its_last_word_and_what_it_cannot_have_seen(
    exec_mcp, before, after, usd, btc
):
    exchange = await add_fake(exec_mcp)
    fresh = iter("abcdef")

    async def place(steps):
        for state, *fills in steps:
            name = next(fresh)
            moment = exec_mcp.clock() + timedelta(seconds=10)
            ids = {"exchange_fill_id": name, "exchange_order_id": "x-1"}
            marked = [replace(f, **ids, executed_at=moment) for f in fills]
            await order(exec_mcp, exchange, state, *marked)

    await place(before)
    await snapshot(exec_mcp, "5000")
    await place(after)

    assert (await free(exec_mcp), await free(exec_mcp, "BTC")) == (D(usd), D(btc))


async def test_a_fill_after_the_snapshot_of_an_order_that_was_open_in_it_is_counted_in_full(
    exec_mcp,
):
    exchange = await add_fake(exec_mcp)
    await order(exec_mcp, exchange, "open")
    await snapshot(exec_mcp, "5000")
    desk = exec_mcp.backend.desk
    number = (await fake_account(desk)).number

    def fill(tx):
        (trade,) = tx.rows("SELECT trade_id FROM orders WHERE account = ?", (number,))
        moved = {"USD": D(-2000), "BTC": D(2)}
        ledger.post(tx, number, trade["trade_id"], "f-1", moved)

    await desk.database.write(fill)

    # What was locked then went out since: counted twice, until the next snapshot, never too high.
    # When it was executed nobody told: what it brought in may stand in the snapshot already.
    assert (await free(exec_mcp), await free(exec_mcp, "BTC")) == (D(3000), D(10))


async def test_without_a_snapshot_only_our_books_count(exec_mcp):
    await add_fake(exec_mcp)

    assert await free(exec_mcp) is None
    assert (await plan(exec_mcp, **ON_FAKE)).http == 201


async def test_what_was_adjusted_by_a_snapshot_is_in_it_already(exec_mcp):
    await add_fake(exec_mcp)
    await snapshot(exec_mcp, "5000")
    desk = exec_mcp.backend.desk
    number = (await fake_account(desk)).number

    await desk.database.write(lambda tx: ledger.adjust(tx, number, "USD", D(70), "adjustment"))
    await desk.database.write(lambda tx: ledger.adjust(tx, number, "BTC", D(1), "opening"))

    assert (await free(exec_mcp), await free(exec_mcp, "BTC")) == (D(5000), D(10))


@pytest.mark.parametrize(
    ("theirs", "limit"),
    [("1999.99", "1999.99"), ("2000", "2000"), ("100000", "100000"), ("900000", "100000")],
)
async def test_buying_power_is_the_lesser_of_our_books_and_the_exchanges_word(
    exec_mcp, theirs, limit
):
    await add_fake(exec_mcp)
    await snapshot(exec_mcp, theirs)

    made = await plan(exec_mcp, **ON_FAKE)

    found = next(f for f in made["checks"] if f["check"] == "buying_power")
    assert (found["value"], found["limit"]) == (D(2000), D(limit))
    assert made.code == ("buying_power" if D(theirs) < 2000 else None)


@pytest.mark.parametrize(
    ("theirs", "before", "after"),
    [("5000", "5000", "3000"), ("100000", "100000", "98000"), ("900000", "100000", "98000")],
)
async def test_the_buying_power_that_is_told_is_the_one_that_plans_are_checked_against(
    exec_mcp, theirs, before, after
):
    await add_fake(exec_mcp)
    await snapshot(exec_mcp, theirs)

    shown = (await exec_mcp.portfolio(ACCOUNT))["buying_power"]
    made = await plan(exec_mcp, **ON_FAKE)
    left = (await exec_mcp.portfolio(ACCOUNT))["buying_power"]
    checked = next(f for f in made["checks"] if f["check"] == "buying_power")

    assert shown == checked["limit"] == D(before)
    assert left == made["buying_power"] == D(after)
    assert (await exec_mcp.portfolio(ACCOUNT))["balance"] == D(100_000)


async def test_a_plan_does_not_stand_in_the_way_of_its_own_confirm(exec_mcp):
    exchange = await add_fake(exec_mcp)
    await snapshot(exec_mcp, "2000")
    made = await plan(exec_mcp, **ON_FAKE)
    second = await plan(exec_mcp, **ON_FAKE)

    done = await confirm(exec_mcp, made)

    assert second.code == "buying_power"
    assert (done.status, len(exchange.sent)) == ("executed", 1)


async def test_a_sale_is_bounded_by_what_the_exchange_says_is_there(exec_mcp):
    await add_fake(exec_mcp)
    await snapshot(exec_mcp, "5000", btc="1.999")

    made = await plan(exec_mcp, **{**ON_FAKE, "side": "sell"})

    assert made.code == "buying_power"
    assert told(made, "buying_power") == ("block", D(2))


async def test_a_paper_account_is_bounded_by_our_books_only(exec_mcp):
    await mirrored(exec_mcp)
    desk = exec_mcp.backend.desk

    def body(tx):
        account = accounts.find(tx, "paper:btc")
        assert account is not None
        ledger.keep_exchange_balance(tx, account.number, "USDT", D(0), D(0), to_row(tx.now))

    await desk.database.write(body)

    assert (await plan_btc(exec_mcp)).http == 201
