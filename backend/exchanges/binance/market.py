"""What Binance tells everybody in one environment: rules, prices, reference prices, its clock."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, RateLimited
from backend.domain.ledger import FeeSchedule
from backend.exchanges import Context, Market, Metadata
from backend.exchanges._budget import Budget
from backend.exchanges.binance.answers import Answer, not_told, read, understood
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.endpoints import (
    AVERAGE_PRICE,
    EXCHANGE_INFO,
    LAST_PRICE,
    LIMIT_NAMES,
    REFERENCE_PRICE,
    Addresses,
    Endpoint,
    shared_windows,
)
from backend.exchanges.binance.limits import LimitRow, Limits
from backend.exchanges.binance.metadata import read_metadata
from backend.exchanges.binance.orders import number
from backend.exchanges.binance.rejections import NO_REFERENCE_PRICE
from backend.exchanges.binance.rest import Rest
from backend.exchanges.binance.times import ServerClock
from backend.prices.binance import BinancePrices

_REFERENCE_FOR = timedelta(seconds=2)
_BOOK_WEIGHT = 2
_DEFAULT_MINUTES = 5


class InfoLimits(msgspec.Struct):
    """The part of exchangeInfo that says how often we may ask."""

    rows: list[LimitRow] = msgspec.field(name="rateLimits", default_factory=list)


class ReferencePrice(msgspec.Struct):
    """The answer to `referencePrice`."""

    price: str | None = msgspec.field(name="referencePrice", default=None)


class AnyPrice(msgspec.Struct):
    """The answer to `avgPrice`, and to the last price."""

    price: str


class BinanceMarket(Market):
    """One environment, shared by all accounts of this process.

    Attributes:
        budget: the limits of our IP address.
        order_limits: how many orders an account may place, by span, as exchangeInfo told.
        server_clock: the exchange's time.
        codes: its spellings, shared so that no account forgets one that another met.
    """

    # Of a regular user; a fill pays them from what it brings in.
    fees = FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), currency="received")

    def __init__(self, environment: str, where: Addresses, context: Context) -> None:
        self.where = where
        self.budget = Budget(context.clock, shared_windows())
        self.order_limits: dict[timedelta, int] = {}
        self.server_clock = ServerClock(context.clock)
        self._clock: Clock = context.clock
        self._limits = Limits(context.clock, self.budget)
        self._rest = Rest(where.public.rest, context.clock, self._limits)
        self.codes = Codes(context.catalogue, environment)
        self._references: dict[str, tuple[datetime, Decimal | None]] = {}
        self.prices = BinancePrices(where.public, context.clock, self._may_ask)

    async def fetch_metadata(self) -> bytes:
        """Return exchangeInfo whole, and take over the limits it tells.

        Raises:
            ExchangeUnavailable, OutcomeUnknown: no usable answer.
        """
        try:
            answer = await self._rest.ask(EXCHANGE_INFO)
            if not answer.good:
                raise not_told(answer)
        except RateLimited as error:
            raise ExchangeUnavailable(error.detail) from None
        for row in read(answer.body, InfoLimits).rows:
            if row.is_sane:
                self._learn_limit(row)
        return bytes(answer.body)

    def read_metadata(self, content: bytes, as_of: datetime) -> Metadata:
        """Return what exchangeInfo says.

        Raises:
            ValueError: it is not one, or it lists nothing.
        """
        return read_metadata(content, as_of)

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return what the price band is around, at most 2 s old, or None.

        The exchange's own reference price; without one the average of the band's minutes,
        or the last price where there are none.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer.
        """
        now = self._clock()
        known = self._references.get(symbol)
        if known is not None and timedelta() <= now - known[0] < _REFERENCE_FOR:
            return known[1]
        price = await self._reference_price(symbol)
        self._references[symbol] = (now, price)
        return price

    async def close(self) -> None:
        """Let go of connections."""
        await self.prices.close()
        await self._rest.close()

    async def _reference_price(self, symbol: str) -> Decimal | None:
        answer = await self._ask(REFERENCE_PRICE, symbol)
        if answer.good:
            told = read(answer.body, ReferencePrice).price
            if told is not None:
                with understood():
                    return number(told) or None
        elif answer.code != NO_REFERENCE_PRICE:
            raise not_told(answer)
        instrument = self.codes.instrument(symbol)
        band = None if instrument is None else instrument.price_band
        minutes = _DEFAULT_MINUTES if band is None else band.minutes
        answer = await self._ask(AVERAGE_PRICE if minutes else LAST_PRICE, symbol)
        if not answer.good:
            raise not_told(answer)
        with understood():
            return number(read(answer.body, AnyPrice).price) or None

    async def _ask(self, endpoint: Endpoint, symbol: str) -> Answer:
        return await self._rest.ask(endpoint, {"symbol": self.codes.code(symbol)})

    def _learn_limit(self, row: LimitRow) -> None:
        name = LIMIT_NAMES.get(row.kind)
        if name == "orders" and row.limit > 0:
            self.order_limits[row.span] = row.limit
        elif name is not None and row.limit > 0:
            self.budget.learn(name, row.span, self.budget.used(name), row.limit)

    def _may_ask(self) -> bool:
        """Take the room for one look at a book, if there is any."""
        try:
            self._limits.take(_BOOK)
        except RateLimited:
            return False
        return True


_BOOK = Endpoint("GET", "", _BOOK_WEIGHT)
