"""Price sources. Each public module of this folder is one, named by its file.

`open_source(argument, clock, seed)` in that module returns the `Prices`; the
argument is what follows the colon: `replay:FILE` is `open_source("FILE", …)`.
"""

import sys
from typing import Protocol, cast

from backend import plugins
from backend.domain.clock import Clock
from backend.domain.quote import Prices
from backend.prices._market import LISTINGS, Listing, tick_size

__all__ = ["FORMS", "LISTINGS", "Listing", "PriceSourceModule", "open_prices", "tick_size"]

FORMS = (
    "simulated, replay:FILE, replay:SYMBOL=FILE (several separated by commas), "
    "mcp:URL or mcp:TOOL@URL, binance, binance:testnet, binance:demo, bitstamp, bitstamp:testnet"
)


class PriceSourceModule(Protocol):
    """What each file of this folder offers."""

    def open_source(self, argument: str, clock: Clock, seed: int) -> Prices:
        """Return the source; raise ValueError when `argument` is not of its form."""
        ...


def open_prices(source: str, clock: Clock, seed: int = 0) -> Prices:
    """Return the price source that `source` names.

    Raises:
        ValueError: unknown or malformed; the message names it and the valid forms.
    """
    name, _, argument = source.strip().partition(":")
    package = sys.modules[__name__]
    if name not in plugins.names(package):
        raise ValueError(f"unknown price source {source!r}; valid: {FORMS}")
    # Only the chosen one: `mcp` brings half a second of imports.
    module = cast(PriceSourceModule, plugins.load_one(package, name))
    try:
        return module.open_source(argument, clock, seed)
    except ValueError as error:
        raise ValueError(f"price source {source!r}: {error}; valid: {FORMS}") from error
