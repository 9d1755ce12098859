"""A random life of one account: what a seed makes agent, exchange, network and operator do.

Everything is drawn from the seed before it is done, and nothing is drawn from what came of
it, so that the same seed gives the same trace. After `live` comes `settle`, where the faults
stop and time passes, and then `check`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

from backend.domain.order import FINAL
from backend.domain.trade import TradeStatus
from backend.store import orders, trades
from backend.testing.answers import Answer
from tests.matrix.acts import SILENT, booked, our_fills, told_fills
from tests.matrix.sides import BinanceSide, BitstampSide
from tests.matrix.world import World
from tests.services import spoken

D = Decimal
_ENDED = {TradeStatus.EXECUTED, TradeStatus.FAILED, TradeStatus.CANCELLED, TradeStatus.EXPIRED}
_SUBMIT = (
    *("lose_answer", "lose_request", "late", "error", "html", "error_not_taken"),
    *("truncated", "no_funds", "duplicate_id", "hidden"),
)
_QUANTITIES = ("0.001", "0.005", "0.01", "0.02", "0.0123")
# Of somebody who trades on the account's own page; no order of ours has it.
_BY_HAND = "0.0371"
_ACTS = {
    "order": 10,
    "order_with_fault": 10,
    "confirm_at_once": 2,
    "plan_only": 2,
    "cancel_plan": 1,
    "confirm_again": 2,
    "cancel_order": 5,
    "market_moves": 6,
    "stranger_takes": 4,
    "look_ups_fail": 2,
    "look_ups_work": 2,
    "stream": 3,
    "stream_loses": 2,
    "stream_doubles": 2,
    "stream_breaks": 1,
    "late_ones_arrive": 2,
    "order_arrives_late": 2,
    "cancel_by_hand": 1,
    "time_passes": 9,
    "restart": 1,
    "crash": 1,
    "crash_in_flight": 1,
    "crash_at_claim": 1,
}


class Life:
    """One life on a world, which may have seen others before.

    Attributes:
        trace: what was done, and at the end what came of each trade whose outcome does not
            hang on the instant of a crash.
    """

    def __init__(self, w: World, seed: int, by_hand: bool = False) -> None:
        self.w = w
        self.seed = seed
        self.trace: list[str] = []
        self._dice = random.Random(seed)
        self._by_hand = by_hand
        self._made: list[Answer] = []
        self._cut: set[str] = set()
        self._heard: AsyncExitStack | None = None
        self._left: list[Answer] = []

    async def live(self, acts: int) -> None:
        """Do this many random things."""
        names, weights = list(_ACTS), list(_ACTS.values())
        if self._by_hand:
            names, weights = [*names, "trade_by_hand"], [*weights, 3]
        for name in self._dice.choices(names, weights, k=acts):
            await getattr(self, f"_{name}")()
        await self._listen(False)

    # --- what the agent does ---

    def _terms(self) -> dict[str, Any]:
        """Draw an order."""
        dice = self._dice
        kind = dice.choice(("market", "below", "above", "stop"))
        side, quantity = dice.choice(("buy", "sell")), dice.choice(_QUANTITIES)
        force, away = dice.choice(("gtc", "gtc", "ioc", "fok")), dice.choice((5, 50, 900))
        terms = {"side": side, "quantity": quantity}
        if kind == "market" or (kind == "stop" and self.w.side.name != "binance"):
            return terms
        price = 49995 + (away if kind == "above" else -away)
        if kind == "stop":
            beyond = 49995 + (away + 50 if side == "buy" else -away - 50)
            return terms | {"order_type": "stop", "stop_price": str(beyond)}
        return terms | {
            "order_type": "limit",
            "limit_price": str(price),
            "time_in_force": force,
        }

    async def _plan(self) -> Answer:
        terms = self._terms()
        made = await spoken.plan(
            self.w.stack, account_id=self.w.account_id, symbol=self.w.side.symbol, **terms
        )
        self._note(f"plan {terms}")
        if not made.refused:
            self._made.append(made)
        return made

    async def _order(self) -> None:
        made = await self._plan()
        if not made.refused:
            await spoken.confirm(self.w.stack, made)

    async def _order_with_fault(self) -> None:
        word = self._dice.choice(_SUBMIT)
        self._note(f"next order: {word}")
        self.w.side.next_submit(word)
        if word == "hidden":
            self._hide()
        await self._order()

    async def _confirm_at_once(self) -> None:
        made = await self._plan()
        if not made.refused:
            await asyncio.gather(*(spoken.confirm(self.w.stack, made) for _ in range(3)))

    async def _plan_only(self) -> None:
        await self._plan()

    async def _cancel_plan(self) -> None:
        made = await self._plan()
        if not made.refused:
            await spoken.cancel(self.w.stack, made)

    async def _confirm_again(self) -> None:
        made = self._any()
        if made is not None:
            self._note("confirm again")
            await spoken.confirm(self.w.stack, made)

    async def _cancel_order(self) -> None:
        made, word = self._any(), self._dice.choice((None, None, "lose_answer", "lose_request"))
        if made is None:
            return
        self._note(f"cancel, {word}")
        if word:
            self.w.side.next_cancel(word)
        await spoken.cancel_order(self.w.stack, made)

    def _any(self) -> Answer | None:
        """Return one of the last trades."""
        chance = self._dice.random()
        recent = self._made[-6:]
        return recent[int(chance * len(recent))] if recent else None

    # --- what the exchange, its market and the network do ---

    async def _market_moves(self) -> None:
        bid = 49990 + self._dice.choice((-1000, -100, -20, 0, 0, 20, 100, 1000))
        depth = self._dice.choice(("0.008", "10", "10"))
        self._note(f"touch {bid} {depth}")
        self.w.side.touch(str(bid), str(bid + 10), depth)
        if isinstance(self.w.side, BinanceSide):  # What triggers stops.
            self.w.side.sim.print_trade(self.w.side.code, str(bid))

    async def _stranger_takes(self) -> None:
        side, quantity = self._dice.choice(("buy", "sell")), self._dice.choice(("0.004", "0.03"))
        self._note(f"stranger {side} {quantity}")
        self.w.side.stranger(side, "50005" if side == "buy" else "49985", quantity)

    async def _look_ups_fail(self) -> None:
        word = self._dice.choice(SILENT)
        self._note(f"look-ups: {word}")
        self.w.side.look_ups(None)
        self.w.side.look_ups(word)

    async def _look_ups_work(self) -> None:
        self._note("look-ups work")
        self.w.side.look_ups(None)

    async def _stream(self) -> None:
        on = self._dice.random() < 0.7
        self._note(f"stream {on}")
        await self._listen(on)

    async def _stream_loses(self) -> None:
        count = self._dice.randint(1, 3)
        self._note(f"stream loses {count}")
        self.w.side.drop_events(count)

    async def _stream_doubles(self) -> None:
        count = self._dice.randint(1, 6)
        self._note(f"stream doubles {count}")
        self.w.side.double_events(count)

    async def _stream_breaks(self) -> None:
        self._note("stream breaks")
        await self.w.side.break_stream()

    async def _late_ones_arrive(self) -> None:
        self._note("late ones arrive")
        await self.w.side.deliver_late()

    async def _order_arrives_late(self) -> None:
        """Look for it in vain a while, and only then let it arrive."""
        looks = self._dice.randint(0, 6)
        self._note(f"next order: late, after {looks} looks")
        self._show()
        self.w.side.look_ups(None)
        self.w.side.next_submit("late")
        await self._order()
        await self.w.advance(*[self.w.side.spacing_s] * looks)
        await self.w.side.deliver_late()

    async def _cancel_by_hand(self) -> None:
        chance, live = self._dice.random(), [o for o in self.w.side.theirs() if o.live]
        self._note("cancel by hand")
        if live:
            chosen = live[int(chance * len(live))].client_order_id
            assert chosen is not None
            self.w.side.cancel_by_hand(chosen)

    async def _trade_by_hand(self) -> None:
        self._note("trade by hand")
        self.w.side.by_hand(_BY_HAND)

    async def _time_passes(self) -> None:
        seconds = self._dice.choice((0.5, 1, 2, 6, 12, 31, 61))
        self._note(f"{seconds} s")
        await self.w.advance(seconds)
        self._show()

    def _hide(self) -> None:
        """Hide fills as well as orders: a fill without an order would be an incident."""
        if isinstance(self.w.side, BinanceSide):
            self.w.side.sim.lag("myTrades", True)

    def _show(self) -> None:
        """Show what was hidden, before it could be judged absent."""
        self.w.side.unhide()
        if isinstance(self.w.side, BinanceSide):
            self.w.side.sim.lag("myTrades", False)

    # --- what becomes of the server ---

    async def _restart(self) -> None:
        self._note("restart")
        await self._listen(False)
        await self.w.stack.restart()

    async def _crash(self) -> None:
        self._note("crash")
        await self._listen(False)
        await self.w.stack.crash()

    async def _crash_in_flight(self) -> None:
        steps = self._dice.randint(0, 60)
        made = await self._plan()
        self._note(f"crash {steps} steps into its confirm")
        await self._listen(False)
        if made.refused:
            return
        self._cut.add(made.trade_id)
        asked = asyncio.create_task(spoken.confirm(self.w.stack, made))
        for _ in range(steps):
            await asyncio.sleep(0)
        await self.w.stack.crash()
        await asyncio.gather(asked, return_exceptions=True)

    async def _crash_at_claim(self) -> None:
        made = await self._plan()
        self._note("crash between its claim and the first byte")
        await self._listen(False)
        if made.refused:
            return
        self._cut.add(made.trade_id)
        reached = asyncio.Event()

        async def hang() -> None:
            reached.set()
            await asyncio.Event().wait()

        with self.w.after_claim(hang):
            asked = asyncio.create_task(spoken.confirm(self.w.stack, made))
            waiting = asyncio.create_task(reached.wait())
            await asyncio.wait((asked, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await self.w.stack.crash()
        await asyncio.gather(asked, waiting, return_exceptions=True)

    async def _listen(self, on: bool) -> None:
        if self._heard is not None:
            await self._heard.aclose()
        self._heard = None
        if on:
            self._heard = AsyncExitStack()
            await self._heard.enter_async_context(self.w.listening())

    # --- the end ---

    async def settle(self) -> None:
        """Let the faults stop, and time pass until every trade is final."""
        w = self.w
        self._all_is_well()
        await w.side.deliver_late()
        await w.advance(6)
        await w.until_absent()
        for _ in range(8):
            live = await self._unfinished()
            if not live:
                break
            for made in live:
                await spoken.cancel_order(w.stack, made)
            await w.advance(31)
        await w.advance(61, 1, 1, 3601, 1, 1)
        self._left = await self._unfinished()

    def _all_is_well(self) -> None:
        side = self.w.side
        side.look_ups(None)
        self._show()
        if isinstance(side, BinanceSide):
            for target in ("order", "cancel", "user"):
                side.sim.withdraw(target)
        else:
            assert isinstance(side, BitstampSide)
            side.sim.faults.clear()
            side.sim.stream._dropping.clear()
            side.sim.stream._doubling.clear()
        side.touch("49990", "50000")

    async def _unfinished(self) -> list[Answer]:
        found = []
        for made in self._made:
            if (await self._trade(made)).status not in _ENDED:
                found.append(made)
        return found

    async def _trade(self, made: Answer) -> Any:
        return await self.w.desk.database.read(lambda tx: trades.get(tx, made.trade_id))

    async def check(self) -> None:
        """Assert that everything is as it should be after any life."""
        w = self.w
        assert not self._left, f"not final: {[m.trade_id for m in self._left]}"
        await w.agrees()  # At most one order each, sent once; all filled quantities; balances.
        for made in self._made:
            assert our_fills(await booked(w, made)) == told_fills(w.side, made), made.trade_id
            order = await w.desk.database.read(lambda tx, m=made: orders.find(tx, m.trade_id))
            assert order is None or order.state in FINAL
        assert not [o for o in w.side.theirs() if o.live], "an order was left at the exchange"
        assert {held for _, held in (await w.funds()).values()} <= {"0"}, await w.funds()
        assert await w.stopped() is None, await w.stopped()  # Nothing here gives cause.
        assert w.desk.trouble == {}
        for made in self._made:
            if made.trade_id not in self._cut:
                trade = await self._trade(made)
                filled = sum((f.quantity for f in await booked(w, made)), D(0))
                self.trace.append(f"{self._made.index(made)}: {trade.status} {filled}")

    def _note(self, what: str) -> None:
        self.trace.append(what)
