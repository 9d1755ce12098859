"""ccxt and python-binance live the whole life of an order against our Binance simulator."""

from decimal import Decimal
from typing import Any

import pytest

from backend.domain.clock import system_clock
from tests.clients.programs import needs_clients, run_client
from tests.simulators.binance import Account, Simulator

pytestmark = [pytest.mark.anyio, needs_clients]
D = Decimal


def exact(value: Any) -> Decimal:
    """ccxt calculates in doubles: what it shows is what is compared."""
    return D(str(value))


async def live(script: str, environment: str = "live") -> tuple[Simulator, Account, Any]:
    """Return the simulator and its account afterwards, and what the client saw."""
    async with Simulator(system_clock, environment=environment) as sim:
        account = sim.add_account({"USDT": D(10_000), "BTC": D(1)})
        sim.set_touch("BTCUSDT", "49990", "50000")
        return sim, account, await run_client(script, sim.rest_url, account.key, account.secret)


async def test_ccxt_trades_on_the_simulated_binance():
    sim, account, saw = await live("ccxt_binance")
    rested, bought, sold, stopped = sim.orders

    _ccxt_knows_the_market(sim, saw)
    assert saw["resting"]["clientOrderId"] == rested.client_id == "ccxt-rests"
    assert (saw["looked_up"]["status"], saw["looked_up"]["id"]) == ("open", str(rested.order_id))
    assert [one["id"] for one in saw["listed"]] == [str(rested.order_id)]
    assert (saw["cancelled"]["status"], rested.status) == ("canceled", "CANCELED")
    assert saw["stop"]["status"] == "open"
    assert exact(saw["stop"]["triggerPrice"]) == stopped.stop_price == 41_000
    assert (saw["stop_ended"]["status"], stopped.status) == ("canceled", "CANCELED")
    for order, seen in ((bought, saw["bought"]), (sold, saw["sold"])):
        assert (seen["status"], order.status) == ("closed", "FILLED")
        assert (exact(seen["filled"]), exact(seen["cost"])) == (
            order.executed,
            order.executed_quote,
        )
    assert [one["id"] for one in saw["closed"]] == [str(o.order_id) for o in (bought, sold)]
    assert [one["id"] for one in saw["every"]] == [str(o.order_id) for o in sim.orders]
    _ccxt_booked_the_same(sim, saw)
    _ccxt_owns_the_same(account, saw)
    # A refusal is told in the exchange's own words.
    kind, text = saw["refused"]
    assert kind == "BadRequest"
    assert '{"code":-1013,"msg":"Filter failure: NOTIONAL"}' in text


def _ccxt_knows_the_market(sim: Simulator, saw: Any) -> None:
    filters = sim.world.instruments["BTCUSDT"].filters
    precision, limits = saw["market"]["precision"], saw["market"]["limits"]
    assert len(saw["markets"]) == len(sim.world.instruments)
    assert exact(precision["price"]) == D(filters["PRICE_FILTER"]["tickSize"])
    assert exact(precision["amount"]) == D(filters["LOT_SIZE"]["stepSize"])
    assert exact(limits["amount"]["max"]) == D(filters["LOT_SIZE"]["maxQty"])
    assert exact(limits["cost"]["min"]) == D(filters["NOTIONAL"]["minNotional"])
    assert exact(limits["market"]["max"]) == D(filters["MARKET_LOT_SIZE"]["maxQty"])
    assert [exact(price) for price, *_ in saw["touch"]] == [D(49_990), D(50_000)]


def _ccxt_booked_the_same(sim: Simulator, saw: Any) -> None:
    seen = [
        (
            *(trade[name] for name in ("id", "order", "side", "takerOrMaker")),
            *(exact(trade[name]) for name in ("amount", "price")),
            *(exact(trade["fee"]["cost"]), trade["fee"]["currency"]),
        )
        for trade in saw["trades"]
    ]
    assert seen == [
        (
            *(str(fill.trade_id), str(fill.order_id), "buy" if fill.is_buyer else "sell", "taker"),
            *(fill.quantity, fill.price, fill.fee, fill.fee_asset),
        )
        for fill in sim.fills
    ]
    assert [fill[6:] for fill in seen] == [(D("0.00002"), "BTC"), (D("0.24995"), "USDT")]


def _ccxt_owns_the_same(account: Account, saw: Any) -> None:
    total = {name: exact(value) for name, value in saw["after"]["total"].items() if value}
    owned = {name: held.free + held.locked for name, held in account.balances.items()}
    assert total == {name: value for name, value in owned.items() if value}
    assert total == {"BTC": D("1.01498"), "USDT": D("9249.70005")}
    assert set(saw["after"]["used"].values()) == {0}


@pytest.mark.parametrize("environment", ["testnet", "live"])
async def test_python_binance_trades_on_the_simulated_binance(environment):
    sim, account, saw = await live("python_binance", environment)
    rested, bought, spent, sold = sim.orders

    assert saw["info"] == sim.world.instruments["BTCUSDT"].row()
    assert (saw["pinged"], saw["tested"]) == ({}, {})
    assert (saw["touch"]["bidPrice"], saw["touch"]["askPrice"]) == (
        *("49990.00000000", "50000.00000000"),
    )
    assert (saw["looked_up"]["orderId"], saw["looked_up"]["status"]) == (rested.order_id, "NEW")
    assert [one["clientOrderId"] for one in saw["listed"]] == [rested.client_id] == ["pb-rests"]
    assert (saw["cancelled"]["status"], rested.status) == ("CANCELED", "CANCELED")
    for order, seen in ((bought, saw["bought"]), (spent, saw["spent"]), (sold, saw["sold"])):
        assert (seen["clientOrderId"], seen["status"]) == (order.client_id, "FILLED")
        assert D(seen["cummulativeQuoteQty"]) == order.executed_quote
        assert [fill["tradeId"] for fill in seen["fills"]] == [f.trade_id for f in order.fills]
    assert spent.executed_quote == 100
    assert [(one["orderId"], one["status"]) for one in saw["every"]] == [
        (order.order_id, order.status) for order in sim.orders
    ]
    assert [_numbers(trade) for trade in saw["trades"]] == [
        (fill.trade_id, fill.order_id, fill.quantity, fill.price, fill.fee, fill.fee_asset)
        for fill in sim.fills
    ]
    assert {row["asset"]: D(row["free"]) for row in saw["after"]} == {
        name: held.free for name, held in account.balances.items()
    }
    assert saw["refused"] == [400, -1013, "Filter failure: NOTIONAL"]


def _numbers(trade: Any) -> tuple[Any, ...]:
    numbers = (D(trade[name]) for name in ("qty", "price", "commission"))
    return (trade["id"], trade["orderId"], *numbers, trade["commissionAsset"])
