"""A catalogue for tests: real markets, one per exchange and environment, without a store."""

from dataclasses import replace
from importlib import import_module
from typing import cast

from backend.domain.errors import ExchangeUnavailable
from backend.exchanges import Context, ExchangeModule, Market, Metadata


class TinyCatalogue:
    """Holds one Market per exchange and environment, and the metadata it fetched.

    Attributes:
        context: what was given, with this catalogue in it.
    """

    def __init__(self, context: Context) -> None:
        self.context = replace(context, catalogue=self)
        self._markets: dict[tuple[str, str], Market] = {}
        self._metadata: dict[tuple[str, str], Metadata] = {}

    def market(self, exchange: str, environment: str) -> Market:
        """Return the public side of an exchange, opened the first time."""
        key = (exchange, environment)
        if key not in self._markets:
            module = cast(ExchangeModule, import_module(f"backend.exchanges.{exchange}"))
            self._markets[key] = module.open_market(environment, self.context)
        return self._markets[key]

    def metadata(self, exchange: str, environment: str) -> Metadata:
        """Return what was loaded. Raises ExchangeUnavailable before the first time."""
        try:
            return self._metadata[exchange, environment]
        except KeyError:
            raise ExchangeUnavailable(f"nothing was fetched from {exchange}") from None

    async def load(self, exchange: str, environment: str) -> Metadata:
        """Fetch an exchange's documents, read them and keep what they say."""
        market = self.market(exchange, environment)
        found = market.read_metadata(await market.fetch_metadata(), self.context.clock())
        self._metadata[exchange, environment] = found
        return found

    async def close(self) -> None:
        """Close every market that was opened."""
        for market in self._markets.values():
            await market.close()
