"""Instruments: the rules of each symbol, built in as data or read from a recorded exchangeInfo."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ORDER_TYPES = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_WIDE = ("5", "0.2", "5", "0.2")
_TIGHT = ("1.1", "0.8", "1.2", "0.9")

# symbol, base, quote, tick, step, minimum notional, MARKET maximum, bands (bid, ask), decimals
_BUILT_IN = (
    ("BTCUSDT", "BTC", "USDT", "0.01", "0.00001", "5", "97.09521512", _WIDE, 8),
    ("ETHUSDT", "ETH", "USDT", "0.01", "0.0001", "5", "2357.34408702", _WIDE, 8),
    ("BNBUSDT", "BNB", "USDT", "0.01", "0.001", "5", "3000", _WIDE, 8),
    ("ETHBTC", "ETH", "BTC", "0.00001", "0.0001", "0.0001", "1378.22417541", _WIDE, 8),
    ("BNBBTC", "BNB", "BTC", "0.000001", "0.001", "0.0001", "1507.76687866", _WIDE, 8),
    ("BTCTRY", "BTC", "TRY", "1", "0.00001", "10", "8", _WIDE, 8),
    ("ACHUSDT", "ACH", "USDT", "0.000001", "1", "5", "9000000", _WIDE, 8),
    ("SHIBUSDT", "SHIB", "USDT", "0.00000001", "1", "1", "9000000000", _WIDE, 2),
    ("币安人生USDT", "币安人生", "USDT", "0.0001", "0.1", "5", "900000", _WIDE, 8),
    ("AAPLBUSDT", "AAPLB", "USDT", "0.01", "0.001", "5", "1000", _TIGHT, 8),
)


@dataclass(slots=True)
class Instrument:
    """One symbol. `filters` maps a filter's name to its fields as they stand in exchangeInfo."""

    symbol: str
    base: str
    quote: str
    base_places: int = 8
    quote_places: int = 8
    status: str = "TRADING"
    order_types: tuple[str, ...] = ORDER_TYPES
    permission_sets: list[list[str]] = field(default_factory=lambda: [["SPOT", "MARGIN"]])
    stp_modes: tuple[str, ...] = STP_MODES
    default_stp: str = "EXPIRE_MAKER"
    filters: dict[str, dict[str, Any]] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    _numbers: dict[str, dict[str, Decimal]] = field(default_factory=dict)

    def rule(self, name: str) -> dict[str, Decimal] | None:
        """The numeric fields of a filter, None where the symbol does not have it."""
        if name not in self.filters:
            return None
        if name not in self._numbers:
            fields = self.filters[name].items()
            self._numbers[name] = {
                key: Decimal(str(value)) for key, value in fields if not isinstance(value, bool)
            }
        return self._numbers[name]

    def flag(self, name: str, key: str) -> bool:
        """A yes/no field of a filter."""
        return bool(self.filters[name].get(key, False))

    def change(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Set fields of filters; None as a filter's fields takes the filter away."""
        for name, fields in changes.items():
            if fields is None:
                self.filters.pop(name, None)
            else:
                self.filters[name] = {**self.filters.get(name, {}), **fields}
            self._numbers.pop(name, None)

    def row(self, with_permissions: bool = True) -> dict[str, Any]:
        """The symbol's row of exchangeInfo."""
        row = {
            "symbol": self.symbol,
            "status": self.status,
            "baseAsset": self.base,
            "baseAssetPrecision": self.base_places,
            "quoteAsset": self.quote,
            "quotePrecision": self.quote_places,
            "quoteAssetPrecision": self.quote_places,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": list(self.order_types),
            **_CAPABILITIES,
            **self.flags,
            "filters": [{"filterType": name, **rule} for name, rule in self.filters.items()],
            "permissions": [],
            "permissionSets": self.permission_sets,
            "defaultSelfTradePreventionMode": self.default_stp,
            "allowedSelfTradePreventionModes": list(self.stp_modes[1:]),
        }
        if not with_permissions:
            del row["permissionSets"]
        return row


# What the simulator cannot do, it does not promise.
_CAPABILITIES = {
    "icebergAllowed": False,
    "ocoAllowed": False,
    "otoAllowed": False,
    "opoAllowed": False,
    "quoteOrderQtyMarketAllowed": True,
    "allowTrailingStop": False,
    "cancelReplaceAllowed": True,
    "amendAllowed": True,
    "pegInstructionsAllowed": False,
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
}


def built_in() -> list[Instrument]:
    """A small set with real rules: wide and tight bands, odd steps, a UTF-8 name, a dead symbol."""
    found = [_instrument(*row) for row in _BUILT_IN]
    dead = _instrument("BCCBTC", "BCC", "BTC", "0.000001", "0.001", "0.0001", "1", _WIDE, 8)
    dead.status = "BREAK"
    return [*found, dead]


def recorded(path: Path) -> list[Instrument]:
    """The instruments of a recorded exchangeInfo answer."""
    rows: Iterable[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["symbols"]
    return [_from_row(row) for row in rows]


def _from_row(row: Mapping[str, Any]) -> Instrument:
    filters = {
        item["filterType"]: {key: value for key, value in item.items() if key != "filterType"}
        for item in row["filters"]
    }
    return Instrument(
        row["symbol"],
        row["baseAsset"],
        row["quoteAsset"],
        row["baseAssetPrecision"],
        row["quoteAssetPrecision"],
        row["status"],
        tuple(kind for kind in row["orderTypes"] if kind in ORDER_TYPES),
        # Years ago there was one set, under another name.
        row.get("permissionSets") or [row.get("permissions") or ["SPOT"]],
        filters=filters,
    )


def _instrument(
    symbol: str,
    base: str,
    quote: str,
    tick: str,
    step: str,
    minimum: str,
    market_maximum: str,
    bands: tuple[str, str, str, str],
    places: int,
) -> Instrument:
    def eight(value: str) -> str:
        return format(Decimal(value), ".8f")

    def quantity(value: str) -> str:
        return format(Decimal(value), f".{places}f")

    bid_up, bid_down, ask_up, ask_down = bands
    filters: dict[str, dict[str, Any]] = {
        "PRICE_FILTER": {
            "minPrice": eight(tick),
            "maxPrice": eight("10000000"),
            "tickSize": eight(tick),
        },
        "LOT_SIZE": {
            "minQty": quantity(step),
            "maxQty": quantity("9000000000" if places == 2 else "900000"),
            "stepSize": quantity(step),
        },
        "MARKET_LOT_SIZE": {
            "minQty": quantity("0"),
            "maxQty": quantity(market_maximum),
            "stepSize": quantity("0"),
        },
        "PERCENT_PRICE_BY_SIDE": {
            "bidMultiplierUp": bid_up,
            "bidMultiplierDown": bid_down,
            "askMultiplierUp": ask_up,
            "askMultiplierDown": ask_down,
            "avgPriceMins": 5,
        },
        "NOTIONAL": {
            "minNotional": eight(minimum),
            "applyMinToMarket": True,
            "maxNotional": eight("9000000"),
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        "MAX_NUM_ORDERS": {"maxNumOrders": 200},
        "MAX_NUM_ALGO_ORDERS": {"maxNumAlgoOrders": 5},
        "MAX_NUM_ORDER_AMENDS": {"maxNumOrderAmends": 10},
    }
    return Instrument(symbol, base, quote, places, filters=filters)
