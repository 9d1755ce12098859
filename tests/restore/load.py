"""A random load on a ground: orders of every kind, cancels, plans that wait, a moving market."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

from backend.testing.answers import Answer
from tests.restore.grounds import Ground

# Between two acts while another process works.
_BREATH_S = 0.02
_ACTS = {"order": 8, "rest": 5, "go_wrong": 3, "wait": 2, "cancel": 3, "fall": 1, "pass_time": 3}


class Load:
    """Somebody who trades.

    Attributes:
        trades: every trade that was planned, oldest first.
        sent: how many orders were confirmed.
    """

    def __init__(self, ground: Ground, dice: random.Random) -> None:
        self._ground = ground
        self._dice = dice
        self.trades: list[str] = []
        self.sent = 0

    async def act(self) -> None:
        """Do one thing."""
        name = self._dice.choices(list(_ACTS), list(_ACTS.values()))[0]
        await getattr(self, f"_{name}")()

    async def several(self, count: int) -> None:
        for _ in range(count):
            await self.act()

    async def during(self, work: Awaitable[Any]) -> None:
        """Go on while something else is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.act()
            await asyncio.wait({task}, timeout=_BREATH_S)
        await task

    async def plan(self, **more: Any) -> Answer:
        """Plan a small order."""
        ground, dice = self._ground, self._dice
        side, quantity = dice.choice(("buy", "buy", "sell")), dice.choice(ground.quantities)
        if more:
            side, more["order_type"] = "buy", "limit"
        made = await ground.stack.plan(
            ground.symbol, side, quantity, account_id=ground.account_id, **more
        )
        if not made.refused:
            self.trades.append(made.trade_id)
        return made

    async def surely(self) -> Answer:
        """Plan what is never refused: a small buy at the market."""
        ground = self._ground
        made = await ground.stack.plan(
            ground.symbol, "buy", ground.quantities[0], account_id=ground.account_id
        )
        assert not made.refused, made
        self.trades.append(made.trade_id)
        return made

    async def confirm(self, made: Answer) -> Answer:
        self.sent += 1
        self._ground.stack.clock.advance(0.001)  # No two are signed at the same instant.
        return await self._ground.stack.confirm(made)

    async def _order(self) -> None:
        made = await self.plan()
        if not made.refused:
            await self.confirm(made)

    async def _rest(self) -> None:
        made = await self.plan(limit_price=self._ground.rests_at)
        if not made.refused:
            await self.confirm(made)

    async def _go_wrong(self) -> None:
        made = await self.plan()
        if not made.refused:
            self._ground.goes_wrong(self._dice.choice(self._ground.faults))
            await self.confirm(made)

    async def _wait(self) -> None:
        await self.plan()

    async def _cancel(self) -> None:
        if self.trades:
            trade_id = self._dice.choice(self.trades[-8:])
            tool = self._dice.choice(("cancel_order", "execute_trade"))
            more = {"action": "cancel"} if tool == "execute_trade" else {}
            await self._ground.stack.call(tool, trade_id=trade_id, **more)

    async def _fall(self) -> None:
        self._ground.crash_market(True)
        await self._ground.advance(1)
        self._ground.crash_market(False)

    async def _pass_time(self) -> None:
        await self._ground.advance(self._dice.choice((0.5, 1, 4)))
        self._ground.crash_market(False)  # A quote of then would be too old.
