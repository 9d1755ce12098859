"""The rules that exchanges published, row by row as they were recorded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.domain.instrument import Instrument
from backend.exchanges import Metadata
from backend.exchanges.binance.metadata import read_metadata
from backend.exchanges.bitstamp import metadata as bitstamp
from tests.exchanges.recorded import FOLDER
from tests.exchanges.scripted import START

Row = dict[str, Any]

EXCHANGE_INFOS = sorted((FOLDER / "binance" / "exchangeinfo").glob("*.json"))
_CURRENCIES = b'[{"currency":"BTC","name":"Bitcoin","type":"crypto","decimals":8}]'


def binance_rows(path: Path) -> list[Row]:
    """Return the symbols of a recorded exchangeInfo."""
    return list(json.loads(path.read_text(encoding="utf-8"))["symbols"])


def read_binance(rows: list[Row]) -> list[Instrument]:
    """Return what our adapter makes of these symbols, in their order."""
    found = read_metadata(json.dumps({"symbols": rows}).encode(), START).instruments
    by_code = {one.code: one for one in found.values()}
    return [by_code[row["symbol"]] for row in rows]


def bitstamp_files() -> Iterator[tuple[str, list[Row]]]:
    """Yield each recorded list of markets as rows of `markets`, with the file's name."""
    for path in sorted((FOLDER / "bitstamp").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or "base_decimals" not in rows[0]:
            continue
        yield path.name, [row if "market_symbol" in row else _as_market(row) for row in rows]


def read_bitstamp(rows: list[Row]) -> Metadata:
    """Return what our adapter makes of these markets."""
    return bitstamp.read(bitstamp.document(_CURRENCIES, json.dumps(rows).encode()), START)


def _as_market(pair: Row) -> Row:
    """Return a row of the older `trading-pairs-info` as one of `markets`."""
    base, counter = pair["name"].split("/")
    value, _ = pair["minimum_order"].split()
    same = ("name", "base_decimals", "counter_decimals", "trading", "description")
    return {name: pair[name] for name in same} | {
        "market_symbol": pair["url_symbol"],
        "base_currency": base,
        "counter_currency": counter,
        "minimum_order_value": value,
        "instant_order_counter_decimals": pair.get("instant_order_counter_decimals", 2),
        "instant_and_market_orders": pair["instant_and_market_orders"],
        "market_type": "SPOT",
    }
