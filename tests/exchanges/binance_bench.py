"""A Binance account against the simulator: a frozen clock for both sides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backend.domain.order import Order
from backend.domain.secret import Secret
from backend.exchanges import AccountKey, Context, binance
from tests.exchanges.bench import Bench
from tests.exchanges.catalogue import TinyCatalogue
from tests.exchanges.scripted import D, FrozenClock, ScriptedPrices, an_order
from tests.simulators.binance import Account, Simulator

SYMBOL = "BTC/USDT"
FUNDS = {"USDT": D(100_000), "BTC": D(1), "BNB": D(0)}
NO_FUNDS = "Account has insufficient balance for requested action."


@dataclass
class BinanceDesk:
    """The simulator, one account there, and our exchange on it."""

    sim: Simulator
    clock: FrozenClock
    catalogue: TinyCatalogue
    account: Account
    exchange: binance.BinanceExchange
    road: str = ""

    def order(self, client_order_id: str = "trd-1", **changes: Any) -> Order:
        """Return a market buy of 0.1 BTC that fills at once, changed as told."""
        changes.setdefault("symbol", SYMBOL)
        changes.setdefault("quantity", D("0.1"))
        changes.setdefault("price", D("50000.01"))
        return an_order(self.clock(), client_order_id, **changes)

    def sent(self) -> list[str]:
        """Return the client ids of the orders of which a byte arrived."""
        places = [seen for seen in self.sim.requests if is_order(seen)]
        return [seen.params["newClientOrderId"] for seen in places]

    async def connect(self, account: Account, **settings: str) -> binance.BinanceExchange:
        """Connect to an account of the simulator."""
        return await binance.connect(account_key(account, **settings), self.catalogue.context)

    async def close(self) -> None:
        await self.exchange.close()
        await self.catalogue.close()
        await self.sim.stop()


def is_order(seen: Any) -> bool:
    return (seen.method, seen.path) in (("POST", "/api/v3/order"), ("WS", "order.place"))


def account_key(account: Account, **settings: str) -> AccountKey:
    """Return our key of an account of the simulator."""
    parts = {"api_key": Secret(account.key)}
    if account.private_key:
        parts["private_key"] = Secret(account.private_key)
    else:
        parts["api_secret"] = Secret(account.secret)
    return AccountKey("binance", str(account.uid), "testnet", "USDT", settings, parts)


async def open_desk(
    home: Path, key_type: str = "hmac", ws_api_url: str | None = None, **settings: str
) -> BinanceDesk:
    """Start a simulator with one account, and connect to it."""
    clock = FrozenClock()
    sim = Simulator(clock)
    await sim.start()
    sim.set_touch("BTCUSDT", "50000", "50000.01")
    account = sim.add_account(FUNDS, key_type)
    simulators = {"binance": (sim.rest_url, ws_api_url or sim.ws_api_url, sim.stream_url)}
    catalogue = TinyCatalogue(Context(home, clock, ScriptedPrices(clock), simulators=simulators))
    await catalogue.load("binance", "testnet")
    exchange = await binance.connect(account_key(account, **settings), catalogue.context)
    return BinanceDesk(sim, clock, catalogue, account, exchange)


@asynccontextmanager
async def desk_at(home: Path, key_type: str = "hmac", **changes: Any) -> AsyncIterator[BinanceDesk]:
    """Open a desk and close it; `changes` as `open_desk` takes them."""
    desk = await open_desk(home, key_type, **changes)
    try:
        yield desk
    finally:
        await desk.close()


async def eventually(is_true: Callable[[], object]) -> None:
    """Let the loop run until something is so."""
    for _ in range(100_000):
        if is_true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never became so")


async def open_bench(home: Path) -> Bench:
    """Return the account as the contract suite needs it."""
    desk = await open_desk(home)
    sim = desk.sim

    def refuse() -> None:
        # Nobody listens any more, at once: `stop` would let the next connection in first.
        listener = sim._rest.server._server
        assert listener is not None
        listener.close()

    words: dict[str, Callable[[], object]] = {
        "reject": partial(sim.script, "order", "reject", msg=NO_FUNDS),
        "unavailable": refuse,
        "lose_answer": partial(sim.script, "order", "lose_answer"),
        "lookup": partial(sim.script, "query", "lose_request"),
    }

    async def by_hand() -> None:
        other = await desk.connect(desk.account)
        await other.submit(desk.order("web_1"))
        await other.close()

    async def stop() -> None:
        await desk.catalogue.close()
        await sim.stop()

    return Bench(
        desk.exchange,
        symbol=SYMBOL,
        payment="USDT",
        order=desk.order,
        far=D(45_000),
        fail_next=lambda word: words[word](),
        sent=desk.sent,
        clock=desk.clock,
        identifier=str(desk.account.uid),
        exact="0.12345",
        trade_by_hand=by_hand,
        stop=stop,
    )
