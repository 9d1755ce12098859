"""A quote: what the market shows, when, and who says so."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Quote:
    """The touch of one instrument.

    Attributes:
        bid, ask, last: quote currency per base unit.
        as_of: aware UTC; the moment the prices stood.
        source: who says so, for example `simulated` or `binance`.
    """

    symbol: str
    bid: Decimal
    ask: Decimal
    last: Decimal
    as_of: datetime
    source: str

    def touch(self, side: str) -> Decimal:
        """Return the ask for a buy, the bid for a sell."""
        return self.ask if side == "buy" else self.bid

    @property
    def mid(self) -> Decimal:
        """Return the middle of bid and ask."""
        return (self.bid + self.ask) / 2


class Prices(Protocol):
    """Where quotes come from. Each module of `backend/prices` is one, named by its file.

    Attributes:
        name: the value of `EXEC_MCP_PRICE_SOURCE` that chose it.
        replayable: `path` can tell what the prices were while nobody looked.
    """

    name: str
    replayable: bool

    @property
    def symbols(self) -> Sequence[str]:
        """Return what it has prices for; empty when it cannot list them."""
        ...

    async def quote(self, symbol: str) -> Quote | None:
        """Return the quote at the clock's now, or None when there is none."""
        ...

    def path(self, symbol: str, start: datetime, end: datetime) -> Sequence[Quote]:
        """Return the quotes after `start` up to and with `end`, oldest first.

        At most some thousands, evenly spaced over a long pause; () if not replayable.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Watchable(Protocol):
    """A price source that tells of each new quote by itself: not every one does."""

    def watch(self, symbol: str) -> AsyncGenerator[Quote, None]:
        """Yield each new quote, for ever; to who comes late only the newest.

        It ends at once where the source cannot tell of this symbol by itself.
        """
        ...
