"""What the account itself is: whose it is, what it pays, what it holds."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from backend.domain.clock import Clock
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.money import ZERO
from backend.exchanges import Balance, Identity
from backend.exchanges.binance.answers import not_told, printable, read, refusal, understood
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.endpoints import ACCOUNT, COMMISSION, MY_FILTERS, RESTRICTIONS
from backend.exchanges.binance.history import LookUp
from backend.exchanges.binance.metadata import own_rules
from backend.exchanges.binance.orders import number

_FEES_FOR = timedelta(minutes=10)


class Rates(msgspec.Struct):
    """Fractions of what is received; a fill pays maker or taker, and buyer or seller."""

    maker: str = "0"
    taker: str = "0"
    buyer: str = "0"
    seller: str = "0"

    def of(self, role: str) -> Decimal:
        """Return what a maker or taker pays on the dearer side."""
        return number(role) + max(number(self.buyer), number(self.seller))


class Commission(msgspec.Struct):
    """What the account pays on one instrument; a discount for paying in BNB is not counted on."""

    standard: Rates = msgspec.field(name="standardCommission")
    special: Rates = msgspec.field(name="specialCommission", default_factory=Rates)
    tax: Rates = msgspec.field(name="taxCommission", default_factory=Rates)


class BalanceRow(msgspec.Struct):
    """What is held of one currency."""

    asset: str
    free: str
    locked: str


class AccountRow(msgspec.Struct):
    """The account."""

    uid: int
    rates: Rates = msgspec.field(name="commissionRates")
    may_trade: bool = msgspec.field(name="canTrade")
    balances: list[BalanceRow]
    permissions: list[str] = msgspec.field(default_factory=list)


class Restrictions(msgspec.Struct):
    """What a key may do."""

    withdrawals: bool = msgspec.field(name="enableWithdrawals")


class AccountReader:
    """Asks about one account."""

    def __init__(self, look_up: LookUp, codes: Codes, clock: Clock, withdrawals: bool) -> None:
        self._look_up = look_up
        self._codes = codes
        self._clock = clock
        self._withdrawals = withdrawals
        self._fees: dict[str | None, tuple[datetime, FeeSchedule]] = {}
        self._filters: dict[str, tuple[datetime, bytes]] = {}

    async def identity(self) -> Identity:
        """Return whose key it is.

        Raises:
            ExchangeRejected: the exchange refuses the key.
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer.
        """
        answer = await self._look_up(ACCOUNT, {"omitZeroBalances": "true"})
        if not answer.good:
            raise not_told(answer) if answer.retry_at else refusal(answer)
        row = read(answer.body, AccountRow)
        permissions = tuple(printable(one) for one in row.permissions)
        return Identity(str(row.uid), row.may_trade, await self._may_withdraw(), permissions)

    async def fees(self, symbol: str | None) -> FeeSchedule:
        """Return what the account pays, at most ten minutes old.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer.
        """
        now = self._clock()
        known = self._fees.get(symbol)
        if known is not None and timedelta() <= now - known[0] < _FEES_FOR:
            return known[1]
        parts = await self._rates() if symbol is None else await self._commission(symbol)
        with understood():
            fees = _schedule(parts)
        self._fees[symbol] = (now, fees)
        return fees

    async def own_rules(self, instrument: Instrument) -> Instrument:
        """Return the rules with the account's own filters, at most ten minutes old.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer.
        """
        now = self._clock()
        known = self._filters.get(instrument.code)
        if known is None or not timedelta() <= now - known[0] < _FEES_FOR:
            answer = await self._look_up(MY_FILTERS, {"symbol": instrument.code})
            if not answer.good:
                raise not_told(answer)
            known = now, bytes(answer.body)
        with understood():
            own = own_rules(instrument, known[1])
        self._filters[instrument.code] = known  # Only what could be read.
        return own

    async def balances(self) -> list[Balance]:
        """Return every non-zero balance. Raises as `fees`."""
        row = await self._account()
        with understood():
            held = [(one.asset, number(one.free), number(one.locked)) for one in row.balances]
        return [
            Balance(asset, free + locked, free) for asset, free, locked in held if free + locked
        ]

    async def _rates(self) -> tuple[Rates, ...]:
        return ((await self._account()).rates,)

    async def _commission(self, symbol: str) -> tuple[Rates, ...]:
        answer = await self._look_up(COMMISSION, {"symbol": self._codes.code(symbol)})
        if not answer.good:
            raise not_told(answer)
        row = read(answer.body, Commission)
        return row.standard, row.special, row.tax

    async def _account(self) -> AccountRow:
        answer = await self._look_up(ACCOUNT, {"omitZeroBalances": "true"})
        if not answer.good:
            raise not_told(answer)
        return read(answer.body, AccountRow)

    async def _may_withdraw(self) -> bool | None:
        if not self._withdrawals:
            return None
        answer = await self._look_up(RESTRICTIONS, {})
        if not answer.good:
            raise not_told(answer)
        return read(answer.body, Restrictions).withdrawals


def _schedule(parts: tuple[Rates, ...]) -> FeeSchedule:
    maker = sum((part.of(part.maker) for part in parts), ZERO)
    taker = sum((part.of(part.taker) for part in parts), ZERO)
    # A buy pays in base, a sell in quote: each from what it brings in.
    return FeeSchedule(maker, taker, "received")
