"""Every instrument that was ever recorded, and the paper ones."""

from functools import cache

from backend.domain.instrument import Instrument
from backend.exchanges.paper.instruments import catalogue
from tests.exchanges.recorded_markets import (
    EXCHANGE_INFOS,
    binance_rows,
    bitstamp_files,
    read_binance,
    read_bitstamp,
)


@cache
def instruments() -> dict[str, Instrument]:
    """Return them by where they come from; only the paper ones where nothing is recorded."""
    found = {f"paper {symbol}": one for symbol, one in catalogue().items()}
    for path in EXCHANGE_INFOS:
        for one in read_binance(binance_rows(path)):
            found[f"binance {one.code} {path.name[:10]}"] = one
    for name, rows in bitstamp_files():
        for one in read_bitstamp(
            [r for r in rows if r["market_type"] == "SPOT"]
        ).instruments.values():
            found[f"bitstamp {one.symbol} {name}"] = one
    return found
