"""The exchange's side of a world: what goes wrong there, and what its books truly hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.domain.clock import Clock


@dataclass(frozen=True, slots=True)
class Theirs:
    """One order as the exchange's own books have it."""

    client_order_id: str | None
    side: str
    quantity: Decimal
    filled: Decimal
    live: bool


class ExchangeSide(ABC):
    """One simulated exchange with one account of ours.

    Attributes:
        symbol, code: what is traded here, in our spelling and in theirs.
        validity: how long a request may still be taken after it was signed.
        absent_after_s: seconds after which enough "not found" answers prove absence, and
        spacing_s: between two of them.
        connection_lasts: after which age a private connection is replaced.
    """

    name: str
    symbol: str
    code: str
    base = "BTC"
    payment: str
    validity: timedelta
    absent_after_s: float
    spacing_s: float
    connection_lasts: timedelta

    @abstractmethod
    def __init__(self, clock: Clock, **options: Any) -> None: ...

    @abstractmethod
    async def start(self) -> None:
        """Start the simulator with a touch of 49,990 / 50,000 and one account."""

    @abstractmethod
    async def stop(self) -> None: ...

    @property
    @abstractmethod
    def addresses(self) -> str:
        """What EXEC_MCP_SIMULATORS says of it."""

    @property
    @abstractmethod
    def identifier(self) -> str: ...

    @property
    @abstractmethod
    def credentials(self) -> dict[str, str]: ...

    @abstractmethod
    def touch(self, bid: str, ask: str, depth: str = "10") -> None:
        """Put the market here; resting orders that it crosses fill."""

    @abstractmethod
    def next_submit(self, word: str) -> None:
        """Let the next order go wrong.

        Args:
            word: `lose_answer` (taken, the connection breaks), `lose_request` (not taken),
                `late` (on its way until `deliver_late`), `error` and `html` (taken, and
                answered by an error that proves nothing), `error_not_taken`, `truncated`
                (taken), `no_funds` (refused), `hidden` (taken; look-ups miss it until
                `unhide`), `duplicate_id` (answered as if the id were in use; not taken).
        """

    @abstractmethod
    def next_cancel(self, word: str) -> None:
        """Let the next cancel go wrong: `lose_answer` (done), `lose_request` (not done)."""

    @abstractmethod
    def look_ups(self, word: str | None) -> None:
        """Let every look-up of an order fail until None: `denied`, `limited`, `html`, `lost`."""

    @abstractmethod
    def unhide(self) -> None:
        """Let look-ups see everything."""

    @abstractmethod
    async def deliver_late(self) -> None:
        """Let the late request arrive now; the exchange refuses it after its validity."""

    @abstractmethod
    def theirs(self) -> list[Theirs]:
        """Return the account's orders by the exchange's own books, oldest first."""

    @abstractmethod
    def balances(self) -> dict[str, Decimal]:
        """Return the account's totals that are not zero."""

    @abstractmethod
    def by_hand(
        self,
        quantity: str = "0.01",
        side: str = "buy",
        price: str | None = None,
        client_order_id: str | None = None,
    ) -> None:
        """Order as a person would: at the market, or resting at `price`; no id of ours."""

    @abstractmethod
    def cancel_by_hand(self, client_order_id: str) -> None:
        """Cancel an order as a person would on the exchange's own page."""

    @abstractmethod
    def stranger(self, side: str, price: str, quantity: str) -> None:
        """Let somebody take from the book up to a price: what rests of ours fills in part."""

    @abstractmethod
    def offer(self, price: str, quantity: str) -> None:
        """Let somebody sell at a price beside the touch."""

    @abstractmethod
    def revoke(self) -> None:
        """Make the exchange forget our key."""

    @abstractmethod
    def drop_events(self, count: int) -> None:
        """Let the private stream lose its next messages."""

    @abstractmethod
    def double_events(self, count: int) -> None:
        """Let the private stream tell its next messages twice."""

    @abstractmethod
    def silence(self, on: bool) -> None:
        """Let the private stream tell nothing, while its connection lives."""

    @abstractmethod
    def fills_last(self) -> None:
        """Let the stream tell the news of the next order that takes out of their order."""

    @abstractmethod
    async def break_stream(self) -> None:
        """Break every private connection."""

    @abstractmethod
    def ask_reconnect(self) -> None:
        """Tell every client to come back on a new connection."""

    @abstractmethod
    def subscribed(self) -> int:
        """Return how often the private orders were subscribed to so far."""

    @abstractmethod
    def set_fees(self, rate: str) -> None:
        """Let the account pay this fraction from now on."""

    @abstractmethod
    def new_credentials(self) -> dict[str, str]:
        """Make another key of the same account."""

    @abstractmethod
    def others_credentials(self) -> dict[str, str]:
        """Make a key of somebody else's account."""

    @abstractmethod
    def roll_back(self, count: int) -> None:
        """Lose the last orders with their fills, as a restored exchange does."""

    @abstractmethod
    def reset(self) -> None:
        """Lose every order, its fills and what they moved, as a test exchange does."""

    @abstractmethod
    def renames_cancelled(self) -> None:
        """Show cancelled orders under another client id, where the exchange may do that."""

    @abstractmethod
    def coarser(self) -> None:
        """Change the rules: only whole multiples of 0.1 BTC from now on."""

    @abstractmethod
    def orders_received(self) -> list[str]:
        """Return the client order ids of every order request of which a byte arrived."""

    @abstractmethod
    def requests(self) -> int:
        """Return how many requests of any kind have arrived so far."""
