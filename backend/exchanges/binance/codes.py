"""The exchange's spelling of a symbol, and ours."""

from backend.domain.errors import ExchangeUnavailable
from backend.domain.instrument import Instrument
from backend.exchanges import Catalogue, Metadata


class Codes:
    """Maps `BTC/USDT` to `BTCUSDT` and back, by the last good set of rules."""

    def __init__(self, catalogue: Catalogue, environment: str) -> None:
        self._catalogue = catalogue
        self._environment = environment
        self._version = ""
        self._symbols: dict[str, str] = {}

    def metadata(self) -> Metadata:
        """Return the last good set.

        Raises:
            ExchangeUnavailable: there never was one.
        """
        return self._catalogue.metadata("binance", self._environment)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return an instrument's rules, or None: unknown."""
        try:
            return self.metadata().instruments.get(symbol)
        except ExchangeUnavailable:
            return None

    def code(self, symbol: str) -> str:
        """Return the exchange's spelling. It joins the two currencies."""
        found = self.instrument(symbol)
        return symbol.replace("/", "") if found is None else found.code

    def symbol(self, code: str) -> str:
        """Return our spelling; of an instrument we do not know, theirs."""
        try:
            metadata = self.metadata()
        except ExchangeUnavailable:
            return code
        if metadata.version != self._version:
            self._symbols = {i.code: i.symbol for i in metadata.instruments.values()}
            self._version = metadata.version
        return self._symbols.get(code, code)

    def quote(self, symbol: str) -> str:
        """Return the currency an instrument is paid in."""
        return symbol.partition("/")[2]
