"""Bitstamp's side of a world: the words of `ExchangeSide` in those of its simulator."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from backend.domain.clock import Clock
from tests.matrix.side import ExchangeSide, Theirs
from tests.simulators import bitstamp
from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp.rules import Draft

D = Decimal


class BitstampSide(ExchangeSide):
    name, symbol, code, payment = "bitstamp", "BTC/USD", "btcusd", "USD"
    validity = timedelta(seconds=150)
    absent_after_s, spacing_s = 181, 12
    connection_lasts = timedelta(days=81)

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.sim = bitstamp.Simulator(cast(Any, clock), **options)

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

    def by_hand(
        self,
        quantity: str = "0.01",
        side: str = "buy",
        price: str | None = None,
        client_order_id: str | None = None,
    ) -> None:
        market = self.sim.engine.markets[self.code]
        kind, limit = ("market", None) if price is None else ("limit", D(price))
        self.sim.engine.submit(
            Draft(self.account, market, side, kind, D(quantity), limit, client_order_id)
        )

    def cancel_by_hand(self, client_order_id: str) -> None:
        engine = self.sim.engine
        engine.cancel(engine.find(self.account, client_id=client_order_id))

    def stranger(self, side: str, price: str, quantity: str) -> None:
        engine = self.sim.engine
        market = engine.markets[self.code]
        engine.open(Draft(engine.house, market, side, "ioc", D(quantity), D(price)))

    def offer(self, price: str, quantity: str) -> None:
        engine = self.sim.engine
        market = engine.markets[self.code]
        engine.open(Draft(engine.house, market, "sell", "limit", D(quantity), D(price)))

    def revoke(self) -> None:
        self.sim.revoke(self.account.key)

    def drop_events(self, count: int) -> None:
        self.sim.stream.drop_next("private-my_orders", count)
        self.sim.stream.drop_next("private-my_trades", count)

    def double_events(self, count: int) -> None:
        self.sim.stream.double_next("private-my_orders", count)
        self.sim.stream.double_next("private-my_trades", count)

    def silence(self, on: bool) -> None:
        self.sim.stream.is_silent = on

    def fills_last(self) -> None:
        self.sim.engine.feed.trades_last = True

    async def break_stream(self) -> None:
        await self.sim.stream.disconnect()

    def ask_reconnect(self) -> None:
        self.sim.stream.request_reconnect()

    def subscribed(self) -> int:
        channels = [s.params.get("channel", "") for s in self.sim.requests if s.method == "WS"]
        return sum(channel.startswith("private-my_orders") for channel in channels)

    def set_fees(self, rate: str) -> None:
        self.account.maker_percent = self.account.taker_percent = D(rate) * 100

    def new_credentials(self) -> dict[str, str]:
        # A second key of an account is none of the simulator's words.
        made = self.sim.add_account({})
        self.sim.accounts.remove(made)
        self.sim._by_key[made.key] = self.account
        return {"api_key": made.key, "api_secret": made.secret}

    def others_credentials(self) -> dict[str, str]:
        other = self.sim.add_account({"usd": D(1)})
        return {"api_key": other.key, "api_secret": other.secret}

    def roll_back(self, count: int) -> None:
        self.sim.roll_back(orders=count)

    def reset(self) -> None:
        self.sim.roll_back(orders=len(self.sim.orders))

    def renames_cancelled(self) -> None:
        """It never does."""

    def coarser(self) -> None:
        self.sim.change_market(self.code, base_decimals=1)

    def orders_received(self) -> list[str]:
        return [
            seen.params["client_order_id"]
            for seen in self.sim.requests
            if seen.path.startswith(("/api/v2/buy/", "/api/v2/sell/"))
        ]

    def requests(self) -> int:
        return len(self.sim.requests)
