"""What the paper exchange lists of its own, and the rules that an account trades under."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.instrument import Currency, Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.money import ONE
from backend.exchanges.paper.settings import PaperSettings
from backend.prices import LISTINGS, tick_size

RULES_VERSION = "paper-1"

_STOCK_STEP = ONE
_STOCK_MAX = Decimal(1_000_000)
_UNLISTED_STEP = Decimal("0.00000001")
_STEPS_TO_MAX = Decimal(1_000_000_000)
_MIN_NOTIONAL = {"EUR": ONE, "USD": ONE, "USDT": ONE, "USDC": ONE, "BUSD": ONE}
_MIN_NOTIONAL_OTHERWISE = Decimal("0.0001")
_STEPS = {
    "BTC": Decimal("0.00001"),
    "ETH": Decimal("0.0001"),
    "SOL": Decimal("0.001"),
    "BNB": Decimal("0.001"),
    "LTC": Decimal("0.001"),
    "LINK": Decimal("0.01"),
    "XRP": Decimal("0.1"),
    "ADA": Decimal("0.1"),
    "DOGE": ONE,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What an account's orders are judged, filled and charged by, at one moment.

    Attributes:
        listed: by symbol: of the paper exchange, or of the one that the account mirrors.
    """

    listed: Mapping[str, Instrument]
    settings: PaperSettings

    @property
    def fees(self) -> FeeSchedule:
        """Return what the account pays."""
        return self.settings.fees

    def of(self, symbol: str) -> Instrument:
        """Return the rules of `symbol`: a live order may outlast its instrument's listing."""
        return self.listed.get(symbol) or instrument(symbol)


def catalogue(also: Iterable[str] = ()) -> dict[str, Instrument]:
    """Return every instrument by symbol: the listed ones, and `also` what a source prices."""
    return {symbol: instrument(symbol) for symbol in sorted({*LISTINGS, *also})}


def currencies(instruments: Mapping[str, Instrument]) -> dict[str, Currency]:
    """Return every currency that these instruments deal in, by code."""
    decimals: dict[str, int] = {}
    for one in instruments.values():
        for code, places in ((one.base, one.quantity_decimals), (one.quote, one.price_decimals)):
            decimals[code] = max(places, decimals.get(code, 0))
    return {code: Currency(code, decimals=decimals[code]) for code in sorted(decimals)}


def instrument(symbol: str) -> Instrument:
    """Return the rules of `symbol`: whole shares for a stock, fractions for a coin."""
    base, slash, quote = symbol.partition("/")
    tick = tick_size(symbol)
    step = _STEPS.get(base, _UNLISTED_STEP) if slash else _STOCK_STEP
    quote = quote or "USD"
    return Instrument(
        symbol=symbol,
        name=LISTINGS[symbol].name if symbol in LISTINGS else symbol,
        base=base,
        quote=quote,
        tick_size=tick,
        step_size=step,
        min_quantity=step,
        max_quantity=step * _STEPS_TO_MAX if slash else _STOCK_MAX,
        min_notional=_MIN_NOTIONAL.get(quote, _MIN_NOTIONAL_OTHERWISE),
        max_notional=None,
        price_decimals=_decimals(tick),
        quantity_decimals=_decimals(step),
        session="continuous" if slash else "us_equity",
        version=RULES_VERSION,
    )


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(-int(exponent), 0)
