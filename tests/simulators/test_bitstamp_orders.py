"""Bitstamp's order calls: placing, looking up, listing, cancelling, replacing; fees and holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.simulators.bitstamp_client import Client, code_of, trading

pytestmark = pytest.mark.anyio
D = Decimal


async def buy(client: Client, amount: str, price: str, **more: Any) -> Any:
    return await client.post("buy/btcusd/", amount=amount, price=price, **more)


async def test_a_limit_order_rests_and_reserves_its_fee_when_nothing_crosses():
    async with trading() as (_, client, _):
        order = await buy(client, "0.10000000", "49000", client_order_id="c1")
        assert order == {
            "id": order["id"],
            "market": "BTC/USD",
            "datetime": "2026-09-15 08:08:14.223000",
            "type": "0",
            "price": "49000",
            "amount": "0.10000000",
            "client_order_id": "c1",
        }
        assert isinstance(order["id"], str)
        assert (await client.balances())["usd"] == (100_000, D("95080.40"), D("4919.60"))
        status = await client.status(id=order["id"])
        assert status == {
            "id": int(order["id"]),
            "datetime": "2026-09-15 08:08:14.223000",
            "type": "0",
            "status": "Open",
            "market": "BTC/USD",
            "amount_remaining": "0.10000000",
            "client_order_id": "c1",
            "transactions": [],
        }


async def test_a_client_order_id_is_left_out_when_none_was_sent():
    async with trading() as (_, client, _):
        order = await buy(client, "0.1", "49000")
        assert "client_order_id" not in order
        assert "client_order_id" not in await client.status(id=order["id"])
        assert "client_order_id" not in (await client.post("open_orders/"))[0]


async def test_a_crossing_limit_order_fills_at_the_makers_prices_when_it_sweeps_levels():
    async with trading() as (sim, client, _):
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"))
        order = await buy(client, "0.12", "50001")
        status = await client.status(id=order["id"])
        assert (status["status"], status["amount_remaining"]) == ("Open", "0.02000000")
        assert [row["price"] for row in status["transactions"]] == [
            "50000.00000000",
            "50001.00000000",
        ]
        first = status["transactions"][0]
        assert first | {"tid": 0} == {
            "tid": 0,
            "price": "50000.00000000",
            "btc": "0.05000000",
            "usd": "2500.00000000",
            "fee": "10.00000",
            "datetime": "2026-09-15 08:08:14.223000",
            "type": 2,
        }
        assert isinstance(first["tid"], int)
        balances = await client.balances()
        spent = D("2500") + D("2500.05") + D("10") + D("10.00020")
        held = D("0.02") * 50_001 * D("1.004")
        assert balances["btc"][0] == D("2.1")
        assert balances["usd"] == (100_000 - spent, 100_000 - spent - held, held)


async def test_a_resting_order_pays_the_maker_fee_when_the_touch_crosses_it():
    async with trading() as (sim, client, _):
        order = await client.post("sell/btcusd/", amount="0.5", price="51000")
        assert (await client.balances())["btc"] == (2, D("1.5"), D("0.5"))
        sim.set_touch("btcusd", D(51_500), D(51_510), D("0.3"), levels=1)
        assert (await client.status(id=order["id"]))["amount_remaining"] == "0.20000000"
        sim.set_touch("btcusd", D(51_500), D(51_510), D("0.3"), levels=1)
        status = await client.status(id=order["id"])
        assert (status["status"], status["amount_remaining"]) == ("Finished", "0.00000000")
        assert [row["fee"] for row in status["transactions"]] == ["45.90000", "30.60000"]
        balances = await client.balances()
        assert balances["usd"][0] == 100_000 + 25_500 - D("76.5")
        assert balances["btc"] == (D("1.5"), D("1.5"), 0)
        assert sim.books["btcusd"].best_bid == 51_500


@pytest.mark.parametrize(
    ("flag", "amount", "price", "status", "remaining"),
    [
        ("ioc_order", "0.08", "50000", "Canceled", "0.03000000"),
        ("ioc_order", "0.05", "50000", "Finished", "0.00000000"),
        ("ioc_order", "0.05", "49999", "Canceled", "0.05000000"),
        ("fok_order", "0.08", "50000", "Canceled", "0.08000000"),
        ("fok_order", "0.08", "50001", "Finished", "0.00000000"),
        ("moc_order", "0.05", "50000", "Canceled", "0.05000000"),
        ("moc_order", "0.05", "49999", "Open", "0.05000000"),
    ],
)
async def test_an_order_ends_as_its_time_in_force_says_when_the_book_is_thin(
    flag: str, amount: str, price: str, status: str, remaining: str
):
    async with trading() as (sim, client, _):
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"))
        order = await buy(client, amount, price, **{flag: "True"})
        answer = await client.status(id=order["id"])
        assert (answer["status"], answer["amount_remaining"]) == (status, remaining)
        reserved = (await client.balances())["usd"][2]
        assert (reserved > 0) == (status == "Open")


async def test_a_daily_order_expires_when_midnight_utc_comes():
    async with trading() as (_, client, clock):
        order = await buy(client, "0.1", "49000", daily_order="True")
        clock.advance(15 * 3600 + 51 * 60 + 45)
        assert (await client.status(id=order["id"]))["status"] == "Open"
        clock.advance(1)
        assert (await client.status(id=order["id"]))["status"] == "Expired"
        assert (await client.balances())["usd"][2] == 0


async def test_a_gtd_order_expires_when_its_time_or_midnight_comes_first():
    async with trading() as (_, client, clock):
        stamp = 1_789_459_694_223
        order = await buy(client, "0.1", "49000", gtd_order="True", expire_time=stamp + 60_000)
        late = await buy(client, "0.1", "49000", gtd_order="True", expire_time=stamp + 999_999_999)
        clock.advance(59.999)
        assert (await client.status(id=order["id"]))["status"] == "Open"
        clock.advance(0.001)
        assert (await client.status(id=order["id"]))["status"] == "Expired"
        assert (await client.status(id=late["id"]))["status"] == "Open"
        clock.advance(16 * 3600)
        assert (await client.status(id=late["id"]))["status"] == "Expired"
        past = await buy(client, "0.1", "49000", gtd_order="True", expire_time=stamp)
        assert past["reason"] == {"expire_time": ["Expire time must be in the future."]}


async def test_a_market_order_takes_what_there_is_when_the_book_runs_out():
    async with trading() as (sim, client, _):
        sim.set_touch("btcusd", D(49_990), D(50_000), D("0.05"), levels=2)
        order = await client.post("buy/market/btcusd/", amount="0.3", client_order_id="m")
        status = await client.status(client_order_id="m")
        assert (status["id"], status["status"]) == (int(order["id"]), "Canceled")
        assert status["amount_remaining"] == "0.20000000"
        assert (await client.balances())["usd"][2] == 0


async def test_instant_orders_spend_counter_currency_when_asked_to():
    async with trading() as (_, client, _):
        bought = await client.post("buy/instant/btcusd/", amount="1004.00")
        assert bought["amount"] == "0.02000000"
        assert (await client.balances())["usd"][0] == 100_000 - 1004
        sold = await client.post("sell/instant/btcusd/", amount="0.01")
        assert sold["amount"] == "0.01000000"
        sold = await client.post("sell/instant/btcusd/", amount="499.90", amount_in_counter="True")
        assert (sold["amount"], sold["type"]) == ("0.01000000", "1")


@pytest.mark.parametrize(
    ("params", "code", "field", "text"),
    [
        ({"amount": "0.1", "price": "0"}, "400.001", "price", "greater than or equal to 1E-8"),
        ({"amount": "0.1", "price": "-5"}, "400.001", "price", "greater than or equal to 1E-8"),
        ({"amount": "0.1", "price": "49000.5"}, "400.001", "price", "no more than 0 decimal"),
        ({"amount": "0.123456789", "price": "49000"}, "400.001", "amount", "no more than 8"),
        ({"amount": "0", "price": "49000"}, "400.001", "amount", "greater than or equal"),
        ({"amount": "lots", "price": "49000"}, "400.001", "amount", "Enter a number"),
        ({"amount": "1e-3", "price": "49000"}, "400.001", "amount", "Enter a number"),
        ({"amount": "0.1"}, "400.001", "price", "required"),
        ({"amount": "0.0001", "price": "49000"}, "400.001", "__all__", "Minimum order size is 10"),
        ({"amount": "0.1", "price": "60001"}, "400.001", "__all__", "more than 20% above"),
        ({"amount": "3", "price": "49000"}, "400.009", "__all__", "You have only 100000.00 USD"),
        (
            {"amount": "0.1", "price": "49000", "ioc_order": "True", "fok_order": "True"},
            "400.024",
            "__all__",
            "Only one",
        ),
        (
            {"amount": "0.1", "price": "49000", "ioc_order": "True", "limit_price": "51000"},
            "400.025",
            "limit_price",
            "limit_price",
        ),
        (
            {"amount": "0.1", "price": "49000", "client_order_id": "c" * 181},
            "400.001",
            "client_order_id",
            "180 characters",
        ),
    ],
)
async def test_an_order_is_refused_with_status_200_when_it_breaks_a_rule(
    params: dict[str, str], code: str, field: str, text: str
):
    async with trading() as (sim, client, _):
        answer = await client.post("buy/btcusd/", **params)
        assert client.last.status_code == 200
        assert answer["status"] == "error"
        assert answer["response_code"] == code
        assert text in answer["response_explanation"]
        assert answer["reason"].get(field) == [answer["response_explanation"]]
        assert sim.orders == []
        sim.order_error_status = 400
        await client.post("buy/btcusd/", **params)
        assert client.last.status_code == 400


async def test_a_buy_is_refused_when_only_its_fee_is_not_covered():
    async with trading() as (_, client, _):
        assert code_of(await buy(client, "2", "49900")) == "400.009"
        assert code_of(await client.post("buy/market/btcusd/", amount="1.999")) == "400.009"
        assert "id" in await buy(client, "1.99", "49900")


async def test_a_sell_is_refused_when_too_much_or_too_far_below_the_market():
    async with trading() as (_, client, _):
        answer = await client.post("sell/btcusd/", amount="2.1", price="50500")
        assert "You have only 2.00 BTC available" in answer["response_explanation"]
        answer = await client.post("sell/btcusd/", amount="0.1", price="39000")
        assert "more than 20% below" in answer["response_explanation"]


async def test_an_order_is_refused_when_its_market_is_closed_unknown_or_a_derivative():
    async with trading() as (sim, client, _):
        order = await buy(client, "0.1", "49000")
        sim.change_market("btcusd", instant_and_market_orders="Disabled")
        answer = await client.post("buy/market/btcusd/", amount="0.1")
        assert code_of(answer) == "400.003"
        assert "id" in await buy(client, "0.1", "49000")
        sim.change_market("btcusd", trading="Disabled")
        assert code_of(await buy(client, "0.1", "49000")) == "400.003"
        canceled = await client.post("cancel_order/", id=order["id"])
        assert canceled["status"] == "Canceled"
        answer = await client.post("buy/nopeusd/", amount="0.1", price="1")
        assert (client.last.status_code, code_of(answer)) == (404, "404.003")
        answer = await client.post("buy/btcusd-perp/", amount="0.1", price="1")
        assert (client.last.status_code, answer["code"], answer["field"]) == (
            400,
            "API5506",
            "market",
        )


async def test_an_order_is_refused_when_the_account_may_not_trade_the_market():
    async with trading() as (sim, client, _):
        client.account = sim.add_account({"usd": D(1000)}, tradable=["ethusd"])
        assert await client.get("my_markets/") == [{"name": "ETH/USD", "url_symbol": "ethusd"}]
        assert code_of(await buy(client, "0.01", "49000")) == "403.001"


async def test_two_orders_live_and_the_newest_is_found_when_a_client_id_is_used_twice():
    async with trading() as (_, client, _):
        first = await buy(client, "0.1", "49000", client_order_id="same")
        second = await buy(client, "0.1", "49000", client_order_id="same")
        assert first["id"] != second["id"]
        assert (await client.status(client_order_id="same"))["id"] == int(second["id"])
        assert len(await client.post("open_orders/")) == 2


async def test_an_order_is_not_found_when_unknown_foreign_or_closed_for_30_days():
    async with trading() as (sim, client, clock):
        order = await buy(client, "0.1", "50000", client_order_id="c1")
        other = sim.add_account({"usd": D(1000)})
        async with Client(sim, other) as stranger:
            for names in ({"id": order["id"]}, {"client_order_id": "c1"}):
                assert code_of(await stranger.status(**names)) == "404.002"
        answer = await client.status(id="12")
        assert answer["response_explanation"] == "Order not found."
        assert code_of(await client.status()) == "400.001"
        clock.advance(30 * 86400)
        assert (await client.status(client_order_id="c1"))["status"] == "Finished"
        clock.advance(1)
        assert code_of(await client.status(client_order_id="c1")) == "404.002"


async def test_transactions_are_left_out_when_not_wanted():
    async with trading() as (_, client, _):
        order = await buy(client, "0.1", "50000")
        answer = await client.status(id=order["id"], omit_transactions="True")
        assert "transactions" not in answer


async def test_open_orders_are_ten_seconds_old_when_read_again():
    async with trading() as (_, client, clock):
        assert await client.post("open_orders/") == []
        order = await buy(client, "0.1", "49000", client_order_id="c1")
        clock.advance(9.999)
        assert await client.post("open_orders/all/") == []
        assert await client.post("open_orders/btcusd/") != []
        clock.advance(0.001)
        assert await client.post("open_orders/") == [
            {
                "id": order["id"],
                "datetime": "2026-09-15 08:08:14",
                "type": "0",
                "price": "49000",
                "amount": "0.10000000",
                "amount_at_create": "0.10000000",
                "market": "BTC/USD",
                "currency_pair": "BTC/USD",
                "client_order_id": "c1",
            }
        ]
        await client.post("cancel_order/", id=order["id"])
        assert len(await client.post("open_orders/")) == 1
        assert "currency_pair" not in (await client.post("open_orders/btcusd/"))[0]
        assert await client.post("open_orders/ethusd/") == []


async def test_a_cancel_answers_with_numbers_and_frees_the_hold_when_the_order_is_open():
    async with trading() as (_, client, _):
        order = await buy(client, "0.1", "49000", client_order_id="c1")
        assert await client.post("cancel_order/", client_order_id="c1") == {
            "id": int(order["id"]),
            "amount": 0.1,
            "price": 49000,
            "type": 0,
            "market": "BTC/USD",
            "status": "Canceled",
        }
        assert (await client.balances())["usd"] == (100_000, 100_000, 0)
        again = await client.post("cancel_order/", id=order["id"])
        assert (code_of(again), client.last.status_code) == ("404.002", 200)


async def test_cancel_all_takes_one_market_or_all_when_asked():
    async with trading() as (sim, client, _):
        sim.set_touch("ethusd", D(2468), D(2469))
        await buy(client, "0.1", "49000")
        await client.post("buy/ethusd/", amount="1", price="2400")
        answer = await client.post("cancel_all_orders/ethusd/")
        assert [row["market"] for row in answer["canceled"]] == ["ETH/USD"]
        answer = await client.post("cancel_all_orders/")
        assert [row["market"] for row in answer["canceled"]] == ["BTC/USD"]
        assert answer["success"] is True
        assert await client.post("cancel_all_orders/") == {"canceled": [], "success": True}


async def test_a_replaced_order_has_a_new_id_when_the_old_one_is_open():
    async with trading() as (_, client, _):
        order = await buy(client, "1", "49000", client_order_id="c1")
        answer = await client.post(
            "replace_order/",
            orig_client_order_id="c1",
            client_order_id="c2",
            amount="1.5",
            price="49500",
        )
        new = answer["order_id"]
        assert answer == {
            "order_id": new,
            "order_type": "BUY",
            "market": "BTC/USD",
            "amount": "1.50000000",
            "price": "49500",
            "datetime": "2026-09-15T08:08:14.223000Z",
            "orig_order_id": order["id"],
            "orig_client_order_id": "c1",
            "status": "Open",
        }
        assert (await client.status(id=order["id"]))["status"] == "Canceled"
        assert (await client.status(client_order_id="c2"))["id"] == int(new)
        assert (await client.balances())["usd"][2] == D("1.5") * 49_500 * D("1.004")


async def test_the_old_order_stays_when_its_replacement_is_refused():
    async with trading() as (_, client, _):
        order = await buy(client, "1", "49000", client_order_id="c1")
        answer = await client.post("replace_order/", id=order["id"], amount="3", price="49000")
        assert code_of(answer) == "400.009"
        assert (await client.status(id=order["id"]))["status"] == "Open"
        answer = await client.post("replace_order/", id="9", amount="3", price="49000")
        assert code_of(answer) == "404.002"


async def test_a_self_trade_costs_no_fee_and_is_marked_when_both_sides_are_ours():
    async with trading() as (_, client, _):
        maker = await client.post("sell/btcusd/", amount="0.1", price="49995")
        taker = await buy(client, "0.1", "49995")
        assert (await client.status(id=taker["id"]))["status"] == "Finished"
        balances = await client.balances()
        assert (balances["usd"][0], balances["btc"][0]) == (100_000, 2)
        rows = await client.post("user_transactions/")
        pairs = {(row["order_id"], row["self_trade_order_id"]) for row in rows}
        ids = int(maker["id"]), int(taker["id"])
        assert pairs == {ids, ids[::-1]}
        assert all(row["self_trade"] is True and row["fee"] == "0.00000" for row in rows)
