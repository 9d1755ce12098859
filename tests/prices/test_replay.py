"""Recordings are understood, mapped onto the clock in a loop, and walked bar by bar."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from backend.prices import tick_size
from backend.prices._market import EPOCH
from backend.prices._recording import read_bars, symbol_of
from backend.prices.replay import open_source
from tests.exchanges.scripted import START, D, FrozenClock

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
RECORDED = sorted(
    [*DATA.glob("equities/minute/*.csv"), *DATA.glob("equities/daily/*.csv")]
    + [*DATA.glob("binance/klines/*.csv"), *DATA.glob("binance/klines/*.json")]
)
needs_data = pytest.mark.skipif(not RECORDED, reason="the recorded data is not on this machine")


def opened(path, clock=None):
    return open_source(str(path), clock or FrozenClock(), 0)


def at(offset_s, length_s, turns=1000):
    """Return the time that falls `offset_s` into a loop of `length_s` seconds."""
    return EPOCH + timedelta(seconds=turns * length_s + offset_s)


@needs_data
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_every_recorded_file_is_understood_and_quotes_are_sane(path):
    prices = opened(path)
    (symbol,) = prices.symbols
    tick = tick_size(symbol)

    quotes = prices.path(symbol, START - timedelta(days=3), START)

    assert 0 < len(quotes) <= 3600
    assert all(q.bid <= q.last <= q.ask for q in quotes)
    assert all(n % tick == 0 for q in quotes for n in (q.bid, q.ask, q.last))
    assert all(q.source.startswith(f"replay:{path.name}@") for q in quotes)
    assert [q.as_of for q in quotes] == sorted(q.as_of for q in quotes)


@needs_data
async def test_a_quote_file_shows_the_bars_own_eastern_time():
    path = DATA / "equities/minute/spy_20230803_quote.csv"
    clock = FrozenClock()
    prices = opened(path, clock)
    bars = read_bars(path)
    opening = next(b for b in bars if b.start == datetime(2023, 8, 3, 13, 31, tzinfo=UTC))
    length_s = (bars[-1].start - bars[0].start).total_seconds() + 60
    clock.now = at((opening.start - bars[0].start).total_seconds(), int(length_s))

    quote = await prices.quote("SPY")

    assert quote is not None
    assert quote.source == "replay:spy_20230803_quote.csv@2023-08-03T09:31:00-04:00"
    assert quote.as_of == clock()
    assert opening.ask is not None
    assert (quote.bid, quote.ask) == (opening.bid.open, opening.ask.open)


@needs_data
def test_the_split_of_apple_is_in_the_raw_prices():
    closes = {b.start.date().isoformat(): b.bid.close
              for b in read_bars(DATA / "equities/daily/aapl_1d_raw.csv")}  # fmt: skip

    assert 6 < closes["2014-06-06"] / closes["2014-06-09"] < 8


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("spy_20230803_quote.csv", "SPY"),
        ("goog_1d_raw.csv", "GOOG"),
        ("BTCUSDT_1h_2020-04-30_2020-07-01.json", "BTC/USDT"),
        ("daru_ETHUSDT_1h.csv", "ETH/USDT"),
        ("lean_BTCBUSD_1m_2022-12-13.csv", "BTC/BUSD"),
        ("ETHBTC_1d_2019.json", "ETH/BTC"),
        ("btcusd-minutes.csv", "BTC/USD"),
        ("SOLEUR.csv", "SOL/EUR"),
        ("IBM.csv", "IBM"),
    ],
)
def test_a_file_name_tells_the_symbol(name, symbol):
    assert symbol_of(Path(name)) == symbol


RISING = "time,open,high,low,close,volume\n1000000000,10,13,9,12,5\n1000000060,12,12.5,8,11,5\n"


@pytest.fixture
def rising(tmp_path):
    path = tmp_path / "xyz.csv"
    path.write_text(RISING)
    return path


def test_a_bar_walks_open_low_high_close_when_it_rose_and_high_first_when_it_fell(rising):
    start = at(0, 120) - timedelta(seconds=1)

    walk = opened(rising).path("XYZ", start, start + timedelta(seconds=120))

    assert [q.bid for q in walk] == [10, 9, 13, 12, 12, D("12.5"), 8, 11]
    assert [(q.as_of - walk[0].as_of).seconds for q in walk] == list(range(0, 120, 15))
    assert all(q.ask - q.bid == D("0.01") and q.last == q.bid for q in walk)


async def test_the_recording_loops_and_any_process_agrees(rising):
    clock = FrozenClock(at(20, 120))
    first = await opened(rising, clock).quote("XYZ")
    clock.advance(120 * 12345)
    later = await opened(rising, clock).quote("XYZ")

    assert first is not None
    assert later is not None
    assert (first.bid, first.source) == (later.bid, later.source)
    assert first.bid == 9
    assert first.source == "replay:xyz.csv@2001-09-08T21:46:40-04:00"


async def test_the_path_agrees_with_the_quotes(rising):
    clock = FrozenClock(at(50, 120))
    prices = opened(rising, clock)

    for point in prices.path("XYZ", clock(), clock() + timedelta(seconds=300)):
        clock.now = point.as_of
        assert await prices.quote("XYZ") == point


def test_a_pause_of_years_still_meets_the_low_and_the_high(rising):
    quotes = opened(rising).path("XYZ", START, START + timedelta(days=3650))

    assert min(q.ask for q in quotes) == D("8.01")
    assert max(q.bid for q in quotes) == D("13")
    assert quotes[-1].as_of == START + timedelta(days=3650)
    assert len(quotes) < 100


def test_a_long_walk_is_thinned_and_keeps_its_extremes(tmp_path):
    rows = [f"{10**9 + 60 * i},50,{60 + i % 7},{40 - i % 5},50" for i in range(5000)]
    rows[2222] = f"{10**9 + 60 * 2222},50,99,1,50"
    path = tmp_path / "xyz.csv"
    path.write_text("time,open,high,low,close\n" + "\n".join(rows))

    quotes = opened(path).path("XYZ", START, START + timedelta(seconds=300_000))

    assert len(quotes) <= 3600
    assert (min(q.ask for q in quotes), max(q.bid for q in quotes)) == (D("1.01"), D(99))


async def test_a_gap_keeps_the_last_close(tmp_path):
    path = tmp_path / "xyz.csv"
    path.write_text(RISING + "1000003600,20,20,20,20,1\n")
    clock = FrozenClock(at(2000, 3660))

    quote = await opened(path, clock).quote("XYZ")

    assert quote is not None
    assert quote.bid == 11


@pytest.mark.parametrize(
    ("name", "text", "bid", "ask"),
    [
        ("xyz.csv", "time,bid,ask\n2024-01-02T10:00:00-05:00,9.995,10.001\n", "9.99", "10.01"),
        ("xyz.csv", "timestamp,price\n1704200000123,10.005\n", "10.00", "10.01"),
        ("xyz.csv", "time,open,high,low,close\n2024-01-02 10:00,1,1,1,1\n", "1.00", "1.01"),
        ("xyz.csv", "1704200000000,5,5,5,5,100,1704200059999,1,1,1,1,0\n", "5.00", "5.01"),
        ("xyz_20240102_trade.csv", "ms_since_midnight_ny,open_x10000,high_x10000,low_x10000,"
         "close_x10000,volume\n34200000,2154000,2154000,2154000,2154000,1\n", "215.40", "215.41"),
        ("xyz_1d_raw.csv", "datetime_ny,open_x10000,high_x10000,low_x10000,close_x10000,volume\n"
         "20240102 00:00,2154000,2154000,2154000,2154000,1\n", "215.40", "215.41"),
        ("BTCUSDT.json", '[[1704200000000,"42000.10","42000.10","42000.10","42000.10","1"]]',
         "42000.10", "42000.11"),
        ("SHIBUSDT.json", '[[1704200000000,"0.00001","0.00001","0.00001","0.00001","1"]]',
         "0.00001", "0.00001001"),
        ("xyz_20240102_quote.csv", "ms_since_midnight_ny,bid_open_x10000,bid_high_x10000,"
         "bid_low_x10000,bid_close_x10000,ask_open_x10000,ask_high_x10000,ask_low_x10000,"
         "ask_close_x10000\n0,,,,,100200,100200,100200,100200\n"
         "60000,100000,100000,100000,100000,,,,\n", "10.00", "10.02"),
    ],
)  # fmt: skip
async def test_each_form_of_file_is_read_and_put_on_tick_outward(tmp_path, name, text, bid, ask):
    path = tmp_path / name
    path.write_text(text)
    prices = opened(path)

    quote = await prices.quote(prices.symbols[0])

    assert quote is not None
    assert (quote.bid, quote.ask) == (D(bid), D(ask))


HEAD = "time,open,high,low,close\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: no bars"),
        (HEAD, "line 1: no bars"),
        (HEAD + "1000000000,1,2\n", "line 2: no low"),
        (HEAD + "1000000000,1,2,1,x\n", "line 2: close must be a number above 0"),
        (HEAD + "1000000000,1,2,1,NaN\n", "line 2: close must be"),
        (HEAD + "1000000000,1,2,1,-1\n", "line 2: close must be"),
        (HEAD + "1000000000,1,1,1,2\n", "line 2: low 1 and high 1 must bound"),
        (HEAD + "noon,1,1,1,1\n", "line 2: not a time"),
        (HEAD + "08/03/2023,1,1,1,1\n", "line 2: not a time"),
        (HEAD + "1000000060,1,1,1,1\n\n1000000000,1,1,1,1\n", "line 4: .* is not after"),
        ("time,bid,ask\n1000000000,2,1\n", "line 2: ask must be at least bid"),
        ("when,price\n1000000000,2\n", "line 2: no column with the time"),
        ("ms_since_midnight_ny,price\n5,2\n", "line 2: .*file name has no date"),
        ("[[1000000000000, 1, 1", "not JSON"),
        ('[{"a": 1}]', "line 1: entry 1 is not a list"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_line(tmp_path, text, words):
    path = tmp_path / "xyz.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=rf"xyz\.csv {words}" if words[0] == "l" else words):
        opened(path)


def test_several_files_make_several_symbols_or_one_longer_recording(tmp_path):
    days = []
    for day in (1, 2):
        path = tmp_path / f"abc_2024010{day}.csv"
        path.write_text(f"time,price\n2024-01-0{day}T10:00Z,1{day}\n2024-01-0{day}T11:00Z,10\n")
        days.append(str(path))
    other = tmp_path / "other.csv"
    other.write_text(RISING)

    prices = open_source(f"{days[0]},{days[1]},btc-usd={other}", FrozenClock(), 0)

    assert prices.symbols == ("ABC", "BTC/USD")
    path = prices.path("ABC", START, START + timedelta(days=2))
    assert {q.bid for q in path} == {D(10), D(11), D(12)}


def test_the_same_time_in_two_files_of_one_symbol_is_refused(rising):
    with pytest.raises(ValueError, match="both have XYZ at"):
        open_source(f"{rising},{rising}", FrozenClock(), 0)


async def test_a_symbol_that_was_not_recorded_has_no_quote(rising):
    prices = opened(rising)

    assert await prices.quote("SPY") is None
    assert prices.path("SPY", START, START + timedelta(days=1)) == ()


def test_prices_keep_every_digit(tmp_path):
    path = tmp_path / "ABCBTC.csv"
    path.write_text("time,price\n1000000000,0.00012345\n")

    (bar,) = read_bars(path)

    assert bar.bid.close == Decimal("0.00012345")
