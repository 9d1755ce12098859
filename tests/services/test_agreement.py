"""Our books beside an exchange's own: what differs is named, what moves or is silent is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from backend.services import agreement, audit
from backend.services.agreement import Agreement, Verdict
from tests.matrix.world import World, each_exchange, world
from tests.services.spoken import change, confirm, plan

pytestmark = pytest.mark.anyio

FOREIGN = "trd-aaaaaaaaaaaaaaaaaaaa"


@asynccontextmanager
async def traded(home: Any, exchange: str) -> AsyncIterator[tuple[World, Any, Any]]:
    """Give a world with an executed trade and a resting one, and a cancelled and failed one."""
    async with world(home, exchange) as w:
        done = await w.do(quantity="0.02")
        await w.stack.cancel(await w.plan())
        w.side.next_submit("no_funds")
        await w.do(quantity="0.03")
        rests = await w.do(limit_price="40000")
        yield w, done, rests


async def compared(w: World) -> Agreement:
    """Compare the world's account."""
    found: Agreement = await agreement.with_exchange(w.desk, await w.account())
    return found


@each_exchange
async def test_what_agrees_is_said_to_and_nothing_is_changed(tmp_path, exchange):
    async with traded(tmp_path, exchange) as (w, _, _rests):
        sent = w.side.orders_received()
        books = await audit.invariants(w.desk)
        report = await audit.invariants(w.desk, exchange=True)

        (found,) = [one for one in report["exchanges"] if one["account_id"] == w.account_id]
        assert (found["verdict"], found["broken"], found["notes"]) == ("agrees", [], [])
        assert found["orders_compared"] == 3
        assert report["whole"]
        assert w.side.orders_received() == sent
        assert (await audit.invariants(w.desk))["audit_rows"] == books["audit_rows"]


# What is planted in our books, for a trade, how it is undone, and what is said of it.
PLANTED = (
    (
        "UPDATE fills SET trade_id = NULL WHERE trade_id = {done}",
        "UPDATE fills SET trade_id = {done} WHERE trade_id IS NULL",
        " of {done} is there, it is not booked here",
    ),
    (
        "UPDATE fills SET exchange_fill_id = 'x' || exchange_fill_id WHERE trade_id = {done}",
        "UPDATE fills SET exchange_fill_id = substr(exchange_fill_id, 2) WHERE trade_id = {done}",
        " of {done} is booked here, it is not there",
    ),
    (
        "UPDATE fills SET price = price || '1' WHERE trade_id = {done}",
        "UPDATE fills SET price = substr(price, 1, length(price) - 1) WHERE trade_id = {done}",
        " of {done} has other numbers there",
    ),
    (
        "UPDATE orders SET filled_quantity = '0.01' WHERE trade_id = {done}",
        "UPDATE orders SET filled_quantity = '0.02' WHERE trade_id = {done}",
        "{done} has 0.02 filled there, 0.01 here",
    ),
    (
        "UPDATE orders SET state = 'cancelled' WHERE trade_id = {rests}",
        "UPDATE orders SET state = 'open' WHERE trade_id = {rests}",
        "{rests} is live there, it ended here as cancelled",
    ),
    (
        "UPDATE trades SET side = 'sell' WHERE id = {rests}",
        "UPDATE trades SET side = 'buy' WHERE id = {rests}",
        "{rests} is a buy of",
    ),
    (
        "UPDATE trades SET quantity = '0.001' WHERE id = {rests}",
        "UPDATE trades SET quantity = '0.01' WHERE id = {rests}",
        "{rests} is of 0.01 there, of 0.001 here",
    ),
    (
        "UPDATE balances SET total = '1' || total WHERE currency = 'BTC'",
        "UPDATE balances SET total = substr(total, 2) WHERE currency = 'BTC'",
        "total of BTC: 10.0",
    ),
)


@each_exchange
async def test_what_differs_in_our_books_is_named(tmp_path, exchange):
    async with traded(tmp_path, exchange) as (w, done, rests):
        ids = {"done": done.trade_id, "rests": rests.trade_id}
        quoted = {name: f"'{trade_id}'" for name, trade_id in ids.items()}
        for planted, undone, says in PLANTED:
            await change(w.stack, planted.format(**quoted))
            found = await compared(w)
            await change(w.stack, undone.format(**quoted))

            assert found.verdict is Verdict.DIFFERS, planted
            assert any(says.format(**ids) in text for text in found.broken), found
        assert (await compared(w)).verdict is Verdict.AGREES


@each_exchange
async def test_what_differs_at_the_exchange_is_named(tmp_path, exchange):
    async with traded(tmp_path, exchange) as (w, done, rests):
        w.side.by_hand(price="39000", client_order_id=FOREIGN)
        foreign = await compared(w)
        w.side.by_hand(price="39000", client_order_id=done.trade_id)
        doubled = await compared(w)
        w.side.reset()
        lost = await compared(w)

        assert foreign.broken == [f"order {FOREIGN} there is not in these books"]
        assert any(f"{done.trade_id} is 2 orders there: " in text for text in doubled.broken)
        assert f"{done.trade_id} is filled here, the exchange does not know it" in lost.broken
        assert f"{rests.trade_id} is open here, the exchange does not know it" in lost.broken


@each_exchange
async def test_what_moves_or_is_silent_is_not_called_different(tmp_path, exchange):
    async with traded(tmp_path, exchange) as (w, _, rests):
        w.side.touch("39000", "39500")
        moved = await compared(w)
        await w.advance(31, 31)
        settled = await compared(w)
        w.side.next_submit("lose_answer")
        lost = await w.do(quantity="0.04")
        unsettled = await compared(w)
        silent = {}
        for word in ("lost", "denied", "html", "limited"):
            w.side.look_ups(word)
            silent[word] = await compared(w)
            w.side.look_ups(None)

        for found in silent.values():
            assert (found.verdict, found.broken) == (Verdict.NOT_CHECKED, [])
            assert found.notes[-1].startswith("no answer: ")
        assert (moved.verdict, moved.broken) == (Verdict.NOT_COMPARABLE, [])
        assert f"{rests.trade_id} ended there as filled, it is open here still" in moved.notes
        assert settled.verdict is Verdict.AGREES, settled
        assert (unsettled.verdict, unsettled.broken) == (Verdict.NOT_COMPARABLE, [])
        assert f"{lost.trade_id} is unknown: its outcome is not known yet" in unsettled.notes


async def test_paper_is_compared_as_any_other(exec_mcp):
    done = await confirm(exec_mcp, await plan(exec_mcp))
    await confirm(exec_mcp, await plan(exec_mcp, order_type="limit", limit_price="200"))
    desk = exec_mcp.backend.desk

    (agrees,) = await agreement.with_all(desk)
    await change(exec_mcp, "UPDATE balances SET total = '7' WHERE currency = 'AAPL'")
    (total,) = await agreement.with_all(desk)
    await change(exec_mcp, "UPDATE fills SET fee = '1' WHERE trade_id = ?", done.trade_id)
    (fill,) = await agreement.with_all(desk)

    assert (agrees.verdict, agrees.compared, agrees.notes) == (Verdict.AGREES, 2, [])
    assert total.broken == ["total of AAPL: 10 there, 7 here"]
    assert any("has other numbers there" in text for text in fill.broken)


async def test_a_paper_account_that_was_reset_agrees(exec_mcp):
    await confirm(exec_mcp, await plan(exec_mcp))
    reset = await exec_mcp.operator.post("/api/v1/accounts/paper:main/reset")
    (found,) = await agreement.with_all(exec_mcp.backend.desk)

    assert reset.status_code == 200
    assert (found.verdict, found.broken, found.notes) == (Verdict.AGREES, [], [])
    assert Decimal(reset.json()["balances"]["USD"]) == 100_000


@pytest.mark.parametrize("word", ["perhaps", "1", "", "true&exchange=true"])
async def test_another_word_for_the_exchange_is_refused(exec_mcp, word):
    told = await exec_mcp.operator.get(f"/api/v1/audit/invariants?exchange={word}")

    assert (told.status_code, told.json()["code"]) == (400, "invalid_request")
