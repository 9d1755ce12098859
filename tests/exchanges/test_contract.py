"""What every exchange must do, whatever it is. Runs on each plug-in that is found.

An exchange joins with a bench: how to build it here, and how to make it fail.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from backend import exchanges
from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.domain.money import to_text
from backend.domain.order import FINAL, OrderState
from backend.plugins import load
from tests.exchanges import binance_bench, bitstamp_bench, mirrored_bench
from tests.exchanges.bench import Bench
from tests.exchanges.scripted import START, D, Desk

pytestmark = pytest.mark.anyio
PLUGINS = load(exchanges)


async def _paper(home: Path) -> Bench:
    desk = Desk(home)
    words = {
        "reject": desk.faults.reject,
        "unavailable": desk.faults.unavailable,
        "lose_answer": desk.faults.lose_answer,
        "lookup": desk.faults.fail_lookups,
    }

    def sent() -> list[str]:
        return [order.client_order_id for order in desk.faults.sent]

    exchange = await desk.open()

    async def by_hand() -> None:
        await exchange.submit(desk.order("by-hand"))

    return Bench(
        exchange,
        symbol="AAPL",
        payment="USD",
        order=desk.order,
        far=D(90),
        fail_next=lambda word: words[word](),
        sent=sent,
        clock=desk.clock,
        identifier="main",
        exact="7",
        trade_by_hand=by_hand,
    )


# By exchange, and by what else there is to it.
BENCHES: dict[str, Callable[[Path], Awaitable[Bench]]] = {
    "paper": _paper,
    "paper mirrored": mirrored_bench.open_bench,
    "binance": binance_bench.open_bench,
    "bitstamp": bitstamp_bench.open_bench,
}


def test_every_exchange_has_a_bench():
    assert {name.split()[0] for name in BENCHES} == set(PLUGINS)


@pytest.fixture(params=sorted(BENCHES))
async def bench(request, tmp_path):
    built = await BENCHES[request.param](tmp_path)
    yield built
    await built.exchange.close()
    await built.stop()


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_every_plugin_declares_itself(name):
    module = PLUGINS[name]

    assert module.CAPABILITIES.order_types
    assert module.CAPABILITIES.absence_answers >= 1
    assert all(len(entry) == 2 and entry[1] for entry in module.SETTINGS.values())
    assert callable(module.connect)


async def settled(bench, order):
    """Submit, and look where the answer does not say how it ended."""
    report = await bench.exchange.submit(order)
    if report.state not in FINAL:
        report = await bench.exchange.find(order.client_order_id, bench.symbol)
    return report


async def test_an_order_that_can_fill_fills(bench):
    report = await settled(bench, bench.order("trd-1"))

    assert report.state is OrderState.FILLED
    assert report.filled_quantity == report.quantity == sum(f.quantity for f in report.fills)
    assert {f.client_order_id for f in report.fills} == {"trd-1"}


async def test_the_exchange_says_whose_account_it_is(bench):
    identity = await bench.exchange.identity()

    assert identity.identifier == bench.identifier
    assert identity.may_trade


async def test_what_was_cancelled_is_found_by_either_id(bench):
    report = await bench.exchange.submit(bench.order("trd-1", limit_price=bench.far))
    await bench.exchange.cancel("trd-1", bench.symbol)

    by_ours = await bench.exchange.find("trd-1", bench.symbol)
    by_theirs = await bench.exchange.find("trd-1", bench.symbol, report.exchange_order_id)

    assert by_ours == by_theirs
    assert by_ours.state is OrderState.CANCELLED
    assert by_ours.filled_quantity == 0


async def test_an_order_that_arrives_after_its_validity_is_refused(bench):
    order = bench.order("trd-1")
    bench.clock.advance(bench.exchange.capabilities.validity.total_seconds() + 1)

    with pytest.raises(ExchangeRejected):
        await bench.exchange.submit(order)

    assert await bench.exchange.find("trd-1", bench.symbol) is None


async def test_prepare_tells_the_exchanges_clock(bench):
    assert abs(await bench.exchange.prepare() - bench.clock()) < timedelta(seconds=1)


async def test_the_touch_of_its_own_book_is_told(bench):
    quote = await bench.exchange.quote(bench.symbol)

    assert quote is not None
    assert quote.bid < quote.ask
    assert quote.symbol == bench.symbol


async def test_what_others_trade_on_the_account_is_told_under_their_ids(bench):
    await bench.trade_by_hand()

    history = await bench.exchange.orders(bench.symbol, START - timedelta(seconds=5))
    fills = await bench.exchange.fills(bench.symbol, START - timedelta(seconds=5))

    assert len(history) == 1
    assert not history[0].client_order_id.startswith("trd-")
    assert {f.exchange_order_id for f in fills} == {history[0].exchange_order_id}


async def test_a_refusal_is_exchange_rejected_with_a_code(bench):
    bench.fail_next("reject")

    with pytest.raises(ExchangeRejected) as caught:
        await bench.exchange.submit(bench.order("trd-1"))

    assert caught.value.exchange_code
    assert await bench.exchange.find("trd-1", bench.symbol) is None


async def test_a_failed_connection_is_exchange_unavailable_and_sends_nothing(bench):
    bench.fail_next("unavailable")

    with pytest.raises(ExchangeUnavailable):
        await bench.exchange.submit(bench.order("trd-1"))

    assert bench.sent() == []


async def test_a_lost_answer_is_outcome_unknown_and_the_order_is_found(bench):
    bench.fail_next("lose_answer")

    with pytest.raises(OutcomeUnknown):
        await bench.exchange.submit(bench.order("trd-1"))

    found = await bench.exchange.find("trd-1", bench.symbol)
    assert found is not None
    assert found.client_order_id == "trd-1"


@pytest.mark.parametrize("word", ["", "reject", "lose_answer"])
async def test_one_submit_is_at_most_one_request(bench, word):
    if word:
        bench.fail_next(word)

    with suppress(ExchangeRejected, OutcomeUnknown):
        await bench.exchange.submit(bench.order("trd-1"))

    assert bench.sent() == ["trd-1"]


async def test_an_unseen_id_is_not_found(bench):
    assert await bench.exchange.find("trd-never", bench.symbol) is None


async def test_a_look_up_without_an_answer_is_no_evidence(bench):
    await bench.exchange.submit(bench.order("trd-1"))
    bench.fail_next("lookup")

    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await bench.exchange.find("trd-1", bench.symbol)


async def test_a_cancel_of_an_unknown_order_is_refused(bench):
    with pytest.raises(ExchangeRejected):
        await bench.exchange.cancel("trd-never", bench.symbol)


async def test_a_resting_order_is_open_until_it_is_cancelled(bench):
    await bench.exchange.submit(bench.order("trd-1", limit_price=bench.far))

    before = [r.client_order_id for r in await bench.exchange.open_orders()]
    await bench.exchange.cancel("trd-1", bench.symbol)

    assert before == ["trd-1"]
    assert await bench.exchange.open_orders() == []
    found = await bench.exchange.find("trd-1", bench.symbol)
    assert found is not None
    assert found.state in FINAL


async def test_fills_are_told_once_each_whoever_asks(bench):
    report = await settled(bench, bench.order("trd-1"))

    found = await bench.exchange.find("trd-1", bench.symbol)
    listed = await bench.exchange.fills(bench.symbol, START - timedelta(seconds=5))

    assert list(report.fills) == list(found.fills) == list(listed)
    ids = [f.exchange_fill_id for f in listed]
    assert len(ids) == len(set(ids))


async def test_history_lists_every_order_oldest_first(bench):
    for name in ("trd-1", "trd-2"):
        await bench.exchange.submit(bench.order(name))

    history = await bench.exchange.orders(bench.symbol, START - timedelta(seconds=5))

    assert [r.client_order_id for r in history] == ["trd-1", "trd-2"]


async def test_quantities_come_back_exactly(bench):
    order = bench.order("trd-1", quantity=bench.exact, limit_price=bench.far)
    bench.fail_next("lose_answer")
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.submit(order)

    found = await bench.exchange.find("trd-1", bench.symbol)

    assert found is not None
    assert to_text(found.quantity) == bench.exact


async def test_a_stream_begins_by_asking_for_a_look_and_tells_what_comes_after(bench):
    stream = bench.exchange.events()
    first = await anext(stream)

    await bench.exchange.submit(bench.order("trd-1"))
    await bench.exchange.submit(bench.order("trd-2", limit_price=bench.far))
    seen = {(await anext(stream)).report.client_order_id}
    while seen != {"trd-1", "trd-2"}:
        seen.add((await anext(stream)).report.client_order_id)

    assert first.report is None
    await stream.aclose()


async def test_balances_count_what_open_orders_need(bench):
    before = await paid(bench)
    order = bench.order("trd-1", limit_price=bench.far)

    await bench.exchange.submit(order)

    after = await paid(bench)
    assert after.total == before.total
    assert before.free - after.free >= order.terms.quantity * bench.far


async def paid(bench):
    return next(b for b in await bench.exchange.balances() if b.currency == bench.payment)


async def test_every_instrument_is_on_its_own_rules(bench):
    for instrument in (await bench.exchange.metadata()).instruments.values():
        assert instrument.tick_size > 0
        assert instrument.min_quantity % instrument.step_size == 0
        assert instrument.max_quantity % instrument.step_size == 0
        assert instrument.version
