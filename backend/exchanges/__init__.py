"""The exchange protocol. Each module of this folder is an exchange, named by its file.

`connect(account, context)` in that module returns an `Exchange` bound to one
account, `open_market(environment, context)` what the exchange tells everybody: see
`ExchangeModule` and `kb/exchanges/README.md`. A newcomer adds one module; the contract
suite runs on every one found.

A `submit` ends in exactly one way: an `OrderReport`, `ExchangeRejected` (a code on
that exchange's closed list), `ExchangeUnavailable` (no byte was written) or
`OutcomeUnknown` (everything else). It is one attempt: no retry, no redirect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable
from backend.domain.instrument import Currency, Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport, OrderType, TimeInForce
from backend.domain.quote import Prices, Quote
from backend.domain.secret import Credentials

if TYPE_CHECKING:
    from backend.exchanges.paper.faults import FaultScript


class ClientOrderId(StrEnum):
    """What an exchange's client order id is worth. None of them is an idempotency key."""

    UNIQUE_FOR_EVER = "unique_for_ever"
    UNIQUE_AMONG_OPEN = "unique_among_open"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an exchange declares about itself.

    Attributes:
        validity: how long after `sign_time` it may still accept an order.
        absence_margin: what is waited beyond `valid_until` before a look-up counts.
        absence_answers: how many "not found" answers prove absence; 1 only where
            the look-up is authoritative.
        absence_spacing: between two of them.
        band_bps: how far from the locked price a market order may fill by default.
        look_up_every: least time between two look-ups of one unsettled order.
        poll_every: how often open orders are read in bulk beside the stream.
    """

    environments: frozenset[str]
    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    client_order_id: ClientOrderId
    validity: timedelta
    absence_margin: timedelta
    absence_answers: int
    absence_spacing: timedelta
    band_bps: Decimal
    poll_every: timedelta
    stream: bool
    sub_accounts: bool
    look_up_every: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class AccountKey:
    """Which account to connect to.

    Attributes:
        identifier: the exchange's own name for it.
        settings: what `account add` stored for this exchange, as text.
        credentials: by the names that the exchange declares; empty where it needs none.
    """

    exchange: str
    identifier: str
    environment: str
    currency: str
    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the exchange itself says of a key.

    Attributes:
        identifier: the account it belongs to.
        may_withdraw: None where the exchange does not tell.
        permissions: in the exchange's own words.
    """

    identifier: str
    may_trade: bool
    may_withdraw: bool | None
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """What can be traded under which rules: one good set of the exchange's own documents.

    Attributes:
        version: changes whenever anything in it does.
        instruments: by symbol; currencies: by code.
    """

    version: str
    as_of: datetime
    instruments: Mapping[str, Instrument]
    currencies: Mapping[str, Currency]


class Market(Protocol):
    """What an exchange tells everybody in one environment: no key is needed.

    Attributes:
        prices: the touch of its books.
        fees: what an account without any volume pays.
    """

    prices: Prices
    fees: FeeSchedule

    async def fetch_metadata(self) -> bytes:
        """Return the exchange's documents of what can be traded, whole, as JSON.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, ExchangeRejected: no usable answer.
        """
        ...

    def read_metadata(self, content: bytes, as_of: datetime) -> Metadata:
        """Return what the documents say.

        Raises:
            ValueError: they are not what they should be, or name nothing to trade.
        """
        ...

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return the price that the instrument's `price_band` is around, or None."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Catalogue(Protocol):
    """The markets in use, shared by all accounts of this process."""

    def market(self, exchange: str, environment: str) -> Market:
        """Return the public side of an exchange, opened the first time."""
        ...

    def metadata(self, exchange: str, environment: str) -> Metadata:
        """Return the last good set.

        Raises:
            ExchangeUnavailable: there never was one.
        """
        ...


class NoCatalogue:
    """For exchanges that need no other's rules or prices."""

    def market(self, exchange: str, environment: str) -> Market:
        raise ExchangeUnavailable(f"nothing is known of {exchange} here")

    def metadata(self, exchange: str, environment: str) -> Metadata:
        raise ExchangeUnavailable(f"nothing is known of {exchange} here")


@dataclass(frozen=True, slots=True)
class Context:
    """What an exchange may use of ours.

    Attributes:
        home: the folder for its own durable state.
        prices: quotes for exchanges that have none of their own.
        faults: what the paper exchange shall do wrong, for tests; None in production.
        simulators: addresses on loopback that stand for an exchange's testnet, by its name,
            in the order the exchange declares; never for live.
    """

    home: Path
    clock: Clock
    prices: Prices
    faults: FaultScript | None = None
    catalogue: Catalogue = field(default_factory=NoCatalogue)
    simulators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Balance:
    """What the exchange says the account holds of one currency."""

    currency: str
    total: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a private stream.

    Attributes:
        report: news of one order; None: something may have been missed up to here, so
            everything is looked up. A stream begins with one of these.
    """

    report: OrderReport | None


class Exchange(Protocol):
    """One account at one exchange.

    Look-ups raise one of `errors.NO_ANSWER` or `RateLimited` when they got no answer:
    that is no evidence of anything.
    """

    capabilities: Capabilities

    async def identity(self) -> Identity:
        """Return whom the exchange says this connection belongs to."""
        ...

    async def metadata(self) -> Metadata:
        """Return everything that can be traded, under its present rules."""
        ...

    async def own_rules(self, instrument: Instrument) -> Instrument:
        """Return the rules as they hold for this account; most exchanges have no others."""
        return instrument

    async def fees(self, symbol: str | None = None) -> FeeSchedule:
        """Return what this account pays on `symbol`; None: where nothing else is known."""
        ...

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch of this exchange's own book."""
        ...

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return the price that the instrument's `price_band` is around, or None."""
        ...

    async def now(self) -> datetime:
        """Return the exchange's clock."""
        ...

    async def prepare(self) -> datetime:
        """Make ready to send one order at once, and return the exchange's clock.

        Everything that can wait or fail happens here: connection, clock, room in the
        rate limits.

        Raises:
            ExchangeUnavailable, RateLimited: nothing was sent.
        """
        ...

    async def submit(self, order: Order) -> OrderReport:
        """Send one order, once."""
        ...

    async def cancel(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> None:
        """Ask for a cancel. An answer is no proof: look the order up."""
        ...

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> OrderReport | None:
        """Return the order with all its fills, or None: an authenticated "not found".

        Args:
            exchange_order_id: where it is known, it is the safer key.
        """
        ...

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return every live order of the account."""
        ...

    async def orders(self, symbol: str, since: datetime) -> Sequence[OrderReport]:
        """Return the order history of `symbol`, open ones included, oldest first."""
        ...

    async def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's fills of `symbol`, oldest first."""
        ...

    async def balances(self) -> Sequence[Balance]:
        """Return every non-zero balance."""
        ...

    def events(self) -> AsyncGenerator[Event, None]:
        """Stream news of this account's orders from now on; see `Event`.

        Ends by raising one of `errors.NO_ANSWER`; the caller comes back later.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ExchangeModule(Protocol):
    """What each module of this folder offers.

    `SETTINGS` names each `account add` option with its default and a sentence of help;
    `CREDENTIALS` names each part of a key with a sentence of help.
    A real exchange offers `open_market`. An exchange whose accounts are ours to make
    offers `open_account` and `reset_account` instead; only paper does.
    """

    CAPABILITIES: Capabilities
    SETTINGS: Mapping[str, tuple[str, str]]
    CREDENTIALS: Mapping[str, str]

    async def connect(self, account: AccountKey, context: Context) -> Exchange:
        """Return the exchange bound to `account`.

        Raises:
            ValueError: a setting or a credential is malformed; the sentence shows no secret.
        """
        ...

    def open_market(self, environment: str, context: Context) -> Market:
        """Return the public side of one environment. Connects when first asked."""
        ...

    async def open_account(self, account: AccountKey, context: Context, **opening: Any) -> None:
        """Create the account, with its opening balance."""
        ...

    async def reset_account(self, account: AccountKey, context: Context) -> None:
        """Put the account back to its opening balance and cancel its live orders."""
        ...


def is_real(module: ExchangeModule) -> bool:
    """Say whether the exchange exists outside this program."""
    return hasattr(module, "open_market")
