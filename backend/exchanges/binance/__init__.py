"""Binance Spot: REST, WebSocket API and streams, as of `kb/exchanges/binance.md`.

A simulator stands for the testnet by three addresses on loopback, in this order: REST,
WebSocket API, market streams.
"""

from collections.abc import Mapping
from typing import cast

from backend.exchanges import AccountKey, Context
from backend.exchanges.binance.endpoints import addresses
from backend.exchanges.binance.exchange import CAPABILITIES, BinanceExchange
from backend.exchanges.binance.market import BinanceMarket
from backend.exchanges.binance.signing import CREDENTIALS, read_signer

__all__ = [
    "CAPABILITIES",
    "CREDENTIALS",
    "SETTINGS",
    "BinanceExchange",
    "BinanceMarket",
    "connect",
    "open_market",
]

_ROADS = ("websocket", "rest")

SETTINGS: Mapping[str, tuple[str, str]] = {
    "orders_over": ("websocket", "how orders and cancels travel: websocket or rest"),
}


async def connect(account: AccountKey, context: Context) -> BinanceExchange:
    """Return the exchange bound to `account`. Nothing is sent before it is first asked.

    Raises:
        ValueError: a setting or a credential is malformed; the sentence shows no secret.
    """
    unknown = set(account.settings) - set(SETTINGS)
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}; valid: {', '.join(SETTINGS)}")
    road = account.settings.get("orders_over", SETTINGS["orders_over"][0])
    if road not in _ROADS:
        raise ValueError(f"orders_over must be one of {', '.join(_ROADS)}, was {road!r}")
    addresses(account.environment, context.simulators.get("binance"))
    signer = read_signer(account.credentials)
    market = cast(BinanceMarket, context.catalogue.market("binance", account.environment))
    return BinanceExchange(market, signer, context, road == "websocket")


def open_market(environment: str, context: Context) -> BinanceMarket:
    """Return the public side of one environment. It connects when first asked.

    Raises:
        ValueError: no such environment, or a simulator that is not on loopback.
    """
    where = addresses(environment, context.simulators.get("binance"))
    return BinanceMarket(environment, where, context)
