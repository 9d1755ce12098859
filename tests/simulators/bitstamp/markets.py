"""Instruments: the rows of /markets/ and /currencies/, and a small built-in set of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

_NAMES = {
    "BTC": ("Bitcoin", 8),
    "ETH": ("Ether", 8),
    "LTC": ("Litecoin", 8),
    "XRP": ("XRP", 6),
    "USD": ("U.S. dollar", 2),
    "EUR": ("Euro", 2),
    "USDT": ("Tether", 5),
}
_FIAT = ("USD", "EUR")
# base, counter, base decimals, counter decimals, minimum order value
_SPOT = (
    ("BTC", "USD", 8, 0, "10"),
    ("BTC", "EUR", 8, 0, "10"),
    ("ETH", "USD", 6, 2, "10.00"),
    ("ETH", "USDT", 6, 2, "10.00"),
    ("ETH", "BTC", 8, 8, "0.0002"),
    ("LTC", "USD", 8, 2, "10.00"),
    ("XRP", "USD", 6, 5, "10.00000"),
)


def spot_row(base: str, counter: str, base_decimals: int, decimals: int, minimum: str) -> Row:
    """A spot row of /markets/: it has no maximum and no minimum amount."""
    return {
        "name": f"{base}/{counter}",
        "market_symbol": f"{base}{counter}".lower(),
        "base_currency": base,
        "base_decimals": base_decimals,
        "counter_currency": counter,
        "counter_decimals": decimals,
        "minimum_order_value": minimum,
        "trading": "Enabled",
        "instant_order_counter_decimals": decimals if counter == "BTC" else 2,
        "instant_and_market_orders": "Enabled",
        "description": f"{_NAMES[base][0]} / {_NAMES[counter][0]}",
        "market_type": "SPOT",
    }


def perpetual_row() -> Row:
    """BTC/USD-PERP: listed, but its orders are not simulated."""
    spot = spot_row("BTC", "USD", 5, 0, "10")
    return spot | {
        "name": "BTC/USD-PERP",
        "market_symbol": "btcusd-perp",
        "maximum_order_value": "500000.00000000",
        "minimum_order_amount": "0.00001000",
        "maximum_order_amount": "10.00000000",
        "description": "Bitcoin / U.S. dollar Perpetual",
        "market_type": "PERPETUAL",
        "underlying_asset": "Kaiko BTC Benchmark Reference Rate",
        "payoff_type": "Linear",
        "contract_size": "1.00000000",
        "isin": "EZHKD4DNKHY3",
    }


BUILT_IN: tuple[Row, ...] = (*(spot_row(*spot) for spot in _SPOT), perpetual_row())


@dataclass(slots=True)
class Market:
    """One market: its row as the exchange sends it, and the rules read from that row."""

    row: Row

    @property
    def symbol(self) -> str:
        """`btcusd`."""
        return str(self.row["market_symbol"])

    @property
    def name(self) -> str:
        """`BTC/USD`."""
        return str(self.row["name"])

    @property
    def base(self) -> str:
        """The base currency in lower case."""
        return str(self.row["base_currency"]).lower()

    @property
    def counter(self) -> str:
        """The counter currency in lower case."""
        return str(self.row["counter_currency"]).lower()

    @property
    def base_decimals(self) -> int:
        """Decimals of a quantity."""
        return int(self.row["base_decimals"])

    @property
    def counter_decimals(self) -> int:
        """Decimals of a price."""
        return int(self.row["counter_decimals"])

    @property
    def price_step(self) -> Decimal:
        """`tick_size` where the row has one, else from the decimals."""
        tick = self.row.get("tick_size")
        return Decimal(str(tick)) if tick else Decimal(1).scaleb(-self.counter_decimals)

    @property
    def minimum_value(self) -> Decimal:
        """The least notional of an order, in the counter currency."""
        return Decimal(str(self.row["minimum_order_value"]))

    @property
    def maximum_value(self) -> Decimal | None:
        """The largest notional of an order, where the row has one."""
        return self._optional("maximum_order_value")

    @property
    def minimum_quantity(self) -> Decimal | None:
        """The least quantity of an order, where the row has one."""
        return self._optional("minimum_order_amount")

    @property
    def maximum_quantity(self) -> Decimal | None:
        """The largest quantity of an order, where the row has one."""
        return self._optional("maximum_order_amount")

    def _optional(self, name: str) -> Decimal | None:
        return None if self.row.get(name) is None else Decimal(str(self.row[name]))

    @property
    def is_spot(self) -> bool:
        """Only spot orders are simulated."""
        return bool(self.row["market_type"] == "SPOT")

    @property
    def is_open(self) -> bool:
        """Whether orders are taken."""
        return bool(self.row["trading"] == "Enabled")

    @property
    def takes_market_orders(self) -> bool:
        """Whether market and instant orders are taken."""
        return bool(self.row["instant_and_market_orders"] == "Enabled")


def markets_from(rows: Iterable[Mapping[str, Any]]) -> dict[str, Market]:
    """Markets by symbol; the rows are copied, keys unknown to us and all."""
    return {str(row["market_symbol"]): Market(dict(row)) for row in rows}


def currency_rows(markets: Iterable[Market]) -> list[Row]:
    """The rows of /currencies/ for every currency that the markets use."""
    used = {c.upper() for market in markets for c in (market.base, market.counter)}
    return [_currency_row(currency) for currency in sorted(used)]


def currency_decimals(currency: str) -> int:
    """Decimals of a balance of this currency (lower or upper case)."""
    return _NAMES.get(currency.upper(), ("", 8))[1]


def _currency_row(currency: str) -> Row:
    fiat = currency in _FIAT
    row: Row = {
        "name": _NAMES.get(currency, (currency, 8))[0],
        "currency": currency,
        "type": "fiat" if fiat else "crypto",
        "symbol": {"USD": "$", "EUR": "€"}.get(currency, currency),
        "decimals": currency_decimals(currency),
        "logo": f"https://assets.bitstamp.net/static/webapp/images/{currency.lower()}.svg",
        "available_supply": "0.00" if fiat else "21000000.00",
        "deposit": "Enabled",
        "withdrawal": "Enabled",
        "networks": [],
    }
    if not fiat:
        network = {
            "network": row["name"].lower(),
            "withdrawal_minimum_amount": "0.00010000",
            "withdrawal_decimals": row["decimals"],
            "deposit": "Enabled",
            "withdrawal": "Enabled",
        }
        row["networks"] = [network]
    return row


def pairs_info_row(market: Market) -> Row:
    """A row of the obsolete /trading-pairs-info/."""
    row = market.row
    return {
        "name": market.name,
        "url_symbol": market.symbol,
        "base_decimals": market.base_decimals,
        "counter_decimals": market.counter_decimals,
        "instant_order_counter_decimals": row["instant_order_counter_decimals"],
        "minimum_order": f"{row['minimum_order_value']} {row['counter_currency']}",
        "trading": row["trading"],
        "instant_and_market_orders": row["instant_and_market_orders"],
        "description": row["description"],
    }
