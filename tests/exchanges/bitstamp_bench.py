"""The Bitstamp adapter against its simulator: one account, one clock for both."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.domain.order import Order
from backend.domain.secret import Secret
from backend.exchanges import AccountKey, Context, bitstamp
from backend.exchanges.bitstamp.exchange import BitstampExchange
from backend.exchanges.bitstamp.market import BitstampMarket
from tests.exchanges.bench import Bench
from tests.exchanges.catalogue import TinyCatalogue
from tests.exchanges.scripted import D, FrozenClock, ScriptedPrices, an_order
from tests.simulators.bitstamp import Account, Simulator, faults
from tests.simulators.bitstamp.calls import Call
from tests.simulators.bitstamp.routes import Route
from tests.simulators.bitstamp.rules import Draft
from tests.simulators.bitstamp.stream import Stream
from tests.simulators.http import Reply, Request

PLENTY = {"usd": D(1_000_000), "btc": D(10), "eth": D(100)}
VALIDITY = timedelta(seconds=150)


class Moody(Stream):
    """Refuses the next `refusals` subscriptions, without saying why."""

    refusals = 0

    def _change(
        self, connection: Any, event: str, channel: str, token: str
    ) -> list[dict[str, Any]]:
        if not self.refusals:
            return super()._change(connection, event, channel, token)
        self.refusals -= 1
        return [{"event": "bts:error", "channel": "", "data": {"code": None, "message": "Later."}}]


class Altered(Simulator):
    """A simulator whose signed answers can be made to say something else.

    Attributes:
        instead: by operation, what makes another body of an answer's.
        forgets_names: orders are placed without their client ids.
    """

    stream: Moody

    def __init__(self, clock: FrozenClock, **options: Any) -> None:
        super().__init__(clock, **options)
        self.instead: dict[str, Callable[[bytes], bytes]] = {}
        self.forgets_names = False
        self.stream = Moody(clock, self.tokens, self._note_frame)

    def _do(self, request: Request, route: Route, call: Call) -> Reply:
        if self.forgets_names and route.operation == "submit":
            call.params.pop("client_order_id", None)
        reply = super()._do(request, route, call)
        change = self.instead.get(route.operation)
        return reply if change is None else replace(reply, body=change(reply.body))


class Desk:
    """A simulator, an account on it, and our connection to that account."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.home = home
        self.clock = FrozenClock()
        self.sim = Altered(self.clock, **options)
        self.opened: list[BitstampExchange] = []

    async def start(self) -> "Desk":
        await self.sim.start()
        self.account = self.sim.add_account(PLENTY)
        self.sim.set_touch("btcusd", D(49_990), D(50_000))
        self.catalogue = self.another_catalogue()
        return self

    def another_catalogue(self) -> TinyCatalogue:
        """Return a catalogue with connections of its own to the simulator."""
        addresses = (self.sim.rest_url, self.sim.ws_url)
        context = Context(
            self.home,
            self.clock,
            ScriptedPrices(self.clock),
            simulators={"bitstamp": addresses},
        )
        return TinyCatalogue(context)

    async def __aenter__(self) -> "Desk":
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def market(self) -> BitstampMarket:
        market = self.catalogue.market("bitstamp", "testnet")
        assert isinstance(market, BitstampMarket)
        return market

    async def connect(self, **settings: str) -> BitstampExchange:
        """Connect to the account, or with its key to a sub account of it."""
        key = a_key(self.account, settings)
        exchange = await bitstamp.connect(key, self.catalogue.context)
        self.opened.append(exchange)
        return exchange

    async def stop(self) -> None:
        for exchange in self.opened:
            await exchange.close()
        await self.catalogue.close()
        await self.sim.stop()

    def order(self, client_order_id: str = "trd-1", **changes: Any) -> Order:
        """Return a market buy of 0.01 BTC/USD at 50,000, valid for 150 s."""
        given = {"symbol": "BTC/USD", "quantity": "0.01", "price": "50000"} | changes
        given.setdefault("valid_until", self.clock() + VALIDITY)
        return an_order(self.clock(), client_order_id, **given)

    def by_hand(self, **changes: Any) -> None:
        """Buy 0.01 BTC at the market as a person would, without an id of ours."""
        market = self.sim.engine.markets["btcusd"]
        draft = Draft(self.account, market, "buy", "market", D("0.01"))
        self.sim.engine.submit(replace(draft, **changes))

    def sent(self) -> list[str]:
        """Return the client ids of the orders of which a byte arrived."""
        return [
            seen.params["client_order_id"]
            for seen in self.sim.requests
            if seen.path.startswith(("/api/v2/buy/", "/api/v2/sell/"))
        ]

    def refuse_connections(self) -> None:
        """Listen no more. Only sure before the first request: connections are kept."""
        server = self.sim._http._server
        assert server is not None
        server.close()

    def fail_next(self, word: str) -> None:
        """Make the next submit or look-up fail, as the contract suite says."""
        script = self.sim.faults
        if word == "reject":
            script.next("submit", faults.reject("400.009", "You have only 1.00 USD available."))
        elif word == "lose_answer":
            script.next("submit", faults.lose_answer())
        elif word == "lookup":
            script.next("order_status", faults.html_502(False))
        else:
            self.refuse_connections()


def a_key(account: Account, settings: Mapping[str, str] | None = None) -> AccountKey:
    """Return what `account add` would have stored of this account."""
    parts = {"api_key": Secret(account.key), "api_secret": Secret(account.secret)}
    identifier = str(account.user_id)
    return AccountKey("bitstamp", identifier, "testnet", "USD", settings or {}, parts)


async def open_bench(home: Path) -> Bench:
    """Return what the contract suite needs of one account."""
    desk = await Desk(home).start()
    # On connections of its own: the adapter's first request is then its first connection.
    first = desk.another_catalogue()
    desk.catalogue._metadata["bitstamp", "testnet"] = await first.load("bitstamp", "testnet")
    await first.close()

    async def by_hand() -> None:
        desk.by_hand()

    return Bench(
        await desk.connect(),
        symbol="BTC/USD",
        payment="USD",
        order=desk.order,
        far=Decimal(45_000),
        fail_next=desk.fail_next,
        sent=desk.sent,
        clock=desk.clock,
        identifier=str(desk.account.user_id),
        exact="0.01234567",
        trade_by_hand=by_hand,
        stop=desk.stop,
    )
