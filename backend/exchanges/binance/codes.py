"""The exchange's spelling of a symbol, and ours."""

from backend.domain.errors import ExchangeUnavailable
from backend.domain.instrument import Instrument
from backend.exchanges import Catalogue, Metadata


class Codes:
    """Maps `BTC/USDT` to `BTCUSDT` and back, by every set of rules that was ever seen.

    An instrument that leaves the rules may still have orders: its name is kept.
    """

    def __init__(self, catalogue: Catalogue, environment: str) -> None:
        self._catalogue = catalogue
        self._environment = environment
        self._version = ""
        self._symbols: dict[str, str] = {}
        self._codes: dict[str, str] = {}

    def metadata(self) -> Metadata:
        """Return the last good set.

        Raises:
            ExchangeUnavailable: there never was one.
        """
        metadata = self._catalogue.metadata("binance", self._environment)
        if metadata.version != self._version:
            for one in metadata.instruments.values():
                self.remember(one.symbol, one.code)
            self._version = metadata.version
        return metadata

    def remember(self, symbol: str, code: str) -> None:
        """Keep in mind how an instrument is spelt there."""
        self._symbols[code] = symbol
        self._codes[symbol] = code

    def _refresh(self) -> Metadata | None:
        try:
            return self.metadata()
        except ExchangeUnavailable:
            return None

    def instrument(self, symbol: str) -> Instrument | None:
        """Return an instrument's rules, or None: unknown."""
        known = self._refresh()
        return None if known is None else known.instruments.get(symbol)

    def code(self, symbol: str) -> str:
        """Return the exchange's spelling. It joins the two currencies."""
        self._refresh()
        return self._codes.get(symbol) or symbol.replace("/", "")

    def symbol(self, code: str) -> str:
        """Return our spelling; of an instrument we never met, theirs."""
        self._refresh()
        return self._symbols.get(code, code)

    def quote(self, symbol: str) -> str:
        """Return the currency an instrument is paid in."""
        return symbol.partition("/")[2]
