"""Everything that can go wrong at Bitstamp on purpose: submits, cancels, look-ups, rollbacks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp.faults import Fault
from tests.simulators.bitstamp_client import Client, code_of, trading

pytestmark = pytest.mark.anyio
D = Decimal


async def buy(client: Client, client_id: str = "c1", price: str = "49000") -> Any:
    return await client.post("buy/btcusd/", amount="0.1", price=price, client_order_id=client_id)


async def lost(client: Client, client_id: str = "c1") -> None:
    """A submit whose answer does not come, or not whole."""
    with pytest.raises(httpx.RemoteProtocolError):
        await buy(client, client_id)


async def is_live(client: Client, client_id: str = "c1") -> bool:
    return "status" in (answer := await client.status(client_order_id=client_id)) and (
        answer["status"] == "Open"
    )


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        ("auth", 403, {"status": "error", "reason": "text", "code": "C"}),
        (
            "order",
            200,
            {
                "status": "error",
                "reason": {"__all__": ["text"]},
                "response_code": "C",
                "response_explanation": "text",
            },
        ),
        ("plain", 200, {"error": "text"}),
        ("derivatives", 400, {"code": "C", "message": "text", "field": "market"}),
        ("message", 401, {"message": "text"}),
    ],
)
async def test_a_submit_is_rejected_in_each_envelope_when_scripted(
    form: str, status: int, body: dict[str, Any]
):
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.reject("C", "text", form, status))
        assert await buy(client) == body
        assert client.last.status_code == status
        assert ("x-server-auth-signature" in client.last.headers) == (status == 200)
        assert sim.orders == []
        assert "id" in await buy(client)


async def test_error_replies_are_signed_when_told_to():
    async with trading() as (sim, client, _):
        sim.signs_errors = True
        sim.faults.next("submit", faults.reject("C", "text", status=400))
        await buy(client)
        assert "x-server-auth-signature" in client.last.headers


async def test_the_order_lives_when_only_the_answer_is_lost():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.lose_answer())
        await lost(client)
        assert await is_live(client)


async def test_nothing_was_placed_when_the_request_is_lost():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.lose_request())
        await lost(client)
        assert sim.orders == []
        assert await sim.deliver_late() == []


async def test_a_late_request_commits_when_it_arrives_within_150_s():
    async with trading() as (sim, client, clock):
        sim.faults.next("submit", faults.late())
        await lost(client)
        assert not await is_live(client)
        clock.advance(150)
        (reply,) = await sim.deliver_late()
        assert reply.status == 200
        assert await is_live(client)
        assert await sim.deliver_late() == []
        assert len(sim.orders) == 1


async def test_a_late_request_is_refused_when_its_signature_is_over_150_s_old():
    async with trading() as (sim, client, clock):
        sim.faults.next("submit", faults.late())
        await lost(client)
        clock.advance(150.001)
        (reply,) = await sim.deliver_late()
        assert (reply.status, b"API0017" in reply.body) == (403, True)
        assert sim.orders == []


async def test_a_late_cancel_takes_effect_when_it_arrives():
    async with trading() as (sim, client, _):
        await buy(client)
        sim.faults.next("cancel", faults.late())
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("cancel_order/", client_order_id="c1")
        assert await is_live(client)
        await sim.deliver_late()
        assert not await is_live(client)


async def test_the_order_is_named_and_live_when_500_016_is_answered():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.timed_out())
        answer = await buy(client)
        assert (client.last.status_code, code_of(answer)) == (200, "500.016")
        status = await client.status(id=answer["order_id"])
        assert (status["status"], status["client_order_id"]) == ("Open", "c1")


async def test_the_new_order_is_named_when_a_replacement_times_out():
    async with trading() as (sim, client, _):
        await buy(client)
        sim.faults.next("replace", faults.timed_out())
        names = {"orig_client_order_id": "c1", "client_order_id": "c2"}
        answer = await client.post("replace_order/", amount="0.2", price="49000", **names)
        assert code_of(answer) == "500.016"
        assert (await client.status(id=answer["order_id"]))["client_order_id"] == "c2"
        assert not await is_live(client, "c1")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("make", [faults.html_502, faults.could_not_be_placed])
async def test_the_answer_tells_nothing_when_committed_or_not(make: Any, committed: bool):
    async with trading() as (sim, client, _):
        sim.faults.next("submit", make(committed))
        answer = await buy(client)
        assert ("Bad Gateway" in str(answer)) or ("could not be placed" in answer["error"])
        assert await is_live(client) == committed


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("code", ["500.001", "500.007", "500.013", "500.019"])
async def test_a_5xx_code_tells_nothing_when_committed_or_not(code: str, committed: bool):
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.server_error(code, committed, 503))
        answer = await buy(client)
        assert (client.last.status_code, code_of(answer)) == (503, code)
        assert await is_live(client) == committed


async def test_the_body_breaks_off_and_the_order_lives_when_truncated():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.truncated())
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete|received"):
            await buy(client)
        assert await is_live(client)


async def test_the_servers_signature_is_missing_or_wrong_when_scripted():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.unsigned(), faults.missigned())
        for number, (present, valid) in enumerate([(False, False), (True, False), (True, True)]):
            body = f"amount=0.1&price=49000&client_order_id=c{number}"
            headers = client.headers("POST", "/api/v2/buy/btcusd/", "", body)
            assert "id" in await client.send("POST", "buy/btcusd/", "", body, headers)
            assert ("x-server-auth-signature" in client.last.headers) == present
            assert client.verifies(headers) == valid
            assert await is_live(client, f"c{number}")


async def test_an_order_is_unknown_to_lookups_when_hidden_until_unhidden():
    async with trading() as (sim, client, clock):
        sim.faults.next("submit", faults.hidden())
        order = await buy(client)
        assert code_of(await client.status(id=order["id"])) == "404.002"
        assert code_of(await client.status(client_order_id="c1")) == "404.002"
        assert await client.post("open_orders/") == []
        assert (await client.balances())["usd"][2] > 0
        sim.unhide()
        assert await is_live(client)
        clock.advance(10)
        assert len(await client.post("open_orders/")) == 1


async def test_an_order_bears_another_client_id_when_swapped():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.recorded_as("c2"))
        order = await buy(client)
        assert code_of(await client.status(client_order_id="c1")) == "404.002"
        assert (await client.status(client_order_id="c2"))["id"] == int(order["id"])


async def test_two_orders_live_when_one_request_is_doubled():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.doubled())
        await buy(client)
        assert [order.client_order_id for order in sim.orders] == ["c1", "c1"]
        assert len(await client.post("open_orders/")) == 2


@pytest.mark.parametrize(
    ("fault", "done"), [(faults.lose_answer(), True), (faults.lose_request(), False)]
)
async def test_a_cancel_is_done_or_not_when_its_answer_does_not_come(fault: Fault, done: bool):
    async with trading() as (sim, client, _):
        await buy(client)
        sim.faults.next("cancel", fault)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("cancel_order/", client_order_id="c1")
        assert await is_live(client) != done


async def test_a_cancel_stays_pending_when_slow_and_the_order_may_still_fill():
    async with trading() as (sim, client, _):
        for name in ("c1", "c2"):
            await buy(client, name, "49000" if name == "c1" else "49500")
            sim.faults.next("cancel", faults.cancel_pending())
            for _ in range(2):
                answer = await client.post("cancel_order/", client_order_id=name)
                assert (client.last.status_code, answer["status"]) == (200, "Cancel pending")
            assert await is_live(client, name)
        everything = await client.post("cancel_all_orders/")
        assert everything == {"canceled": [], "success": False}
        sim.set_touch("btcusd", D(49_200), D(49_300))
        assert (await client.status(client_order_id="c2"))["status"] == "Finished"
        sim.finish_cancels()
        assert (await client.status(client_order_id="c1"))["status"] == "Canceled"
        assert (await client.status(client_order_id="c2"))["status"] == "Finished"


async def test_a_lookup_fails_in_each_way_when_scripted():
    async with trading() as (sim, client, _):
        await buy(client)
        sim.faults.next(
            "order_status",
            faults.reject("API0006", "Account frozen", "auth", 403),
            faults.reject("", "Unauthorized", "message", 401),
            faults.rate_limited(),
            faults.rate_limited(200),
            faults.html_502(committed=False),
            faults.lose_request(),
        )
        seen = []
        for _ in range(5):
            await client.status(client_order_id="c1")
            seen.append(client.last.status_code)
        assert seen == [403, 401, 429, 200, 502]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.status(client_order_id="c1")
        assert sim.faults.unused == {}
        assert await is_live(client)


async def test_a_list_is_the_one_of_before_when_stale():
    async with trading() as (sim, client, clock):
        sim.faults.always("open_orders", faults.stale())
        await buy(client, "c1")
        assert await client.post("open_orders/") == []
        sim.faults.clear("open_orders")
        assert len(await client.post("open_orders/")) == 1
        await buy(client, "c2")
        clock.advance(60)
        sim.faults.always("open_orders", faults.stale())
        assert len(await client.post("open_orders/")) == 1
        sim.faults.clear()
        assert len(await client.post("open_orders/")) == 2


async def test_everything_fails_when_any_operation_is_scripted_until_cleared():
    async with trading() as (sim, client, _):
        sim.faults.always("*", faults.html_502(committed=False))
        for _ in range(2):
            assert "Bad Gateway" in await buy(client)
            assert "Bad Gateway" in await client.public("ticker/btcusd/")
        sim.faults.clear()
        assert "id" in await buy(client)


async def test_a_scripted_word_waits_when_other_calls_come_first():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.reject("C", "text"), faults.reject("D", "text"))
        assert isinstance(await client.post("account_balances/"), list)
        assert sim.faults.unused == {"submit": 2}
        assert [code_of(await buy(client)), code_of(await buy(client))] == ["C", "D"]
        assert "id" in await buy(client)


async def test_a_true_refusal_stands_when_a_lost_answer_was_scripted():
    async with trading() as (sim, client, _):
        sim.faults.next("submit", faults.timed_out())
        answer = await client.post("buy/btcusd/", amount="9", price="49000")
        assert code_of(answer) == "400.009"
        assert sim.orders == []


async def test_orders_vanish_with_their_fills_and_money_when_rolled_back():
    async with trading() as (sim, client, _):
        await buy(client, "c1")
        await buy(client, "c2", "50000")
        await buy(client, "c3")
        sim.roll_back(orders=2)
        assert [order.client_order_id for order in sim.orders] == ["c1"]
        assert sim.fills == []
        for name in ("c2", "c3"):
            assert code_of(await client.status(client_order_id=name)) == "404.002"
        balances = await client.balances()
        assert (balances["usd"][0], balances["btc"][0]) == (100_000, 2)
        assert balances["usd"][2] == D("0.1") * 49_000 * D("1.004")
        assert len(await client.post("open_orders/")) == 1
        assert await client.post("user_transactions/") == []
        rows = await client.post("account_order_data/", market="btcusd", order_source="orderbook")
        assert [row["data"]["client_order_id"] for row in rows] == ["c1"]


async def test_a_filled_order_is_open_again_when_its_last_fill_is_rolled_back():
    async with trading() as (sim, client, _):
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"), levels=2)
        order = await buy(client, "c1", "50001")
        assert len(sim.fills) == 2
        sim.roll_back(fills=1)
        status = await client.status(id=order["id"])
        assert (status["status"], status["amount_remaining"]) == ("Open", "0.05000000")
        assert len(status["transactions"]) == len(sim.fills) == 1
        assert (await client.balances())["btc"][0] == D("2.05")
        await client.post("cancel_order/", id=order["id"])
        assert (await client.balances())["usd"][2] == 0


async def test_a_market_orders_fill_is_gone_when_rolled_back():
    async with trading() as (sim, client, _):
        order = await client.post("buy/market/btcusd/", amount="0.1")
        sim.roll_back(fills=1)
        status = await client.status(id=order["id"])
        assert (status["amount_remaining"], status["transactions"]) == ("0.10000000", [])
        assert status["status"] == "Canceled"
        assert (await client.balances())["btc"][0] == 2


async def test_more_is_rolled_back_than_there_is_when_the_server_starts_anew():
    async with trading() as (sim, client, _):
        await buy(client, "c1", "50000")
        await buy(client, "c2")
        sim.roll_back(orders=9, fills=9)
        assert (sim.orders, sim.fills) == ([], [])
        assert (await client.balances())["usd"] == (100_000, 100_000, 0)


async def test_two_runs_are_alike_when_they_share_a_seed():
    ids = []
    for seed in (7, 7, 8):
        async with trading(seed=seed) as (_, client, _):
            ids.append((await buy(client))["id"])
    assert ids[0] == ids[1] != ids[2]
