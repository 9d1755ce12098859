"""A frozen clock, scripted prices and builders for the tests of this folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.domain.order import Order, OrderTerms, OrderType, Side, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import AccountKey, Context, Exchange, paper
from backend.exchanges.paper.faults import FaultScript

START = datetime(2026, 5, 26, 14, 0, tzinfo=UTC)
D = Decimal


class FrozenClock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class ScriptedPrices:
    """Prices set by hand: each stands from its second on."""

    name = "scripted"
    symbols: tuple[str, ...] = ()

    def __init__(self, clock: FrozenClock, replayable: bool = True) -> None:
        self.replayable = replayable
        self._clock = clock
        self._points: dict[str, list[Quote]] = {}

    def set(self, symbol: str, bid: str, ask: str, after_s: float = 0) -> None:
        """Let `symbol` have this touch from `after_s` seconds after START on."""
        as_of = START + timedelta(seconds=after_s)
        quote = Quote(symbol, D(bid), D(ask), D(bid), as_of, self.name)
        self._points.setdefault(symbol, []).append(quote)

    async def quote(self, symbol: str) -> Quote | None:
        passed = [q for q in self._points.get(symbol, []) if q.as_of <= self._clock()]
        if not passed:
            return None
        return replace(passed[-1], as_of=self._clock()) if self.replayable else passed[-1]

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        points = self._points.get(symbol, []) if self.replayable else []
        return [q for q in points if start < q.as_of <= end]

    async def close(self) -> None:
        pass


class Desk:
    """A paper account with its clock, prices and faults, at a home that can be reopened."""

    def __init__(self, home: Path, replayable: bool = True, **settings: str) -> None:
        self.clock = FrozenClock()
        self.prices = ScriptedPrices(self.clock, replayable)
        self.prices.set("AAPL", "99.99", "100.00")
        self.prices.set("BTC/USDT", "50000", "50000.01")
        self.prices.set("BNB/USDT", "500", "500.01")
        self.faults = FaultScript()
        self.context = Context(home, self.clock, self.prices, self.faults)
        self.account = AccountKey("paper", "main", "paper", "USD", settings)

    async def open(self, holdings: Mapping[str, Decimal] | None = None) -> paper.PaperExchange:
        """Open the account with 100,000 USD and connect to it."""
        await paper.open_account(self.account, self.context, D(100_000), holdings)
        return await self.connect()

    async def connect(self) -> paper.PaperExchange:
        return await paper.connect(self.account, self.context)

    def order(self, client_order_id: str = "trd-1", **changes: Any) -> Order:
        """Return a market buy of 10 AAPL at 100, valid for 2 s, changed as told."""
        return an_order(self.clock(), client_order_id, **changes)


def an_order(now: datetime, client_order_id: str = "trd-1", **changes: Any) -> Order:
    """Return a market buy of 10 AAPL at 100; numbers may be text."""
    given: dict[str, Any] = {
        k: D(v) if isinstance(v, str) and v[:1].isdigit() else v for k, v in changes.items()
    }
    limited = any(name in given for name in ("limit_price", "stop_price"))
    kind = given.get("order_type", OrderType.LIMIT if limited else OrderType.MARKET)
    is_market = kind == OrderType.MARKET
    price = given.get("price", D(100))
    return Order(
        client_order_id=client_order_id,
        terms=OrderTerms(
            symbol=given.get("symbol", "AAPL"),
            side=Side(given.get("side", "buy")),
            quantity=given.get("quantity", D(10)),
            order_type=OrderType(kind),
            limit_price=given.get("limit_price"),
            stop_price=given.get("stop_price"),
            time_in_force=TimeInForce(given.get("tif", "ioc" if is_market else "gtc")),
        ),
        price=price,
        worst_price=given.get("worst_price", price),
        sign_time=now,
        valid_until=given.get("valid_until", now + timedelta(seconds=2)),
        expires_at=given.get("expires_at"),
    )


async def totals(exchange: Exchange) -> dict[str, str]:
    """Return what the account owns, as text, by currency."""
    return {b.currency: format(b.total, "f") for b in await exchange.balances()}
