"""Bitstamp's account reads: balances, fees in percent, transactions, and the replay of events."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.simulators.bitstamp_client import Client, code_of, trading

pytestmark = pytest.mark.anyio
D = Decimal


async def test_a_balance_is_alone_when_its_currency_is_named():
    async with trading() as (_, client, _):
        assert await client.post("account_balances/usd/") == {
            "currency": "usd",
            "total": "100000.00",
            "available": "100000.00",
            "reserved": "0.00",
        }
        assert code_of(await client.post("account_balances/xyz/")) == "404.003"
        assert client.last.status_code == 404


async def test_fees_are_percent_strings_when_read():
    async with trading() as (_, client, _):
        row = await client.post("fees/trading/btcusd/")
        assert row == {
            "currency_pair": "btcusd",
            "market": "btcusd",
            "fees": {"maker": "0.30000", "taker": "0.40000"},
        }
        assert row in await client.post("fees/trading/")


async def test_a_transaction_row_mixes_types_when_it_is_a_trade():
    async with trading() as (_, client, _):
        order = await client.post("buy/btcusd/", amount="0.1", price="50000")
        row = (await client.post("user_transactions/"))[0]
        assert row == {
            "id": row["id"],
            "datetime": "2026-09-15 08:08:14",
            "type": "2",
            "fee": "20.00000",
            "eur": 0.0,
            "btc": "0.10000000",
            "usd": "-5000.00000000",
            "btc_usd": 50000,
            "order_id": int(order["id"]),
        }
        status = await client.status(id=order["id"])
        assert status["transactions"][0]["tid"] == row["id"]


async def test_transactions_page_by_offset_limit_sort_and_id_when_there_are_many():
    async with trading() as (_, client, _):
        for _ in range(5):
            await client.post("buy/market/btcusd/", amount="0.01")
        every = [row["id"] for row in await client.post("user_transactions/")]
        assert every == sorted(every, reverse=True)
        assert len(every) == 5

        async def ids(**params: str) -> list[int]:
            rows = await client.post("user_transactions/btcusd/", **params)
            return [row["id"] for row in rows]

        assert await ids(sort="asc") == every[::-1]
        assert await ids(offset="1", limit="2") == every[1:3]
        assert await ids(since_id=str(every[2]), limit="1", sort="asc") == every[:3][::-1]
        assert await ids(limit="0") == []
        for wrong in ({"limit": "1001"}, {"offset": "200001"}, {"sort": "up"}, {"limit": "-1"}):
            assert code_of(await client.post("user_transactions/", **wrong)) == "400.001"
        assert await client.post("user_transactions/ethusd/") == []


async def test_transactions_are_cut_by_time_when_asked_for_at_most_30_days():
    async with trading() as (_, client, clock):
        await client.post("buy/market/btcusd/", amount="0.01")
        clock.advance(10)
        await client.post("sell/market/btcusd/", amount="0.01")
        start = 1_789_459_694
        newer = await client.post("user_transactions/", since_timestamp=start + 5)
        assert [row["btc"] for row in newer] == ["-0.01000000"]
        older = await client.post("user_transactions/", until_timestamp=start + 5)
        assert [row["btc"] for row in older] == ["0.01000000"]
        answer = await client.post("user_transactions/", since_timestamp=start - 31 * 86400)
        assert code_of(answer) == "400.001"


async def test_a_deposit_is_a_row_of_its_own_when_money_moves():
    async with trading() as (sim, client, _):
        sim.move(client.account, "usd", D(50))
        sim.move(client.account, "btc", D("-0.5"))
        rows = await client.post("user_transactions/")
        assert [(row["type"], row.get("usd"), row.get("btc")) for row in rows] == [
            ("1", None, "-0.50000000"),
            ("0", "50.00000000", None),
        ]
        balances = await client.balances()
        assert (balances["usd"][0], balances["btc"][0]) == (100_050, D("1.5"))


async def test_events_replay_from_an_id_inclusive_to_an_id_exclusive_when_asked():
    async with trading() as (sim, client, _):
        order = await client.post("buy/btcusd/", amount="0.1", price="49000", client_order_id="c1")
        sim.set_touch("btcusd", D(48_000), D(48_500), D("0.04"), levels=1)
        await client.post("cancel_order/", id=order["id"])
        names = {"market": "btcusd", "order_source": "orderbook"}
        rows = await client.post("account_order_data/", **names)
        assert [row["event"] for row in rows] == [
            "order_created",
            "order_changed",
            "order_deleted",
        ]
        data = rows[1]["data"]
        assert rows[1] == {
            "event": "order_changed",
            "event_id": rows[1]["event_id"],
            "order_source": "orderbook",
            "trade_account_id": 0,
            "data": data,
        }
        assert (data["id"], data["id_str"]) == (int(order["id"]), order["id"])
        assert (data["amount_traded"], data["amount_str"]) == ("0.04000000", "0.06000000")
        assert data["client_order_id"] == "c1"
        first, second, third = (row["event_id"] for row in rows)
        cut = await client.post("account_order_data/", **names, since_id=second)
        assert [row["event_id"] for row in cut] == [second, third]
        cut = await client.post("account_order_data/", **names, since_id=first, until_id=third)
        assert [row["event_id"] for row in cut] == [first, second]
        turned = {"since_id": third, "until_id": first}
        assert code_of(await client.post("account_order_data/", **names, **turned)) == "400.083"
        cut = await client.post("account_order_data/", **names, until_id=second)
        assert [row["event_id"] for row in cut] == [first]


async def test_events_older_than_a_day_are_left_out_when_no_id_is_given():
    async with trading() as (_, client, clock):
        names = {"market": "btcusd", "order_source": "orderbook"}
        await client.post("buy/btcusd/", amount="0.1", price="49000")
        first = (await client.post("account_order_data/", **names))[0]["event_id"]
        clock.advance(86_401)
        assert code_of(await client.post("account_order_data/", **names)) == "404.008"
        rows = await client.post("account_order_data/", **names, since_id=first)
        assert rows[0]["event_id"] == first


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"order_source": "orderbook"}, "400.078"),
        ({"order_source": "orderbook", "market": "nopeusd"}, "400.079"),
        ({"order_source": "elsewhere", "market": "btcusd"}, "400.080"),
        ({"order_source": "orderbook", "market": "btcusd", "since_id": "x"}, "400.081"),
        ({"order_source": "orderbook", "market": "btcusd", "until_id": "x"}, "400.082"),
        ({"order_source": "orderbook", "market": "btcusd"}, "404.008"),
        ({"order_source": "stop_order", "market": "btcusd"}, "404.008"),
    ],
)
async def test_a_replay_is_refused_when_a_parameter_is_wrong_or_nothing_happened(
    params: dict[str, str], code: str
):
    async with trading() as (_, client, _):
        assert code_of(await client.post("account_order_data/", **params)) == code


async def test_events_of_other_accounts_are_not_told_when_replayed():
    async with trading() as (sim, client, _):
        await client.post("buy/btcusd/", amount="0.1", price="49000")
        async with Client(sim, sim.add_account({"usd": D(1)})) as other:
            names = {"market": "btcusd", "order_source": "orderbook"}
            assert code_of(await other.post("account_order_data/", **names)) == "404.008"


async def test_orders_and_events_are_a_sub_accounts_own_when_acted_for_by_header():
    async with trading() as (sim, client, _):
        sub = sim.add_account({"usd": D(10_000)}, parent=client.account)
        client.extra = {"X-Auth-Subaccount-Id": str(sub.trade_account_id)}
        order = await client.post("buy/btcusd/", amount="0.1", price="49000")
        names = {"market": "btcusd", "order_source": "orderbook"}
        rows = await client.post("account_order_data/", **names)
        assert rows[0]["trade_account_id"] == sub.trade_account_id
        assert rows[0]["data"]["trade_account_id"] == sub.trade_account_id
        client.extra = {}
        assert code_of(await client.status(id=order["id"])) == "404.002"
        assert await client.post("open_orders/") == []


async def test_money_is_conserved_when_many_orders_trade():
    async with trading() as (sim, client, _):
        for number in range(20):
            side = "buy" if number % 2 else "sell"
            await client.post(f"{side}/market/btcusd/", amount=f"0.0{number + 11}")
        moved = {"usd": D(0), "btc": D(0)}
        for row in await client.post("user_transactions/"):
            moved["usd"] += D(row["usd"]) - D(row["fee"])
            moved["btc"] += D(row["btc"])
        balances = await client.balances()
        assert balances["usd"][0] == 100_000 + moved["usd"]
        assert balances["btc"][0] == 2 + moved["btc"]
        assert len(sim.fills) == len(sim.orders) == 20
