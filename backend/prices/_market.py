"""What the embedded market lists, and how a pause in it is sampled.

One table serves the simulated prices and the paper exchange's instruments.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

PATH_LIMIT = 3600
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_STOCK_TICK = Decimal("0.01")
_UNLISTED_TICK = Decimal("0.00000001")


class Listing(NamedTuple):
    """One line of the catalogue.

    Attributes:
        level: the price it moves around, quote currency.
        tick_size: smallest price step, quote currency.
        volatility_pct: annual, in percent of the level.
        spread_bps: ask minus bid, in basis points of the mid; at least one tick.
    """

    symbol: str
    name: str
    level: Decimal
    tick_size: Decimal
    volatility_pct: int
    spread_bps: Decimal


def _listing(row: tuple[str, str, str, str, int, str]) -> Listing:
    symbol, name, level, tick_size, volatility_pct, spread_bps = row
    return Listing(
        symbol, name, Decimal(level), Decimal(tick_size), volatility_pct, Decimal(spread_bps)
    )


LISTINGS: dict[str, Listing] = {
    row[0]: _listing(row)
    for row in (
        ("AAPL", "Apple Inc.", "215", "0.01", 28, "0.5"),
        ("AMZN", "Amazon.com Inc.", "186", "0.01", 32, "1"),
        ("BAC", "Bank of America Corp.", "40", "0.01", 26, "2.5"),
        ("GOOG", "Alphabet Inc. Class C", "172", "0.01", 28, "1.2"),
        ("IBM", "International Business Machines Corp.", "190", "0.01", 22, "1.5"),
        ("IWM", "iShares Russell 2000 ETF", "208", "0.01", 22, "0.5"),
        ("JPM", "JPMorgan Chase & Co.", "205", "0.01", 24, "1"),
        ("META", "Meta Platforms Inc.", "505", "0.01", 36, "1"),
        ("MSFT", "Microsoft Corp.", "425", "0.01", 25, "0.8"),
        ("NVDA", "NVIDIA Corp.", "122", "0.01", 48, "0.9"),
        ("QQQ", "Invesco QQQ Trust", "462", "0.01", 21, "0.3"),
        ("SPY", "SPDR S&P 500 ETF Trust", "538", "0.01", 16, "0.2"),
        ("TSLA", "Tesla Inc.", "240", "0.01", 55, "1.2"),
        ("BTC/USD", "Bitcoin / US dollar", "64000", "0.01", 52, "1"),
        ("ETH/USD", "Ether / US dollar", "3100", "0.01", 65, "1.2"),
        ("SOL/USD", "Solana / US dollar", "150", "0.01", 85, "2"),
        ("XRP/USD", "XRP / US dollar", "0.55", "0.0001", 75, "3"),
        ("ADA/USD", "Cardano / US dollar", "0.40", "0.0001", 80, "4"),
        ("DOGE/USD", "Dogecoin / US dollar", "0.125", "0.00001", 90, "3"),
        ("LTC/USD", "Litecoin / US dollar", "72", "0.01", 65, "3"),
        ("LINK/USD", "Chainlink / US dollar", "14", "0.001", 80, "3"),
        ("BTC/USDT", "Bitcoin / Tether", "64000", "0.01", 52, "0.5"),
        ("ETH/USDT", "Ether / Tether", "3100", "0.01", 65, "0.6"),
        ("SOL/USDT", "Solana / Tether", "150", "0.01", 85, "1.5"),
        ("BNB/USDT", "BNB / Tether", "580", "0.01", 55, "1"),
        ("BNB/USD", "BNB / US dollar", "580", "0.01", 55, "2"),
        ("BTC/BUSD", "Bitcoin / Binance USD", "64000", "0.01", 52, "1"),
        ("BTC/EUR", "Bitcoin / euro", "59000", "0.01", 52, "2"),
        ("ETH/BTC", "Ether / Bitcoin", "0.0484", "0.000001", 40, "2"),
    )
}


def tick_size(symbol: str) -> Decimal:
    """Return the price step of `symbol`, quote currency.

    What the catalogue does not list has a cent for a stock and eight decimals otherwise.
    """
    if symbol in LISTINGS:
        return LISTINGS[symbol].tick_size
    return _UNLISTED_TICK if "/" in symbol else _STOCK_TICK


def whole_seconds(start: datetime, end: datetime) -> list[int]:
    """Return the epoch seconds after `start` up to and with `end`, oldest first.

    Every one, or `PATH_LIMIT` evenly spaced ones of a longer span.
    """
    first, last = epoch_second(start), epoch_second(end)
    span = last - first
    if span <= PATH_LIMIT:
        return list(range(first + 1, last + 1))
    return [first + span * i // PATH_LIMIT for i in range(1, PATH_LIMIT + 1)]


def epoch_second(moment: datetime) -> int:
    """Return the whole seconds since the Unix epoch, rounded down, without a float."""
    since = moment - EPOCH
    return since.days * 86_400 + since.seconds
