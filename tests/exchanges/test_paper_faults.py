"""Every word of the fault script does to the paper exchange what it says."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.domain.order import OrderState
from tests.exchanges.scripted import START, D, Desk, totals
from tests.services.spoken import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(tmp_path):
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("word", "arguments", "error", "sent", "booked"),
    [
        ("accept", (), None, 1, True),
        ("lose_request", (), OutcomeUnknown, 1, False),
        ("lose_answer", (), OutcomeUnknown, 1, True),
        ("reject", ("min_notional",), ExchangeRejected, 1, False),
        ("delay", (5,), OutcomeUnknown, 1, False),
        ("partial", (D(4),), None, 1, True),
        ("unavailable", (), ExchangeUnavailable, 0, False),
    ],
)
async def test_a_submit_ends_as_the_script_says(desk, word, arguments, error, sent, booked):
    exchange = await desk.open()
    getattr(desk.faults, word)(*arguments)

    if error is None:
        await exchange.submit(desk.order())
    else:
        with pytest.raises(error):
            await exchange.submit(desk.order())

    assert (len(desk.faults.attempts), len(desk.faults.sent)) == (1, sent)
    assert (await exchange.find("trd-1", "AAPL") is not None) is booked
    await exchange.close()


async def test_faults_are_taken_in_order_one_per_submit(desk):
    exchange = await desk.open()
    desk.faults.lose_request().accept().reject("insufficient_funds")
    answers = []

    for i in range(4):
        try:
            answers.append(str((await exchange.submit(desk.order(f"trd-{i}"))).state))
        except (OutcomeUnknown, ExchangeRejected) as error:
            answers.append(type(error).__name__)

    assert answers == ["OutcomeUnknown", "filled", "ExchangeRejected", "filled"]
    await exchange.close()


async def test_a_lost_answer_to_a_refused_order_is_unknown_and_absent(desk):
    exchange = await desk.open()
    desk.faults.lose_answer()

    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order(quantity="99999"))

    assert await exchange.find("trd-1", "AAPL") is None
    await exchange.close()


@pytest.mark.parametrize(
    ("delay_s", "found"), [(1, True), (2, False), (3, False)], ids=["valid", "due", "late"]
)
async def test_a_delayed_request_is_refused_once_its_validity_has_passed(desk, delay_s, found):
    exchange = await desk.open()
    desk.faults.delay(delay_s)
    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())
    before = await exchange.find("trd-1", "AAPL")

    desk.clock.advance(delay_s)

    assert before is None
    assert (await exchange.find("trd-1", "AAPL") is not None) is found
    await exchange.close()


@pytest.mark.parametrize("changes", [{}, {"limit_price": "90"}], ids=["market", "limit"])
async def test_a_partial_fill_is_then_cancelled(desk, changes):
    exchange = await desk.open()
    desk.faults.partial(D(4))

    report = await exchange.submit(desk.order(**changes))

    assert (report.state, report.filled_quantity) == (OrderState.CANCELLED, D(4))
    assert sum(f.quantity for f in report.fills) == D(4)
    assert (await totals(exchange))["AAPL"] == "4"
    await exchange.close()


async def test_a_hidden_order_is_not_found_for_a_while(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order())
    desk.faults.hide(2)

    looks = [await exchange.find("trd-1", "AAPL") is not None for _ in range(3)]

    assert looks == [False, False, True]
    await exchange.close()


async def test_an_order_can_be_hidden_until_a_time_from_every_look_up(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order())
    desk.faults.hide_until(START + timedelta(seconds=10))

    hidden = [
        await exchange.find("trd-1", "AAPL"),
        *await exchange.orders("AAPL", START),
        *await exchange.fills("AAPL", START),
    ]
    desk.clock.advance(10)

    assert hidden == [None]
    assert await exchange.find("trd-1", "AAPL") is not None
    await exchange.close()


async def test_failed_look_ups_raise_and_are_no_evidence(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order())
    desk.faults.fail_lookups(1).fail_lookups(1, unavailable=True)

    with pytest.raises(OutcomeUnknown):
        await exchange.find("trd-1", "AAPL")
    with pytest.raises(ExchangeUnavailable):
        await exchange.open_orders()
    assert await exchange.find("trd-1", "AAPL") is not None
    await exchange.close()


async def test_stale_rules_refuse_what_the_told_rules_allow(desk):
    exchange = await desk.open()
    desk.faults.stale_rules("AAPL", step_size=D(100), min_quantity=D(100))

    told = (await exchange.metadata()).instruments["AAPL"]
    with pytest.raises(ExchangeRejected) as caught:
        await exchange.submit(desk.order())

    assert told.step_size == 1
    assert caught.value.exchange_code == "step_size"
    await exchange.close()


async def _first_events(exchange, count):
    stream = exchange.told_since(0)
    return [(await anext(stream)).sequence for _ in range(count)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), [1, 2]),
        (("duplicate_events",), [1, 1, 2, 2]),
        (("reorder_events",), [2, 1]),
        (("reorder_events", "duplicate_events"), [2, 2, 1, 1]),
    ],
)
async def test_the_stream_is_disturbed_as_told(desk, words, expected):
    exchange = await desk.open()
    for i in (1, 2):
        await exchange.submit(desk.order(f"trd-{i}"))
    for word in words:
        getattr(desk.faults, word)()

    assert await _first_events(exchange, len(expected)) == expected
    await exchange.close()


async def test_a_dropped_stream_breaks_once_and_can_be_resumed(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order())
    desk.faults.drop_stream()

    with pytest.raises(ExchangeUnavailable, match="stream"):
        await anext(exchange.told_since(0))

    assert await _first_events(exchange, 1) == [1]
    await exchange.close()


async def test_a_book_that_cannot_be_opened_is_an_exchange_that_is_not_there(desk, tmp_path):
    exchange = await desk.open()
    await exchange.close()
    (tmp_path / "paper.db").write_bytes(b"not a database" * 500)

    with pytest.raises(ExchangeUnavailable):
        await desk.connect()


async def test_a_stream_ends_when_it_is_cancelled_just_as_news_come(desk):
    exchange = await desk.open()
    heard = []

    async def listen():
        async with aclosing(exchange.events()) as events:
            async for event in events:
                heard.append(event)

    listening = asyncio.create_task(listen())
    await until(lambda: heard)
    for _ in range(5):
        await asyncio.sleep(0)  # Until it waits for news.
    await exchange.submit(desk.order())
    listening.cancel()
    await asyncio.wait({listening}, timeout=2)

    assert listening.cancelled()
    await exchange.close()
