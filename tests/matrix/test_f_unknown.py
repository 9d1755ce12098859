"""F05-F08, F31: nobody answered, or answered that nothing can be told."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.matrix.world import World, each_exchange, world
from tests.services.spoken import until

pytestmark = pytest.mark.anyio
D = Decimal
TAKEN = ("lose_answer", "error", "html", "truncated")


async def held(w: World) -> Decimal:
    """Return what is reserved in the payment currency."""
    return D((await w.funds())[w.side.payment][1])


@each_exchange
async def test_f05_a_timeout_of_an_order_that_is_live_keeps_the_hold_until_it_is_adopted(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = []
        for word in TAKEN:
            w.side.next_submit(word)
            made.append(await w.do())
        w.side.next_submit("lose_answer")
        resting = await w.do(limit_price="49000")
        before = await held(w)
        await w.advance(1)
        found = [await w.look(one) for one in (*made, resting)]

        assert [(one.status, one.refused) for one in made] == [("executing", False)] * 4
        assert "get_trade" in made[0]["next"]
        assert before > D("0.05") * 49000
        assert [one.status for one in found] == ["executed"] * 4 + ["working"]
        assert D("490") <= await held(w) < D("500")
        assert w.side.orders_received() == [one.trade_id for one in found]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f05_a_timeout_of_an_order_that_is_live_is_adopted_from_the_stream(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w, w.listening():
        w.side.next_submit("lose_answer")
        filled = await w.do()
        w.side.next_submit("lose_answer")
        resting = await w.do(limit_price="49000")

        await w.comes_to(filled, "executed")
        await w.comes_to(resting, "working", "open")
        told = await w.events("order.settled")
        for trade in (filled, resting):
            first = next(one for one in told if one["trade_id"] == trade.trade_id)
            assert first["detail"]["source"] == "stream"
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f06_a_timeout_of_an_order_that_is_not_live_is_proven_absent_and_not_before(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        lost = []
        for word in ("lose_request", "error_not_taken"):
            w.side.next_submit(word)
            lost.append(await w.do())
        before = await held(w)
        spacing = w.side.spacing_s
        await w.advance(1, 4, w.side.absent_after_s - 5, spacing)
        early = [await w.look(one) for one in lost]
        kept = await held(w)
        other = await w.do()
        await w.advance(spacing, spacing)
        found = [await w.look(one) for one in lost]

        assert [one.status for one in lost] == ["executing"] * 2
        assert [one.status for one in early] == ["executing"] * 2
        assert other.status == "executed"
        assert kept == before > 2 * D("499")
        assert [(one.status, one["reason"]) for one in found] == [("failed", "absent")] * 2
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f07_a_late_request_inside_its_validity_is_adopted_and_after_it_absent(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        w.side.next_submit("late")
        inside = await w.do()
        # Not found, again and again, and yet no evidence.
        await w.advance(*[(w.side.validity - timedelta(seconds=1)).total_seconds() / 8] * 8)
        meanwhile = await w.look(inside)
        await w.side.deliver_late()
        await w.advance(2)
        adopted = await w.look(inside)

        w.side.next_submit("late")
        outside = await w.do()
        await w.advance(w.side.validity.total_seconds() + 1)
        still = await w.look(outside)
        await w.side.deliver_late()
        await w.until_absent()
        gone = await w.look(outside)

        assert (inside.status, meanwhile.status, adopted.status) == (
            "executing",
            "executing",
            "executed",
        )
        assert (outside.status, still.status) == ("executing", "executing")
        assert (gone.status, gone["reason"]) == ("failed", "absent")
        assert [order.client_order_id for order in w.side.theirs()] == [inside.trade_id]
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f08_a_duplicate_id_is_looked_up_and_never_taken_for_a_rejection(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        there = await w.plan(limit_price="49000")
        w.side.by_hand("0.01", "buy", "49000", there.trade_id)
        w.side.next_submit("duplicate_id")
        told = [await w.confirm(there)]
        w.side.next_submit("duplicate_id")
        told.append(await w.do())
        before = await held(w)
        await w.advance(2)
        adopted = await w.look(there)
        await w.until_absent()
        gone = await w.look(told[1])

        assert [one.status for one in told] == ["executing"] * 2
        assert before > D("989")
        assert adopted.status == "working"
        assert (gone.status, gone["reason"]) == ("failed", "absent")
        assert [order.client_order_id for order in w.side.theirs()] == [there.trade_id]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f08_another_order_under_our_id_is_an_incident_and_never_attached(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        made = await w.plan(limit_price="49000")
        w.side.by_hand("0.02", "buy", "49000", made.trade_id)
        w.side.next_submit("duplicate_id")
        await w.confirm(made)
        await w.advance(2)
        await w.until_absent()
        found = await w.look(made)

        assert found.status == "executing"
        assert "another order under its id" in found["incident"]
        assert await w.stopped() is not None
        assert await held(w) > D("489")
        await w.agrees()


@each_exchange
async def test_f31_a_key_revoked_midway_is_no_evidence_and_a_new_key_resumes(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        w.side.next_submit("lose_answer")
        there = await w.do(limit_price="49000")
        w.side.next_submit("lose_request")
        gone = await w.do()
        planned = await w.plan()
        before = await held(w)
        w.side.revoke()

        rejected = await w.confirm(planned)
        after = await held(w)
        await w.until_absent()
        await w.until_absent()
        still = [(await w.look(one)).status for one in (there, gone)]
        kept = await held(w)
        counted = [(await w.order(one)).not_found for one in (there, gone)]
        path = f"/api/v1/accounts/{w.account_id}/credentials"
        theirs = {"credentials": w.side.others_credentials()}
        refused = await w.stack.operator.post(path, json=theirs)
        ours = {"credentials": w.side.new_credentials()}
        changed = await w.stack.operator.post(path, json=ours)
        await w.advance(1)
        await w.until_absent()
        found = [await w.look(one) for one in (there, gone)]

        assert (rejected.status, rejected["reason"]) == ("failed", "rejected")
        assert after < before
        assert (still, counted) == (["executing"] * 2, [0, 0])
        assert kept == after > D("989")
        assert (refused.status_code, changed.status_code) == (400, 200), changed.text
        assert [one.status for one in found] == ["working", "failed"]
        assert found[1]["reason"] == "absent"
        assert (await w.do()).status == "executed"
        await w.agrees()
        assert await w.stopped() is None


@pytest.mark.parametrize(
    ("exchange", "settings", "sent"),
    [
        ("binance", {"orders_over": "rest"}, False),
        ("binance", {"orders_over": "websocket"}, False),
        ("bitstamp", {}, True),  # One connection serves every key there: the old one still signs.
    ],
    ids=["binance-rest", "binance-websocket", "bitstamp"],
)
async def test_f31_a_key_replaced_between_claim_and_send_leaves_a_definite_outcome(
    tmp_path, exchange, settings, sent
):
    async with world(tmp_path / "home", exchange, settings) as w:
        made = await w.plan()
        path = f"/api/v1/accounts/{w.account_id}/credentials"

        async def replace() -> None:
            ours = {"credentials": w.side.new_credentials()}
            changed = await w.stack.operator.post(path, json=ours)
            assert changed.status_code == 200, changed.text

        with w.after_claim(replace):
            told = await w.confirm(made)
        kept = await held(w)

        assert (told.status, kept) == ("executed" if sent else "failed", D(0))
        assert told.get("reason") == (None if sent else "not_sent")
        assert w.side.orders_received() == [made.trade_id] * sent
        assert (await w.do()).status == "executed"
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@pytest.mark.parametrize(
    ("exchange", "settings"),
    [
        ("binance", {"orders_over": "rest"}),
        ("binance", {"orders_over": "websocket"}),
        ("bitstamp", {}),
    ],
    ids=["binance-rest", "binance-websocket", "bitstamp"],
)
async def test_f31_a_key_replaced_while_an_order_is_on_the_wire_proves_nothing_of_it(
    tmp_path, exchange, settings
):
    async with world(tmp_path / "home", exchange, settings) as w:
        made = await w.plan()
        w.side.next_submit("late")
        confirming = asyncio.create_task(w.confirm(made))
        await until(lambda: made.trade_id in w.side.orders_received(), 0.01)
        path = f"/api/v1/accounts/{w.account_id}/credentials"
        ours = {"credentials": w.side.new_credentials()}
        changed = await w.stack.operator.post(path, json=ours)
        told = await confirming
        await w.side.deliver_late()
        await w.advance(1, 31, 1)

        assert changed.status_code == 200, changed.text
        assert (told.refused, told.status in ("executing", "executed")) == (False, True)
        assert (await w.look(made)).status == "executed"
        assert w.side.orders_received() == [made.trade_id]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f31_a_revoked_key_is_not_presented_each_second(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        w.side.revoke()
        await w.stack.restart()  # Connected anew, the key is presented to prove the account.
        before = w.side.requests()
        await w.advance(*[1] * 60)
        asked = w.side.requests() - before
        health = (await w.stack.http.get("/health")).json()

        assert health["silent_accounts"] == 1
        assert 0 < asked <= 20
