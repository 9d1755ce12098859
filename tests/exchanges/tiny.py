"""A small real exchange: only what it tells everybody, with rules that a test rewrites."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, ExecError
from backend.domain.instrument import Currency, Instrument, PriceBand
from backend.domain.ledger import FeeSchedule
from backend.domain.order import OrderType, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import (
    AccountKey,
    Capabilities,
    ClientOrderId,
    Context,
    Exchange,
    Market,
    Metadata,
)

D = Decimal

CAPABILITIES = Capabilities(
    environments=frozenset({"live", "testnet"}),
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT}),
    times_in_force=frozenset({TimeInForce.IOC, TimeInForce.GTC}),
    client_order_id=ClientOrderId.NOT_CHECKED,
    validity=timedelta(seconds=3),
    absence_margin=timedelta(seconds=30),
    absence_answers=3,
    absence_spacing=timedelta(seconds=11),
    band_bps=D(10),
    poll_every=timedelta(seconds=30),
    stream=False,
    sub_accounts=False,
)

BTC: Mapping[str, Any] = {
    "symbol": "BTC/USDT",
    "tick_size": "0.01",
    "step_size": "0.001",
    "min_quantity": "0.001",
    "max_quantity": "1000",
    "min_notional": "10",
}


class TinyPrices:
    """Live quotes: only the present touch is known."""

    name = "tiny"
    replayable = False
    symbols: Sequence[str] = ()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.touches = {"BTC/USDT": ("99.99", "100.00")}
        self.asked: list[str] = []

    async def quote(self, symbol: str) -> Quote | None:
        self.asked.append(symbol)
        if symbol not in self.touches:
            return None
        bid, ask = map(D, self.touches[symbol])
        return Quote(symbol, bid, ask, bid, self._clock(), self.name)

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        return ()

    async def close(self) -> None:
        pass


class TinyMarket(Market):
    """The public side.

    Attributes:
        rows: what can be traded, as `BTC` has it; `answer` replaces the whole document.
        trouble: what the next look-ups raise instead of answering.
        fetched, read: how often each was done.
    """

    def __init__(self, clock: Clock) -> None:
        self.prices = TinyPrices(clock)
        self.fees = FeeSchedule(D("0.001"), D("0.002"), "received")
        self.rows: list[Mapping[str, Any]] = [BTC]
        self.answer: bytes | None = None
        self.trouble: ExecError | None = None
        self.reference: Decimal | None = D(100)
        self.fetched = self.read = 0

    def change(self, **rules: Any) -> None:
        """Change the rules of BTC/USDT, from the next refresh on."""
        self.rows = [{**row, **rules} if row["symbol"] == "BTC/USDT" else row for row in self.rows]

    async def fetch_metadata(self) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        self.fetched += 1
        return json.dumps(self.rows).encode() if self.answer is None else self.answer

    def read_metadata(self, content: bytes, as_of: datetime) -> Metadata:
        self.read += 1
        try:
            instruments = {row["symbol"]: instrument_of(row) for row in json.loads(content)}
        except (KeyError, TypeError) as error:
            raise ValueError(f"malformed: {error!r}") from None
        codes = sorted({code for one in instruments.values() for code in (one.base, one.quote)})
        currencies = {code: Currency(code) for code in codes}
        return Metadata(version_of(content), as_of, instruments, currencies)

    async def reference_price(self, symbol: str) -> Decimal | None:
        if self.trouble is not None:
            raise self.trouble
        return self.reference

    async def close(self) -> None:
        pass


class TinyModule:
    """What a file of the plug-in folder offers. Its accounts cannot be reached at all."""

    CAPABILITIES = CAPABILITIES
    SETTINGS: Mapping[str, tuple[str, str]] = {}
    CREDENTIALS: Mapping[str, str] = {"api_key": "the key"}

    def __init__(self, clock: Clock) -> None:
        self.markets = {name: TinyMarket(clock) for name in CAPABILITIES.environments}

    def open_market(self, environment: str, context: Context) -> Market:
        return self.markets[environment]

    async def connect(self, account: AccountKey, context: Context) -> Exchange:
        raise ExchangeUnavailable("the exchange is down")


class TinyCatalogue:
    """One market, read anew each time that somebody asks: as new as its rows."""

    def __init__(self, market: TinyMarket, clock: Clock) -> None:
        self._market = market
        self._clock = clock

    def market(self, exchange: str, environment: str) -> Market:
        if (exchange, environment) != ("tiny", "live"):
            raise ExchangeUnavailable(f"there is no exchange {exchange} to ask")
        return self._market

    def metadata(self, exchange: str, environment: str) -> Metadata:
        content = json.dumps(self._market.rows).encode()
        return self._market.read_metadata(content, self._clock())


def version_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def instrument_of(row: Mapping[str, Any]) -> Instrument:
    """Return the instrument in a row: only what is not plain text is turned into ours."""
    base, quote = row["symbol"].split("/")
    given = dict(row)
    given |= {name: D(row[name]) for name in _NUMBERS}
    for name in ("min_price", "max_price", "max_notional", "max_position"):
        given[name] = D(row[name]) if name in row else None
    if "price_band" in row:
        low, high = map(D, row["price_band"])
        given["price_band"] = PriceBand(high, low, high, low)
    if "order_types" in row:
        given["order_types"] = frozenset(row["order_types"])
    given["permissions"] = tuple(map(frozenset, row.get("permissions", ())))
    text = json.dumps(row, sort_keys=True).encode()
    fixed = {"price_decimals": 2, "quantity_decimals": 3, "session": "continuous"}
    names = {"name": row["symbol"], "base": base, "quote": quote, "code": base + quote}
    return Instrument(**{**fixed, **names, **given, "version": version_of(text)})


_NUMBERS = ("tick_size", "step_size", "min_quantity", "max_quantity", "min_notional")
