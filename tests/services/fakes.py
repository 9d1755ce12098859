"""An exchange that does what it is told and remembers what it was asked.

Unlike paper it is no authority on absence: three spaced answers, after a margin.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from backend.domain.clock import Clock
from backend.domain.errors import ExchangeRejected, ExecError, OutcomeUnknown
from backend.domain.instrument import Currency, Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport, OrderState, OrderType, Side, TimeInForce
from backend.domain.quote import Prices, Quote
from backend.exchanges import (
    AccountKey,
    Balance,
    Capabilities,
    ClientOrderId,
    Context,
    Event,
    Exchange,
    ExchangeModule,
    Identity,
    Market,
    Metadata,
)
from backend.services import Desk, reconcile
from backend.store import accounts, ledger
from backend.store.accounts import Account
from backend.testing import Stack

D = Decimal
ACCOUNT = "fake:one"
OPENING = {"USD": D(100_000), "BTC": D(10)}

CAPABILITIES = Capabilities(
    environments=frozenset({"testnet", "live"}),
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset({TimeInForce.IOC, TimeInForce.GTC}),
    client_order_id=ClientOrderId.NOT_CHECKED,
    validity=timedelta(seconds=3),
    absence_margin=timedelta(seconds=30),
    absence_answers=3,
    absence_spacing=timedelta(seconds=11),
    band_bps=D(10),
    poll_every=timedelta(),
    stream=False,
    sub_accounts=False,
)

BTC = Instrument(
    symbol="BTC/USD",
    name="Bitcoin",
    base="BTC",
    quote="USD",
    tick_size=D("0.01"),
    step_size=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D(100),
    min_notional=D(10),
    max_notional=None,
    price_decimals=2,
    quantity_decimals=3,
    session="continuous",
    version="fake-1",
)


class FakeExchange(Exchange):
    """One account.

    Attributes:
        answers: of the next submits: a report, an error, or "fill" (the default).
        told: what a look-up by id finds; "hidden" orders are not in it.
        trouble: by method, what it raises instead of answering.
        hang: submit waits for it, after the order left; slow: some look-ups do.
        asked: how often each method was called.
    """

    capabilities = CAPABILITIES

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rules = BTC
        self.schedule = FeeSchedule(D(0), D(0))
        self.reference: Decimal | None = None
        self.says = Identity("one", may_trade=True, may_withdraw=False)
        self.touches = {"BTC/USD": (D("999.00"), D("1000.00"))}
        self.answers: list[OrderReport | ExecError | str] = []
        self.told: dict[str, OrderReport] = {}
        self.history: list[OrderReport] = []
        self.account_fills: list[Fill] = []
        self.totals = dict(OPENING)
        self.trouble: dict[str, ExecError] = {}
        self.hang: asyncio.Event | None = None
        self.slow: asyncio.Event | None = None
        self.sent: list[Order] = []
        self.cancelled: list[str] = []
        self.asked: Counter[str] = Counter()

    def _ask(self, method: str) -> None:
        self.asked[method] += 1
        if method in self.trouble:
            raise self.trouble[method]

    async def _think(self) -> None:
        if self.slow is not None:
            await self.slow.wait()

    async def identity(self) -> Identity:
        self._ask("identity")
        await self._think()
        return self.says

    async def metadata(self) -> Metadata:
        self._ask("metadata")
        known = {self.rules.symbol: self.rules}
        money = {code: Currency(code) for code in (self.rules.base, self.rules.quote)}
        return Metadata(self.rules.version, self.clock(), known, money)

    async def fees(self, symbol: str | None = None) -> FeeSchedule:
        self._ask("fees")
        await self._think()
        return self.schedule

    async def quote(self, symbol: str) -> Quote | None:
        self._ask("quote")
        if symbol not in self.touches:
            return None
        bid, ask = self.touches[symbol]
        return Quote(symbol, bid, ask, bid, self.clock(), "fake")

    async def now(self) -> datetime:
        self._ask("now")
        await self._think()
        return self.clock()

    async def reference_price(self, symbol: str) -> Decimal | None:
        self._ask("reference_price")
        return self.reference

    async def prepare(self) -> datetime:
        self._ask("prepare")
        return await self.now()

    async def submit(self, order: Order) -> OrderReport:
        self.sent.append(order)
        if self.hang is not None:
            await self.hang.wait()
        answer = self.answers.pop(0) if self.answers else "fill"
        if isinstance(answer, ExecError):
            raise answer
        if isinstance(answer, OrderReport):
            return replace(answer, client_order_id=order.client_order_id)
        report = filled(order)
        self.told[order.client_order_id] = report
        self._move(report)
        return report

    def _move(self, report: OrderReport) -> None:
        sign = 1 if report.side is Side.BUY else -1
        for fill in report.fills:
            self.totals["BTC"] += sign * fill.quantity
            self.totals["USD"] -= sign * fill.quantity * fill.price

    async def cancel(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> None:
        self.cancelled.append(client_order_id)
        self._ask("cancel")

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> OrderReport | None:
        self._ask("find")
        return self.told.get(client_order_id)

    async def open_orders(self) -> Sequence[OrderReport]:
        self._ask("open_orders")
        live = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)
        return [report for report in self.told.values() if report.state in live]

    async def orders(self, symbol: str, since: datetime) -> Sequence[OrderReport]:
        self._ask("orders")
        return list(self.history)

    async def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        self._ask("fills")
        return [fill for fill in self.account_fills if fill.executed_at >= since]

    async def balances(self) -> Sequence[Balance]:
        self._ask("balances")
        return [Balance(currency, total, total) for currency, total in self.totals.items()]

    async def events(self) -> AsyncGenerator[Event, None]:
        raise OutcomeUnknown("no stream here")
        yield  # pragma: no cover

    async def close(self) -> None:
        self.asked["close"] += 1


class FakeMarket(Market):
    """What the exchange tells everybody.

    Attributes:
        trouble: what fetching the rules raises instead of answering.
        prices: none; an account asks its own exchange.
    """

    prices: Prices

    def __init__(self) -> None:
        self.fees = FeeSchedule(D(0), D(0))
        self.trouble: ExecError | None = None

    async def fetch_metadata(self) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        return b'{"version":"fake-1"}'

    def read_metadata(self, content: bytes, as_of: datetime) -> Metadata:
        money = {code: Currency(code) for code in (BTC.base, BTC.quote)}
        return Metadata("fake-1", as_of, {BTC.symbol: BTC}, money)

    async def reference_price(self, symbol: str) -> Decimal | None:
        return None

    async def close(self) -> None:
        pass


class FakeModule:
    """What a file of the plug-in folder offers, with one exchange behind it."""

    CAPABILITIES = CAPABILITIES
    SETTINGS: Mapping[str, tuple[str, str]] = {}
    CREDENTIALS: Mapping[str, str] = {}

    def __init__(self, exchange: FakeExchange) -> None:
        self.exchange = exchange

    async def connect(self, account: AccountKey, context: Context) -> Exchange:
        return self.exchange

    async def open_account(self, account: AccountKey, context: Context, **opening: Any) -> None:
        raise NotImplementedError

    async def reset_account(self, account: AccountKey, context: Context) -> None:
        raise NotImplementedError


class RealModule(FakeModule):
    """An exchange outside of this program: a key opens the account that it belongs to.

    Attributes:
        accounts: what is behind each api_key; another key is refused when it is first used.
        keys: what was connected to, in order.
        market: its public side.
    """

    CREDENTIALS = {
        "api_key": "the key",
        "api_secret": "its secret",
        "private_key": "or a private key in PEM",
    }
    SETTINGS = {"speed": ("slow", "slow or fast")}

    def __init__(self, clock: Clock) -> None:
        super().__init__(FakeExchange(clock))
        self.clock = clock
        self.accounts: dict[str, FakeExchange] = {}
        self.keys: list[AccountKey] = []
        self.market = FakeMarket()

    def holds(self, api_key: str, identifier: str = "one", **says: Any) -> FakeExchange:
        """Add an account, or another key of one that is there, and return it."""
        told = {"may_trade": True, "may_withdraw": False, "permissions": ("spot",), **says}
        exchange = FakeExchange(self.clock)
        exchange.says = Identity(identifier, **told)
        self.accounts[api_key] = exchange
        return exchange

    async def connect(self, account: AccountKey, context: Context) -> Exchange:
        self.keys.append(account)
        if unknown := set(account.settings) - set(self.SETTINGS):
            raise ValueError(f"unknown settings {sorted(unknown)}")
        if "api_key" not in account.credentials or len(account.credentials) < 2:
            raise ValueError("a key is an api_key with an api_secret or a private_key")
        api_key = account.credentials["api_key"].reveal()
        if api_key not in self.accounts:
            stranger = FakeExchange(self.clock)
            stranger.trouble["identity"] = ExchangeRejected(f"no such key {api_key}", "401")
            return stranger
        return self.accounts[api_key]

    def open_market(self, environment: str, context: Context) -> Market:
        return self.market


def install_real(stack: Stack, name: str = "real") -> RealModule:
    """Add an exchange that is real to the stack, without any account, and return it."""
    desk = stack.backend.desk
    module = RealModule(stack.clock)
    # One mapping serves the desk and its markets.
    cast(dict[str, ExchangeModule], desk.exchanges)[name] = cast(ExchangeModule, module)
    return module


def a_fill(
    quantity: str, price: str = "1000.00", fill_id: str = "f-1", side: str = "buy", **more: Any
) -> Fill:
    """Return a fill without a fee, changed as told."""
    made = Fill(
        exchange_order_id="x-1",
        exchange_fill_id=fill_id,
        client_order_id=None,
        symbol="BTC/USD",
        side=Side(side),
        quantity=D(quantity),
        price=D(price),
        fee=D(0),
        fee_currency="USD",
        liquidity="taker",
        executed_at=datetime.fromisoformat("2026-05-26T14:14:41+00:00"),
    )
    return replace(made, **more)


def a_report(
    trade_id: str, state: str, *fills: Fill, filled: str | None = None, **more: Any
) -> OrderReport:
    """Return a report of a buy of 2 BTC; `filled` where the fills do not say it all."""
    total = D(filled) if filled else sum((f.quantity for f in fills), D(0))
    given = {"side": Side.BUY, "quantity": D(2), "exchange_order_id": "x-1", **more}
    return OrderReport(
        client_order_id=trade_id,
        symbol="BTC/USD",
        state=OrderState(state),
        filled_quantity=total,
        fills=fills,
        **given,
    )


def filled(order: Order) -> OrderReport:
    """Return the report of an order filled whole at its locked price."""
    terms = order.terms
    number = f"x-{order.client_order_id}"
    fill = a_fill(
        str(terms.quantity), str(order.price), "f-1", terms.side, exchange_order_id=number
    )
    return OrderReport(
        order.client_order_id,
        number,
        terms.symbol,
        terms.side,
        terms.quantity,
        OrderState.FILLED,
        terms.quantity,
        (fill,),
    )


async def add_fake(stack: Stack, environment: str = "testnet", **limits: str) -> FakeExchange:
    """Add the account `fake:one` with 100,000 USD and 10 BTC, and return its exchange."""
    exchange = FakeExchange(stack.clock)
    desk = stack.backend.desk
    desk.exchanges = {**desk.exchanges, "fake": cast(ExchangeModule, FakeModule(exchange))}

    def body(tx: Any) -> None:
        made = accounts.insert(
            tx,
            exchange="fake",
            identifier="one",
            name="one",
            environment=environment,
            currency="USD",
            settings={},
            limits=limits,
        )
        for currency, total in OPENING.items():
            ledger.adjust(tx, made.number, currency, total, "opening")

    await desk.database.write(body)
    return exchange


async def fake_account(desk: Desk) -> Account:
    """Return the account `fake:one` as it is now."""
    found = await desk.database.read(lambda tx: accounts.find(tx, ACCOUNT))
    assert found is not None
    return found


async def reconcile_fake(stack: Stack) -> None:
    """Reconcile `fake:one` once."""
    desk = stack.backend.desk
    await reconcile.reconcile(desk, await fake_account(desk))
