"""F15, F16, F25, F29, F30, F32, F33-F36, F41, F42: resets, clocks, hands and rules."""

import asyncio
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.testing.answers import Answer
from tests.matrix.world import World, each_exchange, world

pytestmark = pytest.mark.anyio
D = Decimal
ACCOUNTS = "/api/v1/accounts"


async def held(w: World) -> Decimal:
    """Return what is reserved in the payment currency."""
    return D((await w.funds())[w.side.payment][1])


async def stop_all(w: World) -> Answer:
    return await w.stack.call(
        "engage_kill_switch", reason="enough", scope="account", account_id=w.account_id
    )


@each_exchange
async def test_f15_an_exchange_that_lost_orders_stops_the_account_and_nothing_is_deleted(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        filled = await w.do()
        resting = await w.do(limit_price="49000")
        await w.advance(31, 1)
        assert await w.stopped() is None
        w.side.reset()
        await w.until_absent()
        await w.advance(31, 31, 31)

        stopped, before = await w.stopped(), await held(w)
        found = [await w.look(one) for one in (filled, resting)]
        refused = await w.plan()
        reset = await w.stack.operator.post(f"{ACCOUNTS}/{w.account_id}/reset")
        after = [await w.look(one) for one in (filled, resting)]

        assert stopped is not None
        assert before >= D("490")
        assert [one.status for one in found] == ["executed", "working"]
        assert "was it reset?" in found[1]["incident"]
        assert refused.refused
        assert (reset.status_code, reset.json()["ended"]) == (200, [resting.trade_id]), reset.text
        assert [(one.status, one["reason"]) for one in after] == [
            ("executed", None),
            ("failed", "order_expired"),
        ]
        assert (await w.do()).status == "executed"
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f15_an_account_does_not_begin_anew_while_its_exchange_knows_what_it_filled(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w, w.listening():
        filled = await w.do()
        await w.comes_to(filled, "executed")
        await w.advance(31, 1)
        w.side.by_hand("0.5")  # Somebody trades by hand, and the account stops.
        await w.advance(3700, 31, 31)
        stopped, before = await w.stopped(), await w.funds()
        reset = await w.stack.operator.post(f"{ACCOUNTS}/{w.account_id}/reset")
        w.side.reset()
        await w.advance(31, 31)
        again = await w.stack.operator.post(f"{ACCOUNTS}/{w.account_id}/reset")

        assert stopped is not None
        assert (reset.status_code, reset.json()["code"]) == (400, "account_in_use"), reset.text
        assert reset.json()["live_orders"] == [filled.trade_id]
        assert D(before[w.side.base][0]) < D("10.5")
        assert again.status_code == 200, again.text
        w.side.touch("49991", "50001")
        await w.advance(1)
        assert (await w.do()).status == "executed"
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f16_a_clock_that_steps_revives_no_plan_and_sends_nothing_twice(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        early = await w.plan()
        w.step_clock(600)
        expired = await w.confirm(early)
        first, second = await w.plan(), await w.plan()
        w.step_clock(-10)
        behind, revived = await w.plan(), await w.confirm(early)
        w.step_clock(10)
        w.their_clock.off = timedelta()
        w.side.touch("49991", "50001")
        await w.advance(1, 1)
        third = await w.do()
        await w.advance(31, 1)

        assert (expired.status, revived.status) == ("expired", "expired")
        # What is signed with a wrong time is refused, and the exchange's clock read again.
        assert first.code == "exchange_unavailable"
        # Bitstamp's books tell their time: by ours they are too old.
        assert second.code == {"binance": None, "bitstamp": "stale_quote"}[exchange]
        assert behind.code == "clock"
        assert third.status == "executed"
        assert w.side.orders_received() == [third.trade_id]
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f25_f26_books_that_lost_an_order_take_it_up_again_from_the_send_journal(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        planned = await w.plan()
        lost = await restore_older(w, tmp_path / "copy.db")
        await w.advance(6, 31)
        status = await w.stack.call("risk_status", account_id=w.account_id)
        found = await w.look(lost)

        assert "restored" in status["quarantined"]
        assert (await w.look(planned))["reason"] == "quarantine"
        assert (found.status, found["order"]["state"]) == ("working", "open")
        assert await held(w) > 0
        assert len(w.side.orders_received()) == 1
        await w.agrees()


async def restore_older(w, copy):
    """Rest an order, then put back a copy of the books from before it; return its trade."""
    path = w.desk.database.path
    w.desk.database.backup(copy)
    lost = await w.do(limit_price="49000")
    await w.stack.stop()
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    shutil.copy(copy, path)
    await w.stack.start()
    return lost


async def roll_back(w, copy):
    """Rest an order, then put the volume back to before it, journal and all; return its trade."""
    path, journal = w.desk.database.path, w.desk.journal.path
    w.desk.database.backup(copy)
    lines = journal.read_bytes()
    lost = await w.do(limit_price="49000")
    await w.stack.stop()
    # Into the same files: nothing at home tells.
    path.write_bytes(copy.read_bytes())
    journal.write_bytes(lines)
    await w.stack.start()
    return lost


@each_exchange
async def test_f25_f26_books_that_lost_an_order_are_quarantined_and_attach_nothing(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        planned = await w.plan()
        lost = await roll_back(w, tmp_path / "copy.db")
        unaware = await w.stack.call("risk_status", account_id=w.account_id)
        await w.advance(6, 31)
        status = await w.stack.call("risk_status", account_id=w.account_id)
        refused = await w.plan()

        assert unaware["quarantined"] is None
        assert "restored" in status["quarantined"]
        assert refused.code == "quarantined"
        assert (await w.look(planned))["reason"] == "quarantine"
        assert (await w.look(lost)).code == "not_found"
        assert [(o.client_order_id, o.live) for o in w.side.theirs()] == [(lost.trade_id, True)]
        assert len(w.side.orders_received()) == 1


@each_exchange
async def test_f29_a_kill_switch_before_the_claim_sends_nothing_and_after_it_cancels(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        waiting = await w.plan()
        made = await w.plan(limit_price="49000")
        engaged: list[asyncio.Task[Answer]] = []

        async def engage() -> None:
            engaged.append(asyncio.create_task(stop_all(w)))
            await w.told_of("kill_switch.engaged")

        with w.after_claim(engage):
            told = await w.confirm(made)
        report = await engaged[0]
        dead, refused = await w.confirm(waiting), await w.plan()
        await w.advance(31)

        assert report["live_orders"] == [made.trade_id]
        assert report["cancelled_trades"] == [waiting.trade_id]
        assert told.status in ("working", "failed")
        assert (await w.look(made))["reason"] == "order_cancelled"
        assert (dead.status, refused.code) == ("cancelled", "kill_switch")
        assert w.side.orders_received() == [made.trade_id]
        assert not any(order.live for order in w.side.theirs())
        assert await held(w) == 0
        await w.agrees()


@each_exchange
async def test_f30_a_kill_switch_holds_though_its_cancels_fail_and_they_are_repeated(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        made = [await w.do(limit_price=price) for price in ("49000", "49001", "49002")]
        w.side.next_cancel("lose_request")
        w.side.next_cancel("lose_answer")
        report = await stop_all(w)
        left = sum(order.live for order in w.side.theirs())
        refused = await w.plan()
        await w.advance(31, 31)

        assert report["engaged"] is True
        assert [one["cancel_requested"] for one in report["cancel_requested"]] == [True] * 3
        assert (left, refused.code) == (1, "kill_switch")
        assert {(await w.look(one))["reason"] for one in made} == {"order_cancelled"}
        assert not any(order.live for order in w.side.theirs())
        await w.agrees()


@each_exchange
async def test_f32_an_account_with_a_live_order_is_not_deleted_and_its_key_goes_last(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        path = f"{ACCOUNTS}/{w.account_id}"
        working = await w.do(limit_price="49000")
        w.side.next_submit("lose_answer")
        unknown = await w.do()
        planned = await w.plan()
        refused = await w.stack.operator.delete(path)
        await w.advance(1)
        await w.stack.call("cancel_order", trade_id=working.trade_id)
        await w.advance(31, 1)
        await w.agrees()
        statuses = [(await w.look(one)).status for one in (working, unknown)]
        asked = len(w.side.orders_received())
        gone = await w.stack.operator.delete(path)
        await w.advance(31)
        dead = await w.confirm(planned)
        key = await w.desk.database.read(lambda tx: tx.value("SELECT COUNT(*) FROM credentials"))

        assert refused.json()["code"] == "account_in_use"
        assert set(refused.json()["live_orders"]) == {working.trade_id, unknown.trade_id}
        assert statuses == ["failed", "executed"]
        assert gone.status_code == 200
        assert dead.refused
        assert (key, len(w.side.orders_received())) == (0, asked)


@each_exchange
async def test_f33_f34_whatever_the_outcome_each_hold_is_used_or_given_back_once(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        expired, cancelled = await w.plan(), await w.plan("sell")
        await w.stack.cancel(cancelled)
        await w.stack.cancel(cancelled)
        await w.advance(60)
        w.side.next_submit("no_funds")
        done = [await w.do("sell"), await w.do(), await w.do("sell")]
        part = await w.do(quantity="0.02", limit_price="49995")
        w.side.stranger("sell", "49995", "0.005")
        await w.stack.call("cancel_order", trade_id=part.trade_id)
        w.side.next_submit("lose_request")
        absent = await w.do()
        await w.until_absent()
        await w.advance(31, 1)

        rows = await w.desk.database.read(lambda tx: tx.rows("SELECT * FROM holds"))
        every = [expired, cancelled, *done, part, absent]
        assert [(await w.look(one)).status for one in every] == [
            "expired",
            "cancelled",
            "failed",
            "executed",
            "executed",
            "executed",
            "failed",
        ]
        assert {row["trade_id"] for row in rows} == {one.trade_id for one in every}
        assert all(D(r["posted"]) + D(r["voided"]) == D(r["reserved"]) for r in rows)
        assert not any(row["open"] for row in rows)
        assert {reserved for _, reserved in (await w.funds()).values()} == {"0"}
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
@pytest.mark.parametrize("whose", ["cancelled by us", "cancelled by hand"])
async def test_f33_f34_what_an_order_had_locked_can_be_spent_when_it_has_ended(
    tmp_path, exchange, whose
):
    async with world(tmp_path / "home", exchange) as w:
        dear: dict[str, Any] = {"quantity": "22.5", "limit_price": "40000"}  # 90 % of the money.
        resting = await w.do(**dear)
        await w.advance(31, 1)
        await w.do()
        await w.advance(31, 1, 1)  # A snapshot is taken while it rests.
        locked = (await w.stack.portfolio(w.account_id))["buying_power"]
        if whose == "cancelled by us":
            await w.stack.call("cancel_order", trade_id=resting.trade_id)
        else:
            w.side.cancel_by_hand(resting.trade_id)
        await w.advance(31, 1, 31)
        again = await w.plan(**dear)

        assert locked < D(100_000)
        assert (await w.look(resting))["reason"] == "order_cancelled"
        assert again.status == "pending", again
        assert again["buying_power"] > D(90_000)
        assert (await w.confirm(again)).status == "working"
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f35_a_fee_that_rose_since_the_plan_needs_a_new_plan_if_more_must_be_reserved(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange, plan_ttl_s=600) as w:
        # Fees are kept for some minutes: those of the first plan end before the second does.
        await w.plan()
        await w.advance(299)
        made = await w.plan()
        w.side.set_fees("0.02")
        await w.advance(302)
        told = await w.confirm(made)
        again = await w.do()
        await w.advance(31, 1)

        # Binance takes the fee of a buy from what is bought: nothing more to reserve.
        if exchange == "binance":
            assert told.status == "executed"
        else:
            assert (told.code, told.status) == ("plan_changed", "pending")
        assert again.status == "executed"
        assert len(w.side.orders_received()) == (2 if exchange == "binance" else 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f36_a_rule_that_changed_rejects_or_refuses_and_nothing_is_rounded(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        unnoticed, noticed = await w.plan(), await w.plan()
        w.side.coarser()
        rejected = await w.confirm(unnoticed)
        await w.desk.markets.refresh(exchange, "testnet")
        refused = await w.confirm(noticed)
        again, fits = await w.plan(), await w.do(quantity="0.1")

        assert (rejected.status, rejected["reason"]) == ("failed", "rejected")
        assert (refused.code, refused.status) == ("step_size", "pending")
        assert again.code == "step_size"
        assert D("0.1") in again["nearest"]
        assert fits.status == "executed"
        assert w.side.orders_received() == [unnoticed.trade_id, fits.trade_id]
        await w.agrees()


@each_exchange
async def test_f41_trades_by_hand_are_tolerated_and_never_attached(tmp_path, exchange):
    follow = {"on_difference": "adjust"}
    async with world(tmp_path / "home", exchange, account=follow) as w, w.listening():
        w.side.next_submit("lose_request")
        lost = await w.do()
        w.side.by_hand("0.03")
        w.side.by_hand("0.01", "sell")
        w.side.by_hand("0.02", "buy", "48000")
        await w.until_absent()
        await w.advance(31, 31, 31)
        found = await w.look(lost)

        assert (found.status, found["reason"]) == ("failed", "absent")
        assert found.get("incident") is None
        booked = await w.desk.database.read(lambda tx: tx.value("SELECT COUNT(*) FROM fills"))
        assert booked == 0
        assert sum(order.live for order in w.side.theirs()) == 1
        assert (await w.do()).status == "executed"
        await w.advance(31, 31, 31)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_f41_a_trade_by_hand_stops_an_account_that_is_not_told_to_follow(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        w.side.by_hand("0.01")
        await w.do()
        await w.advance(31, 1, 31, 1)
        stopped = await w.stopped()
        body = {"reason": "it was me", "accept_exchange": True}
        resumed = await w.stack.operator.post(f"{ACCOUNTS}/{w.account_id}/resume", json=body)

        assert stopped is not None
        assert w.side.payment in stopped
        assert resumed.status_code == 200
        await w.agrees()


@each_exchange
async def test_f41_a_fill_that_could_be_ours_blocks_the_verdict_until_the_operator_settles(
    tmp_path, exchange
):
    follow = {"on_difference": "adjust"}
    async with world(tmp_path / "home", exchange, account=follow) as w:
        w.side.next_submit("lose_request")
        lost = await w.do()
        w.side.by_hand("0.01", "buy", "49995", "web_1")
        w.side.stranger("sell", "49995", "0.004")
        w.side.cancel_by_hand("web_1")
        await w.until_absent()
        blocked, before = await w.look(lost), await held(w)
        path = f"/api/v1/trading/trades/{lost.trade_id}/settle"
        body = {"outcome": "absent", "reason": "web_1 was mine"}
        settled = await w.stack.operator.post(path, json=body)
        await w.advance(1, 1, 1)

        assert blocked.status == "executing"
        assert "could be this one" in blocked["incident"]
        assert before > D("499")
        assert settled.status_code == 200, settled.text
        assert (await w.look(lost))["reason"] == "absent"
        assert await held(w) == 0
        assert await w.stopped() is not None


@each_exchange
async def test_f41_our_order_cancelled_and_renamed_by_hand_is_adopted_or_blocks_the_verdict(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        w.side.renames_cancelled()
        w.side.next_submit("lose_answer")
        made = await w.do(limit_price="49995")
        w.side.stranger("sell", "49995", "0.004")
        w.side.cancel_by_hand(made.trade_id)
        await w.until_absent()
        found = await w.look(made)

        if exchange == "binance":  # Only there does who cancels an order give it another name.
            assert found.status == "executing"
            assert "could be this one" in found["incident"]
            assert await held(w) > D("499")
            assert await w.stopped() is not None
        else:
            assert (found.status, found["order"]["filled_quantity"]) == ("executed", D("0.004"))
            await w.agrees()


@each_exchange
async def test_f42_an_account_is_configured_once_whatever_key_and_name_it_comes_with(
    tmp_path, exchange
):
    async with world(tmp_path / "home", exchange) as w:
        body: dict[str, Any] = {
            "exchange": exchange,
            "environment": "testnet",
            "currency": w.side.payment,
        }
        same = {"credentials": w.side.credentials, "identifier": w.side.identifier}
        another_key = {"credentials": w.side.new_credentials(), "name": "another"}
        renamed = {"credentials": w.side.credentials, "identifier": "somebody-else"}
        told = [
            await w.stack.operator.post(ACCOUNTS, json={**body, **one})
            for one in (same, another_key, renamed)
        ]

        codes = [(one.status_code, one.json()["code"]) for one in told]
        assert codes == [
            (400, "account_exists"),
            (400, "account_exists"),
            (400, "invalid_request"),
        ]
        assert (await w.do()).status == "executed"
        await w.agrees()
