"""The exchange protocol. Each module of this folder is an exchange, named by its file.

`connect(account, context)` in that module returns an `Exchange` bound to one
account. A newcomer adds one file; the contract suite runs on every file found.

A `submit` ends in exactly one way: an `OrderReport`, `ExchangeRejected` (a code on
that exchange's closed list), `ExchangeUnavailable` (no byte was written) or
`OutcomeUnknown` (everything else). It is one attempt: no retry, no redirect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backend.domain.clock import Clock
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport, OrderType, TimeInForce
from backend.domain.quote import Prices, Quote

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


@dataclass(frozen=True, slots=True)
class AccountKey:
    """Which account to connect to.

    Attributes:
        identifier: the exchange's own name for it.
        settings: what `account add` stored for this exchange, as text.
    """

    exchange: str
    identifier: str
    environment: str
    currency: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What an exchange may use of ours.

    Attributes:
        home: the folder for its own durable state.
        prices: quotes for exchanges that have none of their own.
        faults: what the paper exchange shall do wrong, for tests; None in production.
    """

    home: Path
    clock: Clock
    prices: Prices
    faults: FaultScript | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the exchange says the account holds of one currency."""

    currency: str
    total: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a private stream. `sequence` grows by one; a hole is a gap."""

    sequence: int
    report: OrderReport


class Exchange(Protocol):
    """One account at one exchange.

    Look-ups raise `ExchangeUnavailable` or `OutcomeUnknown` when they got no
    answer: that is no evidence of anything.
    """

    capabilities: Capabilities

    async def instruments(self) -> Sequence[Instrument]:
        """Return everything that can be traded, under its present rules."""
        ...

    async def fees(self) -> FeeSchedule:
        """Return what this account pays."""
        ...

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch of this exchange's own book."""
        ...

    async def now(self) -> datetime:
        """Return the exchange's clock."""
        ...

    async def submit(self, order: Order) -> OrderReport:
        """Send one order, once."""
        ...

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        """Ask for a cancel. An answer is no proof: look the order up."""
        ...

    async def find(self, client_order_id: str, symbol: str) -> OrderReport | None:
        """Return the order with all its fills, or None: an authenticated "not found"."""
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

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Stream reports of this account's orders: after that event, None: from now on."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ExchangeModule(Protocol):
    """What each file of this folder offers.

    `SETTINGS` names each `account add` option with its default and a sentence of help.
    An exchange whose accounts are ours to make also offers `open_account` and
    `reset_account`; only paper does.
    """

    CAPABILITIES: Capabilities
    SETTINGS: Mapping[str, tuple[str, str]]

    async def connect(self, account: AccountKey, context: Context) -> Exchange:
        """Return the exchange bound to `account`."""
        ...

    async def open_account(self, account: AccountKey, context: Context, **opening: Any) -> None:
        """Create the account, with its opening balance."""
        ...

    async def reset_account(self, account: AccountKey, context: Context) -> None:
        """Put the account back to its opening balance and cancel its live orders."""
        ...
