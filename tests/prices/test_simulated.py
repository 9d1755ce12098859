"""Simulated prices are lifelike, exact and the same everywhere."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from backend.prices import LISTINGS
from backend.prices.simulated import SimulatedPrices
from tests.exchanges.scripted import START, FrozenClock

pytestmark = pytest.mark.anyio
SYMBOLS = sorted(LISTINGS)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_quote_is_ordered_on_tick_and_near_its_level(symbol):
    listing = LISTINGS[symbol]
    prices = SimulatedPrices(FrozenClock())

    path = prices.path(symbol, START - timedelta(days=400), START)

    assert len(path) == 3600
    assert all(q.bid <= q.last <= q.ask and q.bid < q.ask for q in path)
    assert all(n % listing.tick_size == 0 for q in path for n in (q.bid, q.ask, q.last))
    assert all(listing.level / 3 < q.bid < listing.level * 2 for q in path)
    assert len({q.bid for q in path}) > 100


def test_the_spread_is_what_the_catalogue_says_within_two_ticks():
    prices = SimulatedPrices(FrozenClock())

    for symbol, listing in LISTINGS.items():
        for quote in prices.path(symbol, START, START + timedelta(seconds=50)):
            wanted = quote.mid * listing.spread_bps / 10_000
            assert abs(quote.ask - quote.bid - wanted) <= 2 * listing.tick_size


def test_a_year_of_prices_has_about_the_volatility_it_declares():
    # Daily moves of a path whose annual volatility is 28 %: about 1.5 % each.
    path = SimulatedPrices(FrozenClock()).path("AAPL", START - timedelta(days=3600), START)

    moves = [abs(b.mid / a.mid - 1) for a, b in zip(path, path[1:], strict=False)]

    assert 0.005 < sum(moves) / len(moves) < 0.04


async def test_a_quote_is_stamped_with_the_clock_and_names_its_source():
    clock = FrozenClock(START + timedelta(milliseconds=250))

    quote = await SimulatedPrices(clock).quote("SPY")

    assert quote is not None
    assert (quote.as_of, quote.source, quote.symbol) == (clock(), "simulated", "SPY")


async def test_an_unknown_symbol_has_no_quote_and_no_path():
    prices = SimulatedPrices(FrozenClock())

    assert await prices.quote("NOPE") is None
    assert prices.path("NOPE", START, START + timedelta(seconds=9)) == ()


async def test_the_path_shows_what_a_quote_at_that_second_would_have_shown():
    clock = FrozenClock()
    prices = SimulatedPrices(clock, seed=3)
    path = prices.path("BTC/USD", START, START + timedelta(seconds=5, milliseconds=700))

    assert [q.as_of for q in path] == [START + timedelta(seconds=s) for s in range(1, 6)]
    for expected in path:
        clock.now = expected.as_of
        assert await SimulatedPrices(clock, seed=3).quote("BTC/USD") == expected


@pytest.mark.parametrize(("pause_s", "count"), [(0, 0), (1, 1), (3600, 3600), (3601, 3600)])
def test_a_pause_is_sampled_to_its_end_with_at_most_3600_quotes(pause_s, count):
    end = START + timedelta(seconds=pause_s)

    path = SimulatedPrices(FrozenClock()).path("AAPL", START, end)

    assert len(path) == count
    assert not path or path[-1].as_of == end
    assert [q.as_of for q in path] == sorted({q.as_of for q in path})


def test_seeds_differ_and_the_same_seed_is_the_same_in_another_process():
    def prices(seed):
        path = SimulatedPrices(FrozenClock(), seed).path("ETH/USD", START, START + MINUTE)
        return [str(q.bid) for q in path]

    code = (
        "from datetime import datetime, timedelta, UTC\n"
        "from backend.prices.simulated import SimulatedPrices\n"
        f"start = datetime.fromisoformat({START.isoformat()!r})\n"
        "p = SimulatedPrices(lambda: start, 1)\n"
        "q = p.path('ETH/USD', start, start + timedelta(minutes=1))\n"
        "import sys; sys.stdout.write(' '.join(str(x.bid) for x in q))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert elsewhere.stdout.split() == prices(1) != prices(2)


def test_the_first_prices_of_the_documented_seed_never_change():
    moment = datetime(2026, 5, 26, 14, 14, 41, tzinfo=UTC)

    path = SimulatedPrices(FrozenClock()).path("AAPL", moment - timedelta(seconds=3), moment)

    assert [(str(q.bid), str(q.ask)) for q in path] == [
        ("212.40", "212.42"),
        ("212.40", "212.43"),
        ("212.40", "212.42"),
    ]
