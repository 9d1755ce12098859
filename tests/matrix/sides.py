"""The exchange's side of a world: what goes wrong there, and what its books truly hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.domain.clock import Clock
from tests.simulators import binance, bitstamp
from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp.rules import Draft

D = Decimal


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
        fee_currency: of a buy: `quote` or `base`.
    """

    name: str
    symbol: str
    code: str
    base = "BTC"
    payment: str
    validity: timedelta
    absent_after_s: float
    spacing_s: float

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
    def by_hand(self, quantity: str = "0.01") -> None:
        """Buy at the market as a person would, without an id of ours."""

    @abstractmethod
    def cancel_by_hand(self, client_order_id: str) -> None:
        """Cancel an order as a person would on the exchange's own page."""

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
    async def break_stream(self) -> None:
        """Break every private connection."""

    @abstractmethod
    def coarser(self) -> None:
        """Change the rules: only whole multiples of 0.1 BTC from now on."""

    @abstractmethod
    def orders_received(self) -> list[str]:
        """Return the client order ids of every order request of which a byte arrived."""


class BinanceSide(ExchangeSide):
    name, symbol, code, payment = "binance", "BTC/USDT", "BTCUSDT", "USDT"
    validity = timedelta(seconds=3)
    absent_after_s, spacing_s = 34, 6

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.sim = binance.Simulator(clock, **options)

    async def start(self) -> None:
        await self.sim.start()
        self.touch("49990", "50000")
        self.account = self.sim.add_account({"USDT": D(1_000_000), "BTC": D(10)})

    async def stop(self) -> None:
        await self.sim.stop()

    @property
    def addresses(self) -> str:
        sim = self.sim
        return f"binance={sim.rest_url} {sim.ws_api_url} {sim.stream_url}"

    @property
    def identifier(self) -> str:
        return str(self.account.uid)

    @property
    def credentials(self) -> dict[str, str]:
        return {"api_key": self.account.key, "api_secret": self.account.secret}

    def touch(self, bid: str, ask: str, depth: str = "10") -> None:
        self.sim.set_touch(self.code, bid, ask, D(depth))

    def next_submit(self, word: str) -> None:
        say = self.sim.script
        if word == "hidden":
            self.sim.lag("order", True)
            self.sim.lag("openOrders", True)
            self.sim.lag("allOrders", True)
            say("order", "lose_answer")
        elif word == "error":
            say("order", "error", committed=True)
        elif word == "html":
            say("order", "html_502", committed=True)
        elif word == "error_not_taken":
            say("order", "error", committed=False)
        elif word == "no_funds":
            text = "Account has insufficient balance for requested action."
            say("order", "reject", code=-2010, msg=text)
        elif word == "duplicate_id":
            say("order", "reject", code=-2010, msg="Duplicate order sent.")
        else:
            say("order", word)

    def next_cancel(self, word: str) -> None:
        self.sim.script("cancel", word)

    def look_ups(self, word: str | None) -> None:
        if word is None:
            self.sim.withdraw("query")
            return
        words = {"denied": "denied", "limited": "limited", "html": "html_502", "lost": "lose_request"}
        self.sim.script("query", words[word], times=None)

    def unhide(self) -> None:
        for name in ("order", "openOrders", "allOrders"):
            self.sim.lag(name, False)

    async def deliver_late(self) -> None:
        await self.sim.deliver_late()

    def theirs(self) -> list[Theirs]:
        return [
            Theirs(
                order.client_id,
                order.side.lower(),
                order.quantity,
                order.executed,
                order.status in ("NEW", "PARTIALLY_FILLED"),
            )
            for order in self.sim.orders
            if order.uid == self.account.uid
        ]

    def balances(self) -> dict[str, Decimal]:
        held = self.account.balances
        return {a: b.free + b.locked for a, b in held.items() if b.free + b.locked}

    def by_hand(self, quantity: str = "0.01") -> None:
        raise NotImplementedError

    def cancel_by_hand(self, client_order_id: str) -> None:
        raise NotImplementedError

    def revoke(self) -> None:
        self.sim.revoke(self.account.key)

    def drop_events(self, count: int) -> None:
        self.sim.script_stream("user", "drop", times=count)

    def double_events(self, count: int) -> None:
        self.sim.script_stream("user", "duplicate", times=count)

    async def break_stream(self) -> None:
        self.sim.disconnect_api()

    def coarser(self) -> None:
        self.sim.change_filters(
            self.code,
            LOT_SIZE={"minQty": "0.1", "maxQty": "9000", "stepSize": "0.1"},
        )

    def orders_received(self) -> list[str]:
        places = (("POST", "/api/v3/order"), ("WS", "order.place"))
        seen = [s for s in self.sim.requests if (s.method, s.path) in places]
        return [s.params["newClientOrderId"] for s in seen]


class BitstampSide(ExchangeSide):
    name, symbol, code, payment = "bitstamp", "BTC/USD", "btcusd", "USD"
    validity = timedelta(seconds=150)
    absent_after_s, spacing_s = 181, 12

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.sim = bitstamp.Simulator(clock, **options)

    async def start(self) -> None:
        await self.sim.start()
        self.touch("49990", "50000")
        self.account = self.sim.add_account({"usd": D(1_000_000), "btc": D(10)})

    async def stop(self) -> None:
        await self.sim.stop()

    @property
    def addresses(self) -> str:
        return f"bitstamp={self.sim.rest_url} {self.sim.ws_url}"

    @property
    def identifier(self) -> str:
        return str(self.account.user_id)

    @property
    def credentials(self) -> dict[str, str]:
        return {"api_key": self.account.key, "api_secret": self.account.secret}

    def touch(self, bid: str, ask: str, depth: str = "10") -> None:
        self.sim.set_touch(self.code, D(bid), D(ask), depth=D(depth))

    def next_submit(self, word: str) -> None:
        made = {
            "lose_answer": faults.lose_answer,
            "lose_request": faults.lose_request,
            "late": faults.late,
            "error": lambda: faults.timed_out(committed=True),
            "html": lambda: faults.html_502(committed=True),
            "error_not_taken": lambda: faults.server_error("500.001", committed=False),
            "truncated": faults.truncated,
            "no_funds": lambda: faults.reject("400.009", "Check your account balance."),
            "duplicate_id": lambda: faults.reject("400.019", "client_order_id already exists"),
        }
        if word == "hidden":
            self.sim.faults.next("submit", faults.hidden())
        else:
            self.sim.faults.next("submit", made[word]())

    def next_cancel(self, word: str) -> None:
        self.sim.faults.next("cancel", getattr(faults, word)())

    def look_ups(self, word: str | None) -> None:
        for operation in ("order_status", "open_orders", "account_order_data"):
            if word is None:
                self.sim.faults.clear(operation)
            else:
                self.sim.faults.always(operation, self._look_up_fault(word))

    @staticmethod
    def _look_up_fault(word: str) -> faults.Fault:
        if word == "denied":
            return faults.reject("API0005", "Invalid signature", form="auth", status=403)
        if word == "limited":
            return faults.rate_limited()
        return faults.html_502(committed=False) if word == "html" else faults.lose_request()

    def unhide(self) -> None:
        self.sim.unhide()

    async def deliver_late(self) -> None:
        await self.sim.deliver_late()

    def theirs(self) -> list[Theirs]:
        return [
            Theirs(
                order.client_order_id,
                order.side,
                order.quantity,
                order.quantity - order.remaining,
                order.status == "Open",
            )
            for order in self.sim.orders
            if order.account is self.account
        ]

    def balances(self) -> dict[str, Decimal]:
        return {c.upper(): total for c, total in self.account.balances.items() if total}

    def by_hand(self, quantity: str = "0.01") -> None:
        market = self.sim.engine.markets[self.code]
        self.sim.engine.submit(Draft(self.account, market, "buy", "market", D(quantity)))

    def cancel_by_hand(self, client_order_id: str) -> None:
        raise NotImplementedError

    def revoke(self) -> None:
        self.sim.revoke(self.account.key)

    def drop_events(self, count: int) -> None:
        self.sim.stream.drop_next("private-my_orders", count)
        self.sim.stream.drop_next("private-my_trades", count)

    def double_events(self, count: int) -> None:
        self.sim.stream.double_next("private-my_orders", count)
        self.sim.stream.double_next("private-my_trades", count)

    async def break_stream(self) -> None:
        await self.sim.stream.disconnect()

    def coarser(self) -> None:
        self.sim.change_market(self.code, base_decimals=1)

    def orders_received(self) -> list[str]:
        return [
            seen.params["client_order_id"]
            for seen in self.sim.requests
            if seen.path.startswith(("/api/v2/buy/", "/api/v2/sell/"))
        ]


SIDES: dict[str, type[ExchangeSide]] = {"binance": BinanceSide, "bitstamp": BitstampSide}
