"""User data streams of the Binance simulator: subscriptions, reports, bent events."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from .binance_client import Rest, sign, socket, trader

pytestmark = pytest.mark.anyio
RECORDED = Path(__file__).parents[3] / "shared/data/binance/user_data"
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "90.00",
}


async def test_user_stream_when_subscribed_then_no_snapshot_and_events_are_wrapped():
    async with trader() as (sim, clock, account, rest):
        await rest.limit("BUY", "1", "90.00")
        async with socket(sim.ws_api_url, clock, account) as ws:
            answer = await ws.signed("userDataStream.subscribe.signature")
            assert answer["result"] == {"subscriptionId": 0}
            assert await ws.events_so_far() == []
            await rest.limit("BUY", "2", "101.00")
            events = await ws.events_so_far()
            assert {event["subscriptionId"] for event in events} == {0}
            kinds = [(e["event"]["e"], e["event"].get("x")) for e in events]
            assert kinds == [
                ("executionReport", "NEW"),
                ("executionReport", "TRADE"),
                ("outboundAccountPosition", None),
            ]
            new, trade, position = (event["event"] for event in events)
            assert (new["w"], trade["w"]) == (True, False)
            assert new["T"] == trade["T"] == position["u"]
            assert new["I"] < trade["I"]
            assert {row["a"]: row["f"] for row in position["B"]} == {
                "USDT": "99708.00000000",
                "BTC": "11.99800000",
            }


async def test_user_stream_when_subscribed_twice_or_ended_then_2035_and_terminated():
    async with (
        trader(key_type="ed25519") as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        assert (await ws.ask("userDataStream.subscribe"))["status"] == 401
        await ws.signed("session.logon")
        assert (await ws.ask("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
        second = await ws.signed("userDataStream.subscribe.signature")
        assert second["error"]["code"] == -2035
        assert (await ws.ask("session.subscriptions"))["result"] == [{"subscriptionId": 0}]
        assert (await ws.ask("session.status"))["result"]["userDataStream"] is True
        assert (await ws.ask("userDataStream.unsubscribe"))["result"] == {}
        ended = await ws.event()
        assert ended == {
            "subscriptionId": 0,
            "event": {"e": "eventStreamTerminated", "E": clock.ms()},
        }
        await rest.limit("BUY", "1", "90.00")
        assert await ws.events_so_far() == []
        again = await ws.ask("userDataStream.subscribe")
        assert again["result"] == {"subscriptionId": 1}
        missing = await ws.ask("userDataStream.unsubscribe", subscriptionId=7)
        assert missing["error"]["code"] == -2036


async def test_logout_when_both_kinds_are_subscribed_then_only_the_sessions_own_ends():
    async with trader(key_type="ed25519") as (sim, clock, account, _):
        other = sim.add_account({"USDT": Decimal(500)})
        async with socket(sim.ws_api_url, clock, account) as ws:
            await ws.signed("session.logon")
            await ws.ask("userDataStream.subscribe")
            params = f"apiKey={other.key}&timestamp={clock.ms()}"
            await ws.ask(
                "userDataStream.subscribe.signature",
                apiKey=other.key,
                timestamp=clock.ms(),
                signature=sign(other, params),
            )
            await ws.ask("session.logout")
            assert (await ws.event())["subscriptionId"] == 0
            assert (await ws.ask("session.subscriptions"))["result"] == [{"subscriptionId": 1}]
            async with Rest(sim, clock, other) as rest:
                await rest.limit("BUY", "1", "90.00")
            assert {event["subscriptionId"] for event in await ws.events_so_far()} == {1}


async def test_cancel_event_when_an_order_goes_then_ids_are_swapped():
    async with (
        trader() as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        await ws.signed("userDataStream.subscribe.signature")
        await rest.limit("BUY", "1", "90.00", newClientOrderId="mine")
        await rest.cancel(orderId=1, newClientOrderId="ender")
        reports = [e["event"] for e in await ws.events_so_far() if "x" in e["event"]]
        assert [(r["x"], r["c"], r["C"]) for r in reports] == [
            ("NEW", "mine", ""),
            ("CANCELED", "ender", "mine"),
        ]


async def test_stop_event_when_it_fires_then_a_second_new_says_it_works():
    async with (
        trader() as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        sim.print_trade("BTCUSDT", "100.50")
        await ws.signed("userDataStream.subscribe.signature")
        named = {"quantity": "1", "price": "102.00", "stopPrice": "105.00", "timeInForce": "GTC"}
        await rest.order("BTCUSDT", "BUY", "STOP_LOSS_LIMIT", **named)
        sim.print_trade("BTCUSDT", "106.00")
        reports = [e["event"] for e in await ws.events_so_far() if "x" in e["event"]]
        assert [(r["x"], r["X"], r["w"], "W" in r) for r in reports] == [
            ("NEW", "NEW", False, False),
            ("NEW", "NEW", True, True),
            ("TRADE", "FILLED", False, True),
        ]
        assert len({r["i"] for r in reports}) == 1


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (
            {"type": "MARKET", "quantity": "12"},
            [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED")],
        ),
        (
            {
                "type": "LIMIT",
                "quantity": "12",
                "price": "101.00",
                "timeInForce": "FOK",
            },
            [("NEW", "NEW"), ("EXPIRED", "EXPIRED")],
        ),
    ],
)
async def test_events_when_an_order_expires_then_new_comes_first_and_the_reason_last(
    order, expected
):
    async with (
        trader() as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        await ws.signed("userDataStream.subscribe.signature")
        kind = order.pop("type")
        await rest.order("BTCUSDT", "BUY", kind, **order)
        reports = [e["event"] for e in await ws.events_so_far() if "x" in e["event"]]
        assert [(r["x"], r["X"]) for r in reports] == expected
        assert "eR" in reports[-1]
        assert {r["T"] for r in reports} == {clock.ms()}


async def test_amend_and_prevention_events_when_they_happen_then_they_have_their_words():
    async with (
        trader() as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        await rest.limit("SELL", "3", "100.50", newClientOrderId="old")
        await ws.signed("userDataStream.subscribe.signature")
        path = "/api/v3/order/amend/keepPriority"
        named = {"symbol": "BTCUSDT", "orderId": 1, "newQty": "2"}
        await rest.signed("PUT", path, **named, newClientOrderId="new")
        await rest.limit("BUY", "1", "100.50")
        reports = [e["event"] for e in await ws.events_so_far() if "x" in e["event"]]
        assert (reports[0]["x"], reports[0]["c"], reports[0]["C"]) == ("REPLACED", "new", "old")
        prevented = next(r for r in reports if r["x"] == "TRADE_PREVENTION")
        assert (prevented["X"], prevented["A"], prevented["i"]) == (
            "EXPIRED_IN_MATCH",
            "2.00000000",
            1,
        )


async def test_deposit_when_money_comes_then_a_balance_update_is_sent():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        await ws.signed("userDataStream.subscribe.signature")
        sim.deposit(account, "USDT", Decimal(5))
        now = clock.ms()
        position = (await ws.event())["event"]
        assert position["B"] == [{"a": "USDT", "f": "100005.00000000", "l": "0.00000000"}]
        assert (await ws.event())["event"] == {
            "e": "balanceUpdate",
            "E": now,
            "a": "USDT",
            "d": "5.00000000",
            "T": now,
        }


async def test_user_events_when_scripted_then_dropped_doubled_swapped_or_silent():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        await ws.signed("userDataStream.subscribe.signature")

        async def told() -> list[str]:
            sim.deposit(account, "USDT", Decimal(1))
            return [event["event"]["e"][:7] for event in await ws.events_so_far()]

        position, update = await told()
        sim.script_stream("user", "drop")
        assert await told() == [update]
        sim.script_stream("user", "duplicate", times=2)
        assert await told() == [position, position, update, update]
        sim.script_stream("user", "reorder")
        assert await told() == [update, position]
        sim.script_stream("user", "silent")
        assert await told() == []
        sim.withdraw("user")
        assert await told() == [position, update]


async def test_subscription_when_scripted_to_fail_then_it_does_once():
    async with trader() as (sim, clock, account, _), socket(sim.ws_api_url, clock, account) as ws:
        sim.script("userDataStream.subscribe.signature", "limited")
        answer = await ws.signed("userDataStream.subscribe.signature")
        assert (answer["status"], answer["error"]["code"]) == (429, -1003)
        assert (await ws.signed("userDataStream.subscribe.signature"))["status"] == 200


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded events are not here")
@pytest.mark.parametrize("pays_bnb", [False, True])
async def test_reports_when_compared_with_recorded_ones_then_they_have_the_same_fields(pays_bnb):
    name = "lean_WebSocketGlobalSpotMarketSubmitPartiallyFilledFilled.json"
    recorded = json.loads((RECORDED / name).read_text())
    funds = {"ACH": "5000", "BNB": "1"}
    async with (
        trader(funds, pays_bnb=pays_bnb) as (sim, clock, account, rest),
        socket(sim.ws_api_url, clock, account) as ws,
    ):
        sim.set_touch("BNBUSDT", "600.00", "600.02")
        sim.add_quote("ACHUSDT", "buy", "0.006550", "765")
        sim.add_quote("ACHUSDT", "buy", "0.006540", "9000")
        await ws.signed("userDataStream.subscribe.signature")
        await rest.order("ACHUSDT", "SELL", "MARKET", quantity="800")
        events = [e for e in await ws.events_so_far() if "x" in e["event"]]
        for event, real in zip(events, recorded, strict=True):
            assert set(event) == set(real)
            assert set(event["event"]) == set(real["event"])
            same = set(real["event"]) - set("EciITtOWnN")
            assert {k: event["event"][k] for k in same} == {k: real["event"][k] for k in same}
        assert [e["event"]["N"] for e in events] == [None, *["BNB" if pays_bnb else "USDT"] * 2]
