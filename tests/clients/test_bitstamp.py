"""ccxt's `bitstamp` lives the whole life of an order against our Bitstamp simulator."""

from decimal import Decimal
from typing import Any

import pytest

from backend.domain.clock import system_clock
from tests.clients.programs import needs_clients, run_client
from tests.simulators.bitstamp import Account, Simulator

pytestmark = [pytest.mark.anyio, needs_clients]
D = Decimal


def exact(value: Any) -> Decimal:
    """The client calculates in doubles: what it shows is what is compared."""
    return D(str(value))


async def test_ccxt_trades_on_the_simulated_bitstamp():
    async with Simulator(system_clock) as sim:
        account = sim.add_account({"usd": D(10_000), "btc": D(1)})
        sim.set_touch("btcusd", D(49_990), D(50_000))
        saw = await run_client("ccxt_bitstamp", sim.rest_url, account.key, account.secret)
    rested, bought, sold = sim.orders

    _knows_the_market(sim, saw)
    assert saw["resting"]["id"] == str(rested.order_id)
    assert saw["resting"]["clientOrderId"] == rested.client_order_id == "ccxt-rests"
    assert saw["looked_up"]["status"] == "open"
    assert [one["id"] for one in saw["listed"]] == [str(rested.order_id)]
    assert (saw["cancelled"]["status"], saw["after_cancel"]["status"]) == ("canceled",) * 2
    assert (rested.status, rested.remaining) == ("Canceled", rested.quantity)
    assert (saw["filled"]["status"], saw["sold_after"]["status"]) == ("closed", "closed")
    for order, seen in ((bought, saw["filled"]), (sold, saw["sold_after"])):
        assert (seen["id"], order.status) == (str(order.order_id), "Finished")
        assert exact(seen["filled"]) == order.quantity - order.remaining
    _booked_the_same(sim, saw)
    _owns_the_same(account, saw)
    # A refusal is told in the exchange's own words.
    kind, text = saw["refused"]
    assert kind == "InvalidOrder"
    assert "Minimum order size is 10 USD." in text


def _knows_the_market(sim: Simulator, saw: Any) -> None:
    row = sim.engine.markets["btcusd"].row
    assert len(saw["markets"]) == len(sim.engine.markets)
    assert exact(saw["market"]["precision"]["amount"]) == D(1).scaleb(-row["base_decimals"])
    assert exact(saw["market"]["precision"]["price"]) == D(1).scaleb(-row["counter_decimals"])
    assert exact(saw["market"]["limits"]["cost"]["min"]) == D(row["minimum_order_value"])
    assert [exact(price) for price, *_ in saw["touch"]] == [D(49_990), D(50_000)]


def _booked_the_same(sim: Simulator, saw: Any) -> None:
    seen = [
        (
            trade["id"],
            trade["order"],
            trade["side"],
            *(exact(trade[name]) for name in ("amount", "price")),
            exact(trade["fee"]["cost"]),
            trade["fee"]["currency"],
        )
        for trade in saw["trades"]
    ]
    assert seen == [
        (
            str(fill.trade.trade_id),
            str(fill.order.order_id),
            fill.order.side,
            *(fill.trade.quantity, fill.trade.price),
            fill.fee,
            "USD",
        )
        for fill in sim.fills
    ]
    assert [fill[5] for fill in seen] == [D(4), D("0.9998")]


def _owns_the_same(account: Account, saw: Any) -> None:
    assert saw["before"] == {"BTC": 1, "USD": 10_000}
    total = {name: exact(value) for name, value in saw["after"]["total"].items()}
    assert total == {name.upper(): value for name, value in account.balances.items()}
    assert total == {"BTC": D("1.015"), "USD": D("9244.9502")}
    assert set(saw["after"]["used"].values()) == {0}
