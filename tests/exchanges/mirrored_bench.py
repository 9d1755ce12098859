"""A paper account that follows another exchange, as the contract suite needs it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.domain.order import Order
from backend.exchanges import AccountKey, paper
from tests.exchanges.bench import Bench
from tests.exchanges.scripted import D, Desk
from tests.exchanges.tiny import TinyCatalogue, TinyMarket

SYMBOL = "BTC/USDT"


class MirroredDesk(Desk):
    """A paper account in USDT that mirrors the tiny exchange."""

    def __init__(self, home: Path, **settings: str) -> None:
        super().__init__(home, replayable=False)
        self.market = TinyMarket(self.clock)
        catalogue = TinyCatalogue(self.market, self.clock)
        self.context = replace(self.context, catalogue=catalogue)
        self.account = AccountKey("paper", "main", "paper", "USDT", {"mirror": "tiny", **settings})

    def order(self, client_order_id: str = "trd-1", **changes: Any) -> Order:
        """Return a market buy of 10 BTC at 100, valid for 2 s, changed as told."""
        return super().order(client_order_id, **{"symbol": SYMBOL, **changes})


async def open_bench(home: Path) -> Bench:
    """Return the account as the contract suite needs it."""
    desk = MirroredDesk(home)
    words = {
        "reject": desk.faults.reject,
        "unavailable": desk.faults.unavailable,
        "lose_answer": desk.faults.lose_answer,
        "lookup": desk.faults.fail_lookups,
    }
    exchange: paper.PaperExchange = await desk.open()

    async def by_hand() -> None:
        await exchange.submit(desk.order("by-hand"))

    return Bench(
        exchange,
        symbol=SYMBOL,
        payment="USDT",
        order=desk.order,
        far=D(90),
        fail_next=lambda word: words[word](),
        sent=lambda: [order.client_order_id for order in desk.faults.sent],
        clock=desk.clock,
        identifier="main",
        exact="7.123",
        trade_by_hand=by_hand,
    )
