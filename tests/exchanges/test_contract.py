"""What every exchange must do, whatever it is. Runs on each plug-in that is found.

An exchange joins with a bench: how to build it here, and how to make it fail.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from backend import exchanges
from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.domain.money import to_text
from backend.domain.order import FINAL, Order, OrderState, OrderType
from backend.exchanges import Exchange
from backend.plugins import load
from tests.exchanges.scripted import START, D, Desk

pytestmark = pytest.mark.anyio
PLUGINS = load(exchanges)


@dataclass
class Bench:
    """One exchange under test.

    Attributes:
        sent: the orders of which a byte reached the exchange.
        order: builds an order that fills at once; a limit price makes it rest.
    """

    exchange: Exchange
    sent: list[Order]
    order: Callable[..., Order]
    fail_next: Callable[[str], object]


async def _paper(home: Path) -> Bench:
    desk = Desk(home)
    words = {
        "reject": desk.faults.reject,
        "unavailable": desk.faults.unavailable,
        "lose_answer": desk.faults.lose_answer,
        "lookup": desk.faults.fail_lookups,
    }
    return Bench(await desk.open(), desk.faults.sent, desk.order, lambda word: words[word]())


BENCHES: dict[str, Callable[[Path], Awaitable[Bench]]] = {"paper": _paper}


@pytest.fixture(params=sorted(PLUGINS))
async def bench(request, tmp_path):
    if request.param not in BENCHES:
        pytest.fail(f"add a bench for the exchange {request.param} to this module")
    built = await BENCHES[request.param](tmp_path)
    yield built
    await built.exchange.close()


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_every_plugin_declares_itself(name):
    module = PLUGINS[name]

    assert module.CAPABILITIES.order_types
    assert module.CAPABILITIES.absence_answers >= 1
    assert all(len(entry) == 2 and entry[1] for entry in module.SETTINGS.values())
    assert callable(module.connect)


async def test_a_submit_that_can_fill_answers_with_its_fills(bench):
    report = await bench.exchange.submit(bench.order("trd-1"))

    assert report.state is OrderState.FILLED
    assert report.filled_quantity == report.quantity == sum(f.quantity for f in report.fills)
    assert {f.client_order_id for f in report.fills} == {"trd-1"}


async def test_a_refusal_is_exchange_rejected_with_a_code(bench):
    bench.fail_next("reject")

    with pytest.raises(ExchangeRejected) as caught:
        await bench.exchange.submit(bench.order("trd-1"))

    assert caught.value.exchange_code
    assert await bench.exchange.find("trd-1", "AAPL") is None


async def test_a_failed_connection_is_exchange_unavailable_and_sends_nothing(bench):
    bench.fail_next("unavailable")

    with pytest.raises(ExchangeUnavailable):
        await bench.exchange.submit(bench.order("trd-1"))

    assert bench.sent == []


async def test_a_lost_answer_is_outcome_unknown_and_the_order_is_found(bench):
    bench.fail_next("lose_answer")

    with pytest.raises(OutcomeUnknown):
        await bench.exchange.submit(bench.order("trd-1"))

    found = await bench.exchange.find("trd-1", "AAPL")
    assert found is not None
    assert found.client_order_id == "trd-1"


@pytest.mark.parametrize("word", ["", "reject", "lose_answer"])
async def test_one_submit_is_at_most_one_request(bench, word):
    if word:
        bench.fail_next(word)

    with suppress(ExchangeRejected, OutcomeUnknown):
        await bench.exchange.submit(bench.order("trd-1"))

    assert [order.client_order_id for order in bench.sent] == ["trd-1"]


async def test_an_unseen_id_is_not_found(bench):
    assert await bench.exchange.find("trd-never", "AAPL") is None


async def test_a_look_up_without_an_answer_is_no_evidence(bench):
    await bench.exchange.submit(bench.order("trd-1"))
    bench.fail_next("lookup")

    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await bench.exchange.find("trd-1", "AAPL")


async def test_a_cancel_of_an_unknown_order_is_refused(bench):
    with pytest.raises(ExchangeRejected):
        await bench.exchange.cancel("trd-never", "AAPL")


async def test_a_resting_order_is_open_until_it_is_cancelled(bench):
    await bench.exchange.submit(bench.order("trd-1", limit_price="90"))

    before = [r.client_order_id for r in await bench.exchange.open_orders()]
    await bench.exchange.cancel("trd-1", "AAPL")

    assert before == ["trd-1"]
    assert await bench.exchange.open_orders() == []
    found = await bench.exchange.find("trd-1", "AAPL")
    assert found is not None
    assert found.state in FINAL


async def test_fills_are_told_once_each_whoever_asks(bench):
    report = await bench.exchange.submit(bench.order("trd-1"))

    found = await bench.exchange.find("trd-1", "AAPL")
    listed = await bench.exchange.fills("AAPL", START - timedelta(seconds=5))

    assert list(report.fills) == list(found.fills) == list(listed)
    ids = [f.exchange_fill_id for f in listed]
    assert len(ids) == len(set(ids))


async def test_history_lists_every_order_oldest_first(bench):
    for name in ("trd-1", "trd-2"):
        await bench.exchange.submit(bench.order(name))

    history = await bench.exchange.orders("AAPL", START - timedelta(seconds=5))

    assert [r.client_order_id for r in history] == ["trd-1", "trd-2"]


async def test_quantities_and_prices_come_back_exactly(bench):
    order = bench.order(
        "trd-1", symbol="BTC/USDT", side="sell", quantity="0.00002", limit_price="60000.01"
    )
    if OrderType.LIMIT not in bench.exchange.capabilities.order_types:
        pytest.skip("no limit orders")
    bench.fail_next("lose_answer")
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.submit(order)

    assert to_text(bench.sent[0].terms.quantity) == "0.00002"


async def test_a_stream_tells_every_report_in_sequence(bench):
    await bench.exchange.submit(bench.order("trd-1"))
    await bench.exchange.submit(bench.order("trd-2", limit_price="90"))
    seen = []

    async for event in bench.exchange.events(0):
        seen.append((event.sequence, event.report.client_order_id))
        if len(seen) == 2:
            break

    assert seen == [(1, "trd-1"), (2, "trd-2")]


async def test_balances_count_what_open_orders_need(bench):
    await bench.exchange.submit(bench.order("trd-1", limit_price="90"))

    usd = next(b for b in await bench.exchange.balances() if b.currency == "USD")

    assert usd.total - usd.free == D(900)


async def test_every_instrument_is_on_its_own_rules(bench):
    for instrument in await bench.exchange.instruments():
        assert instrument.tick_size > 0
        assert instrument.min_quantity % instrument.step_size == 0
        assert instrument.max_quantity % instrument.step_size == 0
        assert instrument.version
