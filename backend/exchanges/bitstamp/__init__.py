"""Bitstamp: spot orders over REST v2, news over WebSocket v2. See `kb/exchanges/bitstamp.md`.

A simulator of it stands for the testnet: its REST address, then its WebSocket address.
"""

import re
from collections.abc import Mapping
from typing import cast

from backend.domain.secret import Credentials
from backend.exchanges import AccountKey, Context
from backend.exchanges.bitstamp.endpoints import Door
from backend.exchanges.bitstamp.exchange import CAPABILITIES, NAME, BitstampExchange
from backend.exchanges.bitstamp.market import BitstampMarket
from backend.exchanges.bitstamp.signing import Key
from backend.prices.bitstamp import ADDRESSES, simulator_at

__all__ = ["CAPABILITIES", "CREDENTIALS", "SETTINGS", "connect", "open_market"]

CREDENTIALS: Mapping[str, str] = {
    "api_key": "the key: 32 letters and digits",
    "api_secret": "its secret: 32 letters and digits, shown once by Bitstamp",
}
SETTINGS: Mapping[str, tuple[str, str]] = {
    "subaccount_id": ("", "act on this sub account with a key of its main account; digits"),
}

_PART = re.compile(r"[A-Za-z0-9]{8,128}", re.ASCII)
_SUBACCOUNT = re.compile(r"(?:[1-9][0-9]{0,18})?", re.ASCII)


async def connect(account: AccountKey, context: Context) -> BitstampExchange:
    """Return the exchange bound to `account`. Nothing is asked yet.

    Raises:
        ValueError: a setting or a credential is unknown or malformed.
    """
    key = _key(account.credentials, _subaccount(account.settings))
    market = cast(BitstampMarket, context.catalogue.market(NAME, account.environment))
    return BitstampExchange(Door(market, key), account.environment, context.catalogue)


def open_market(environment: str, context: Context) -> BitstampMarket:
    """Return the public side of one environment.

    Raises:
        ValueError: no such environment, or a simulator that is not on this machine.
    """
    if environment not in ADDRESSES:
        raise ValueError(f"bitstamp has {' and '.join(ADDRESSES)}, was {environment!r}")
    simulator = context.simulators.get(NAME) if environment == "testnet" else None
    addresses = ADDRESSES[environment] if simulator is None else simulator_at(*simulator)
    return BitstampMarket(addresses, context.clock)


def _subaccount(settings: Mapping[str, str]) -> str:
    for name in settings:
        if name not in SETTINGS:
            raise ValueError(f"unknown setting {name!r}; bitstamp takes {', '.join(SETTINGS)}")
    found = settings.get("subaccount_id", "")
    if not _SUBACCOUNT.fullmatch(found):
        raise ValueError(f"subaccount_id must be digits, was {found!r}")
    return found


def _key(credentials: Credentials, subaccount_id: str) -> Key:
    if set(credentials) != set(CREDENTIALS):
        raise ValueError(f"a bitstamp key consists of {' and '.join(CREDENTIALS)}")
    for name, secret in credentials.items():
        if not _PART.fullmatch(secret.reveal()):
            raise ValueError(f"{name} must be letters and digits, 8 to 128 of them")
    return Key(credentials["api_key"], credentials["api_secret"], subaccount_id)
