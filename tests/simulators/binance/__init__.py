"""Binance Spot as a simulator: REST, WebSocket API, user data and market streams on loopback.

Iceberg, trailing, pegged and list orders are not simulated and not advertised by exchangeInfo.
"""

from .accounts import Account
from .instruments import Instrument, built_in, recorded
from .signing import Key
from .simulator import Simulator

__all__ = ["Account", "Instrument", "Key", "Simulator", "built_in", "recorded"]
