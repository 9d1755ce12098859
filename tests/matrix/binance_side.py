"""Binance's side of a world: the words of `ExchangeSide` in those of its simulator."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.domain.clock import Clock
from tests.matrix.side import ExchangeSide, Theirs
from tests.simulators import binance
from tests.simulators.binance.orders import NewOrder

D = Decimal


class BinanceSide(ExchangeSide):
    name, symbol, code, payment = "binance", "BTC/USDT", "BTCUSDT", "USDT"
    validity = timedelta(seconds=3)
    absent_after_s, spacing_s = 34, 6
    connection_lasts = timedelta(hours=23)

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
        words = {"html": "html_502", "lost": "lose_request"}
        self.sim.script("query", words.get(word, word), times=None)

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

    def by_hand(
        self,
        quantity: str = "0.01",
        side: str = "buy",
        price: str | None = None,
        client_order_id: str | None = None,
    ) -> None:
        order = NewOrder(
            self.code,
            side.upper(),
            "MARKET" if price is None else "LIMIT",
            D(quantity),
            D(price or 0),
            client_id=client_order_id,
        )
        self.sim.world.engine.place(self.account, order)

    def cancel_by_hand(self, client_order_id: str) -> None:
        self.sim.world.engine.cancel(self.account, self.code, None, client_order_id)

    def stranger(self, side: str, price: str, quantity: str) -> None:
        self.sim.take(self.code, side, price, quantity)

    def offer(self, price: str, quantity: str) -> None:
        self.sim.add_quote(self.code, "sell", price, quantity)

    def revoke(self) -> None:
        self.sim.revoke(self.account.key)

    def drop_events(self, count: int) -> None:
        self.sim.script_stream("user", "drop", times=count)

    def double_events(self, count: int) -> None:
        self.sim.script_stream("user", "duplicate", times=count)

    def silence(self, on: bool) -> None:
        if on:
            self.sim.script_stream("user", "silent")
        else:
            self.sim.withdraw("user")

    def fills_last(self) -> None:
        # That it is new comes twice, then its second fill before its first.
        self.sim.script_stream("user", "duplicate")
        self.sim.script_stream("user", "reorder")

    async def break_stream(self) -> None:
        self.sim.disconnect_api()

    def ask_reconnect(self) -> None:
        self.sim.announce_shutdown()

    def subscribed(self) -> int:
        return sum(s.path == "userDataStream.subscribe.signature" for s in self.sim.requests)

    def set_fees(self, rate: str) -> None:
        self.account.maker = self.account.taker = D(rate)

    def new_credentials(self) -> dict[str, str]:
        key = self.sim.add_key(self.account)
        return {"api_key": key.name, "api_secret": key.secret}

    def others_credentials(self) -> dict[str, str]:
        other = self.sim.add_account({"USDT": D(1)})
        return {"api_key": other.key, "api_secret": other.secret}

    def roll_back(self, count: int) -> None:
        self.sim.roll_back(count)

    def reset(self) -> None:
        self.sim.reset()
        self.touch("49990", "50000")

    def renames_cancelled(self) -> None:
        self.sim.cancel_renames(True)

    def coarser(self) -> None:
        self.sim.change_filters(
            self.code,
            LOT_SIZE={"minQty": "0.1", "maxQty": "9000", "stepSize": "0.1"},
        )

    def orders_received(self) -> list[str]:
        places = (("POST", "/api/v3/order"), ("WS", "order.place"))
        seen = [s for s in self.sim.requests if (s.method, s.path) in places]
        return [s.params["newClientOrderId"] for s in seen]

    def requests(self) -> int:
        return len(self.sim.requests)
