"""The simulator: three servers around one world, and the words a test scripts it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from tests.simulators.matching import Book

from . import trading
from .accounts import Account
from .errors import ApiError
from .gateway import Gateway
from .instruments import Instrument, built_in
from .market import Kline
from .orders import Fill, Order
from .rest import Rest
from .signing import Key
from .streams import StreamServer
from .views import deposit_event, position_event
from .world import Seen, World
from .wsapi import PATH, ApiServer

_DEPTH = Decimal(10)


def system_clock() -> datetime:
    return datetime.now(UTC)


class Simulator:
    """Binance Spot on loopback: REST, WebSocket API and market streams.

    `environment` is "live", "testnet" or "demo" (sapi exists on live only). Time is `clock` alone:
    whatever should happen later happens in `tick` or `deliver_late`.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] = system_clock,
        seed: int = 0,
        environment: str = "testnet",
        instruments: Sequence[Instrument] | None = None,
    ) -> None:
        listed = built_in() if instruments is None else list(instruments)
        self.world = World(clock, seed, environment, listed)
        gateway = Gateway(self.world)
        self._rest = Rest(self.world, gateway)
        self._api = ApiServer(self.world, gateway)
        self._streams = StreamServer(self.world)

    async def start(self, rest_port: int = 0, ws_port: int = 0, stream_port: int = 0) -> None:
        """Listen on these ports; 0 takes free ones."""
        await self._rest.server.start(rest_port)
        await self._api.start(ws_port)
        await self._streams.start(stream_port)

    async def stop(self) -> None:
        """Close all servers and connections."""
        await self._streams.stop()
        await self._api.stop()
        await self._rest.server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def rest_url(self) -> str:
        return self._rest.server.url

    @property
    def ws_api_url(self) -> str:
        return self._api.url + PATH

    @property
    def stream_url(self) -> str:
        """Without a path: add /ws/<stream> or /stream?streams=…"""
        return self._streams.url

    # --- what happened

    @property
    def requests(self) -> list[Seen]:
        return self.world.requests

    @property
    def orders(self) -> list[Order]:
        return self.world.engine.history

    @property
    def fills(self) -> list[Fill]:
        return self.world.engine.fills

    @property
    def books(self) -> Mapping[str, Book]:
        return self.world.engine.books

    # --- accounts and keys

    def add_account(
        self, balances: Mapping[str, Decimal], key_type: str = "hmac", **options: Any
    ) -> Account:
        """A new account with one key. Options: permissions, can_trade, maker, taker, pays_bnb,
        bnb_discount, max_asset, and can_withdraw, which the key then has too.
        """
        account = self.world.add_account(dict(balances), key_type, **options)
        account.first_key.can_withdraw = account.can_withdraw
        return account

    def add_key(self, account: Account, key_type: str = "hmac", **options: bool) -> Key:
        """Another key. Options: can_trade, can_withdraw, ip_restricted, ip_allowed."""
        return self.world.add_key(account, key_type, **options)

    def revoke(self, key: str) -> None:
        """The key is refused from now on, sessions included."""
        self.world.keys[key].revoked = True

    def deposit(self, account: Account, asset: str, quantity: Decimal) -> None:
        """Money comes (or, negative, goes) from outside; tells the user stream."""
        now, balance, publish = self.world.now(), account.balance(asset), self.world.engine.publish
        balance.free += quantity
        publish(account.uid, position_event(now, {asset: (balance.free, balance.locked)}))
        publish(account.uid, deposit_event(now, asset, quantity))

    # --- the market

    def set_touch(
        self, symbol: str, bid: Decimal | str, ask: Decimal | str, depth: Decimal = _DEPTH
    ) -> None:
        """The market maker's orders are replaced by one at each price, `depth` base each.

        Orders of accounts that they cross are filled first.
        """
        engine = self.world.engine
        engine.unquote(symbol)
        engine.quote(symbol, {"buy": Decimal(bid), "sell": Decimal(ask)}, depth)

    def add_quote(
        self, symbol: str, side: str, price: Decimal | str, quantity: Decimal | str
    ) -> None:
        """One more order of the market maker; side "buy" or "sell"."""
        self.world.engine.quote(symbol, {side: Decimal(price)}, Decimal(quantity))

    def clear_quotes(self, symbol: str) -> None:
        self.world.engine.unquote(symbol)

    def take(self, symbol: str, side: str, price: Decimal | str, quantity: Decimal | str) -> None:
        """A stranger takes from the book up to a price."""
        self.world.engine.trade_against(symbol, side, Decimal(price), Decimal(quantity))

    def print_trade(
        self, symbol: str, price: Decimal | str, quantity: Decimal | str = "1", side: str = "buy"
    ) -> None:
        """A public trade among strangers: moves the last price, triggers stops."""
        self.world.engine.print_trade(symbol, Decimal(price), Decimal(quantity), side)

    def set_reference_price(self, symbol: str, price: Decimal | str | None) -> None:
        """The symbol's reference price; None: it has one, which is null."""
        tape = self.world.engine.market.tapes[symbol]
        tape.has_reference, tape.reference_time = True, self.world.now()
        tape.reference = None if price is None else Decimal(price)

    def set_price_range(self, symbol: str, **multipliers: str) -> None:
        """The PRICE_RANGE rule: bidLimitMultUp, bidLimitMultDown, askLimitMultUp, …Down."""
        self.world.engine.market.tapes[symbol].price_range = multipliers

    def seed_klines(self, symbol: str, interval: str, rows: list[Kline]) -> None:
        """Recorded candles that come before those of the simulator's own trades."""
        self.world.engine.market.tapes[symbol].klines[interval] = rows

    def change_filters(self, symbol: str, **filters: Mapping[str, Any] | None) -> None:
        """Set fields of filters, such as LOT_SIZE={"stepSize": "0.1"}; None removes a filter."""
        self.world.instruments[symbol].change(filters)

    def set_exchange_filter(self, name: str, limit: int) -> None:
        """EXCHANGE_MAX_NUM_ORDERS or EXCHANGE_MAX_NUM_ALGO_ORDERS."""
        self.world.exchange_filters[name] = limit

    def set_status(self, symbol: str, status: str) -> None:
        """TRADING, HALT, BREAK, CANCEL_ONLY, or a word nobody knows."""
        self.world.instruments[symbol].status = status

    # --- scripted trouble

    def script(self, target: str, word: str, **details: Any) -> None:
        """A fault for the next request of a kind ("order", "cancel", "query") or method.

        Words: reject, lose_answer, lose_request, late, error, html_502, html_403, truncated,
        denied, limited, banned; details: committed, code, msg, status, times (None: for ever).
        """
        self.world.faults.script(target, word, **details)

    def script_stream(self, which: str, word: str, times: int = 1) -> None:
        """Bend the next events of "user" or "market": drop, duplicate, reorder, silent."""
        self._stream_faults(which).script(word, times)

    def withdraw(self, target: str) -> None:
        """Take back what was scripted for a request's target, or for "user" or "market"."""
        if target in ("user", "market"):
            self._stream_faults(target).withdraw()
        else:
            self.world.faults.withdraw(target)

    def lag(self, name: str, on: bool) -> None:
        """Hide news from order, openOrders, allOrders, account or myTrades until released."""
        self.world.reads.lag(name, on)

    def delay(self, check: int, milliseconds: int) -> None:
        """Let requests reach window check 1, 2 or 3 so much later, until set back to 0."""
        self.world.delays_ms[check] = milliseconds

    def set_limit(self, kind: str, limit: int, interval: str | None = None) -> None:
        """Change REQUEST_WEIGHT, RAW_REQUESTS, CONNECTIONS or ORDERS (interval SECOND or DAY)."""
        self.world.limits.set_limit(kind, limit, interval)
        for account in self.world.accounts.values():
            for window in account.count.windows:
                if window.kind == kind and interval in (None, window.interval):
                    window.limit = limit

    def ban(self, seconds: int = 120) -> None:
        """Answer 418 to everything for so long."""
        self.world.limits.ban(self.world.now(), seconds * 1000)

    def maintenance(self, on: bool) -> None:
        """Refuse orders and cancels, as demo mode does in its announced windows."""
        self.world.maintenance = on

    def rename_status(self, status: str, shown: str | None) -> None:
        """Show an order status as another word everywhere; None takes that back."""
        words = self.world.engine.views.words
        words.pop(status, None)
        if shown is not None:
            words[status] = shown

    def cancel_renames(self, on: bool) -> None:
        """Whether queries show a cancelled order under its cancel's id."""
        self.world.engine.views.cancel_renames = on

    async def deliver_late(self) -> list[Order | ApiError]:
        """The late orders arrive now: each is committed, or refused if its window is over."""
        late, self.world.late = self.world.late, []
        before = len(self.orders)
        outcomes: list[Order | ApiError] = []
        for call in late:
            try:
                trading.place(call)
                outcomes.append(self.orders[before])
                before += 1
            except ApiError as error:
                outcomes.append(error)
        return outcomes

    def disconnect_streams(self) -> None:
        """Break every market stream connection."""
        self._streams.disconnect()

    def disconnect_api(self) -> None:
        """Break every WebSocket API connection, and the user streams with it."""
        self._api.disconnect()

    def announce_shutdown(self) -> None:
        """Send serverShutdown on every WebSocket connection."""
        self._api.announce_shutdown()
        self._streams.announce_shutdown()

    async def ping(self) -> None:
        """Ping every WebSocket client; who owes the pong for 60 s is cut by `tick`."""
        await self._api.ping()
        await self._streams.ping()

    async def tick(self) -> None:
        """Do what the clock has made due: close candles, cut connections after 24 h."""
        self._streams.tick()
        for server in (self._api, self._streams):
            server.cut_overdue()

    def roll_back(self, count: int) -> list[Order]:
        """Lose the last orders, as a restored database does. Returns what was lost."""
        return self.world.engine.roll_back(count)

    def reset(self) -> None:
        """A testnet reset: all orders, trades and books gone, ids from 1, balances refilled."""
        self.world.engine.reset()
        self.world.reads.clear()
        self.world.late.clear()
        self._streams.forget()
        for account in self.world.accounts.values():
            account.refill()
            account.count = self.world.limits.new_order_count()

    def _stream_faults(self, which: str) -> Any:
        return {"user": self.world.user_faults, "market": self.world.market_faults}[which]
