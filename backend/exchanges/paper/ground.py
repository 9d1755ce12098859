"""Where an account trades: on the paper exchange's own ground, or on a real exchange's.

A mirrored account has another exchange's instruments, prices and fees; its orders never
leave this program.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.errors import ExchangeUnavailable
from backend.domain.quote import Prices
from backend.exchanges import AccountKey, Context, Metadata
from backend.exchanges.paper.instruments import RULES_VERSION, Rules, catalogue, currencies
from backend.exchanges.paper.settings import PaperSettings, read_settings


@dataclass(frozen=True, slots=True)
class Ground:
    """One account's surroundings.

    Attributes:
        metadata: what can be traded; asked each time, as a newer set counts at once.
        reference_price: of a symbol: what its price band is around, or None.
    """

    settings: PaperSettings
    metadata: Callable[[], Metadata]
    prices: Prices
    reference_price: Callable[[str], Awaitable[Decimal | None]]

    @property
    def rules(self) -> Rules:
        """Return what orders are judged by now."""
        return Rules(self.metadata().instruments, self.settings)


def ground_of(account: AccountKey, context: Context) -> Ground:
    """Return the surroundings that the account's settings ask for.

    Raises:
        ValueError: a setting is unknown or out of range, or there is no such exchange to mirror.
    """
    settings = read_settings(account.settings)
    if settings.mirror is None:
        return _own(settings, context)
    exchange, environment = settings.mirror
    try:
        market = context.catalogue.market(exchange, environment)
    except ExchangeUnavailable as error:
        raise ValueError(f"mirror {exchange}:{environment}: {error.detail}") from error
    return Ground(
        read_settings(account.settings, market.fees),
        lambda: context.catalogue.metadata(exchange, environment),
        market.prices,
        market.reference_price,
    )


def _own(settings: PaperSettings, context: Context) -> Ground:
    # A source that can list its symbols adds them to the catalogue.
    listed = catalogue(context.prices.symbols)
    metadata = Metadata(RULES_VERSION, context.clock(), listed, currencies(listed))
    return Ground(settings, lambda: metadata, context.prices, _no_reference_price)


async def _no_reference_price(symbol: str) -> Decimal | None:
    return None  # No instrument of the paper exchange has a price band.
