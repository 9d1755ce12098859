"""What all accounts share: rules, limits, the exchange's clock; and how one connects."""

from datetime import timedelta

import pytest

from backend.domain.errors import (
    ExchangeRejected,
    ExchangeUnavailable,
    ExecError,
    OutcomeUnknown,
    RateLimited,
)
from backend.domain.ledger import FeeSchedule
from backend.domain.secret import Secret
from backend.exchanges import AccountKey, Context, bitstamp
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp.market import clock_offset
from backend.wire import Answer
from tests.exchanges.bitstamp_bench import Desk, a_key
from tests.exchanges.scripted import START, D, FrozenClock, ScriptedPrices
from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp.faults import Fault
from tests.simulators.http import Reply

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path) as opened:
        yield opened


# --- rules ---


async def test_the_documents_are_fetched_whole_and_read(desk):
    content = await desk.market.fetch_metadata()

    found = desk.market.read_metadata(content, START)

    assert b'"networks"' in content
    assert b"btcusd-perp" in content
    assert "BTC/USD" in found.instruments
    assert "BTC/USD-PERP" not in found.instruments
    assert found.currencies["BTC"].kind == "crypto"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.html_502(False), OutcomeUnknown),
        (faults.lose_request(), OutcomeUnknown),
        (faults.rate_limited(), RateLimited),
    ],
)
async def test_documents_that_do_not_come_are_no_documents(desk, fault, error):
    desk.sim.faults.next("markets", fault)

    with pytest.raises(error):
        await desk.market.fetch_metadata()


async def test_metadata_is_the_catalogues(desk):
    exchange = await desk.connect()
    with pytest.raises(ExchangeUnavailable):
        await exchange.metadata()

    loaded = await desk.catalogue.load("bitstamp", "testnet")

    assert await exchange.metadata() is loaded


async def test_fees_are_fractions_and_kept_for_some_minutes(desk):
    exchange = await desk.connect()

    first = await exchange.fees("BTC/USD")
    await exchange.fees("ETH/USD")
    asked = sum(seen.path == "/api/v2/fees/trading/" for seen in desk.sim.requests)
    desk.account.taker_percent = D("0.5")
    desk.clock.advance(301)

    assert first == FeeSchedule(maker=D("0.003"), taker=D("0.004"), currency="quote")
    assert asked == 1
    assert (await exchange.fees()).taker == D("0.005")


async def test_an_account_without_volume_pays_the_first_tier(desk):
    exchange = await desk.connect()

    assert await exchange.fees() == desk.market.fees


# --- limits ---


async def test_accounts_of_one_environment_share_its_limits(desk):
    first = await desk.connect()
    other = desk.sim.add_account({"usd": D(1)})
    second = await bitstamp.connect(a_key(other), desk.catalogue.context)
    await first.balances()
    await second.balances()

    assert desk.market.budget.used("requests") == 2


async def test_look_ups_leave_room_for_orders_and_cancels(desk):
    exchange = await desk.connect()
    for _ in range(200):
        desk.market.budget.take(Purpose.LOOK_UP, requests=1)

    with pytest.raises(RateLimited):
        await exchange.balances()
    await exchange.submit(desk.order(limit_price="45000"))
    await exchange.cancel("trd-1", "BTC/USD")

    assert [order.status for order in desk.sim.orders] == ["Canceled"]


@pytest.mark.parametrize(
    ("told", "pause_s"),
    [("7", 7), ("", 1), ("soon", 1), ("99999", 600), ("9" * 5000, 1)],
)
async def test_retry_after_is_obeyed_within_reason(desk, told, pause_s):
    page = Reply(429, b"{}", {"Retry-After": told})
    desk.sim.faults.next("markets", Fault(page=page))
    with pytest.raises(RateLimited):
        await desk.market.fetch_metadata()

    desk.clock.advance(pause_s - 0.5)
    with pytest.raises(RateLimited):
        desk.market.budget.take(Purpose.CANCEL, requests=1)
    desk.clock.advance(0.5)
    desk.market.budget.take(Purpose.CANCEL, requests=1)


async def test_a_pause_that_quotes_are_told_to_make_is_everybodys(desk):
    page = Reply(429, b"", {"Retry-After": "60"})
    desk.sim.faults.next("order_book", Fault(page=page))

    assert await desk.market.prices.quote("BTC/USD") is None

    desk.clock.advance(59)
    with pytest.raises(RateLimited):
        desk.market.budget.take(Purpose.CANCEL, requests=1)


# --- the clock ---


@pytest.mark.parametrize(
    ("told_s", "sent_s", "received_s", "expected_s"),
    [
        (0, 0.0, 0.2, 0),
        (0, 0.9, 0.99, 0),
        (5, 0.0, 0.2, 4.8),
        (-5, 0.0, 0.2, -5.2),
        (0, 1.5, 1.6, -1.6),
    ],
)
def test_our_clock_stands_unless_a_whole_second_proves_it_wrong(
    told_s, sent_s, received_s, expected_s
):
    told, sent, received = (START + timedelta(seconds=s) for s in (told_s, sent_s, received_s))

    assert clock_offset(told, sent, received) == timedelta(seconds=expected_s)


async def test_the_exchanges_clock_is_learnt_where_it_is_told(desk):
    market = desk.market
    market.learn(Answer(200, {"date": "Tue, 26 May 2026 14:01:40 GMT"}, b""), START)

    assert market.now() == START + timedelta(seconds=100)
    for told in ("yesterday", "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0001 00:00:00 GMT"):
        market.learn(Answer(200, {"date": told}, b""), START)
        assert market.now() == START + timedelta(seconds=100)


@pytest.mark.parametrize(
    "page",
    [
        Reply(502, b"<html>"),
        Reply(403, b'{"status":"error","code":"API0005"}'),
        Reply(200, b"{}"),
    ],
    ids=["a proxy's", "unsigned error", "unsigned"],
)
async def test_no_clock_is_learnt_from_what_may_be_a_proxys_answer(desk, page):
    exchange = await desk.connect()
    desk.sim.faults.next("order_status", Fault(page=page))
    desk.sim.clock = FrozenClock(START + timedelta(seconds=100))

    with pytest.raises(ExecError):
        await exchange.find("trd-1", "BTC/USD")

    assert desk.market.now() == START
    await exchange.balances()
    assert desk.market.now() == START + timedelta(seconds=100)


async def test_a_refused_timestamp_lets_the_clock_be_measured_before_the_next(desk):
    desk.clock = FrozenClock(START + timedelta(seconds=200))  # The simulator's stays.
    desk.catalogue = desk.another_catalogue()
    exchange = await desk.connect()
    with pytest.raises(ExchangeRejected):
        await exchange.find("trd-1", "BTC/USD")

    assert await exchange.find("trd-1", "BTC/USD") is None

    assert await exchange.now() == START


async def test_a_clock_that_was_put_back_is_measured_anew(desk):
    exchange = await desk.connect()
    await exchange.now()
    desk.clock.advance(-60)

    await exchange.now()

    assert len(desk.sim.requests) == 2


async def test_an_exchange_that_answers_an_error_is_not_ready(desk):
    exchange = await desk.connect()
    desk.sim.faults.next("ticker", faults.html_502(False))

    with pytest.raises(ExchangeUnavailable):
        await exchange.prepare()


async def test_the_clock_is_asked_for_when_nothing_was_heard_for_a_while(desk):
    exchange = await desk.connect()
    await exchange.now()
    await exchange.now()
    once = len(desk.sim.requests)
    desk.clock.advance(21)

    await exchange.prepare()
    await exchange.now()

    assert (once, len(desk.sim.requests)) == (1, 2)


async def test_an_exchange_that_does_not_answer_is_not_ready(desk):
    exchange = await desk.connect()
    desk.refuse_connections()

    with pytest.raises(ExchangeUnavailable):
        await exchange.prepare()


# --- connecting ---


@pytest.mark.parametrize(
    "addresses",
    [
        ("live",),
        ("testnet",),
        ("http://127.0.0.1:1",),
        ("https://example.org", "wss://example.org"),
    ],
)
def test_only_two_addresses_on_this_machine_are_a_simulator(tmp_path, addresses):
    context = Context(
        tmp_path, FrozenClock(), ScriptedPrices(FrozenClock()), simulators={"bitstamp": addresses}
    )

    with pytest.raises(ValueError, match="simulator"):
        bitstamp.open_market("testnet", context)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"subaccount": "7"}, "subaccount_id"),
        ({"subaccount_id": "x"}, "digits"),
        ({"subaccount_id": "-1"}, "digits"),
        ({"subaccount_id": "007"}, "digits"),
    ],
)
async def test_a_setting_that_is_unknown_or_malformed_is_refused(desk, settings, words):
    with pytest.raises(ValueError, match=words):
        await desk.connect(**settings)


SHOWN = "s3cretS3cretS3cret"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"api_key": SHOWN},
        {"api_key": SHOWN, "api_secret": SHOWN, "passphrase": SHOWN},
        {"api_key": SHOWN, "api_secret": f"{SHOWN}\n"},
        {"api_key": "", "api_secret": SHOWN},
        {"api_key": f"{SHOWN} {SHOWN}", "api_secret": SHOWN},
    ],
)
async def test_a_credential_that_is_missing_or_malformed_is_refused_and_never_shown(desk, parts):
    secrets = {name: Secret(text) for name, text in parts.items()}
    account = AccountKey("bitstamp", "1", "testnet", "USD", {}, secrets)

    with pytest.raises(ValueError, match="api_key|api_secret") as caught:
        await bitstamp.connect(account, desk.catalogue.context)

    assert SHOWN not in str(caught.value)


async def test_simulators_stand_for_the_testnet_only(desk):
    assert desk.market.addresses.rest == desk.sim.rest_url
    live = bitstamp.open_market("live", desk.catalogue.context)
    assert live.addresses.rest == "https://www.bitstamp.net"
    assert live.host == "www.bitstamp.net"
    await live.close()


@pytest.mark.parametrize("environment", ["demo", "paper", ""])
async def test_an_environment_that_is_not_there_is_refused(desk, environment):
    with pytest.raises(ValueError, match="live"):
        bitstamp.open_market(environment, desk.catalogue.context)


@pytest.mark.parametrize(
    "fault",
    [
        faults.lose_answer(),
        faults.html_502(True),
        faults.missigned(),
        faults.reject("400.009", "You have only 1 USD."),
        faults.reject("API0005", "Invalid signature", "auth", 403),
    ],
)
async def test_r67_no_error_shows_a_key_a_signature_or_a_request(desk, fault):
    exchange = await desk.connect()
    for operation in ("submit", "order_status", "cancel"):
        desk.sim.faults.next(operation, fault)
    attempts = (
        exchange.submit(desk.order(limit_price="45000")),
        exchange.find("trd-1", "BTC/USD"),
        exchange.cancel("trd-1", "BTC/USD"),
    )
    for attempt in attempts:
        with pytest.raises(ExecError) as caught:
            await attempt
        error = caught.value
        shown = f"{error!r} {error} {vars(error)} {error.__cause__!r} {exchange!r}"
        assert error.__cause__ is None
        for secret in secrets_of(desk):
            assert secret not in shown


def secrets_of(desk):
    found = {desk.account.key, desk.account.secret}
    for headers in desk.sim.headers:
        found |= {value for name, value in headers.items() if name.startswith("x-auth-sig")}
    return found
