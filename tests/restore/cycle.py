"""One cycle: trade, copy, trade on, stop, put the copy back, start, look, lift, trade on."""

import random
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.services import audit
from backend.services.reconcile import reconcile_all
from backend.store import controls, orders, trades
from backend.testing.answers import Answer
from tests.restore import copies
from tests.restore.grounds import AtStep, Ground
from tests.restore.load import Load

MOMENTS = ("under load", "claimed", "answered", "unknown", "halted", "plan waits")
_RISK = "/api/v1/risk/"
_WHY = {"reason": "a campaign"}


@dataclass
class Told:
    """What cycles did, for the figures."""

    cycles: int = 0
    restores: int = 0
    sent: int = 0
    found_again: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)


class Cycle:
    """One cycle on a ground.

    Args:
        way: how the copy is put back, of `copies.WAYS`; moment: when it is made, of `MOMENTS`.
        by_command: the operator lifts with `exec-mcp resume`, in its own process.
    """

    def __init__(
        self,
        ground: Ground,
        folder: Path,
        seed: int,
        way: str,
        moment: str,
        told: Told,
        *,
        acts: int = 8,
        by_command: bool = False,
    ) -> None:
        self.ground, self.way, self.moment, self.told = ground, way, moment, told
        self._dice = random.Random(seed)
        self._load = Load(ground, self._dice)
        self._copy = folder / "copy"
        self._acts = acts
        self._by_command = by_command
        self._halted_in_copy = self._halted = False
        self._sent_before: set[str] = set()

    @property
    def _stack(self) -> Any:
        return self.ground.stack

    async def run(self, restores: int = 2) -> None:
        """Copy once, and restore that copy so many times."""
        await self._load.several(self._acts)
        waiting = await self._load.surely()
        await self._take_copy()
        wrong = await copies.faults_of(self._copy)
        assert wrong == [], f"the copy is not whole: {wrong}"
        for _ in range(restores):
            await self._trade_on_and_restore(waiting)
        self.told.cycles += 1
        self.told.sent += self._load.sent
        way = f"{self.ground.account_id}, {self.way}"
        self.told.ways[way] = self.told.ways.get(way, 0) + 1
        self.told.moments[self.moment] = self.told.moments.get(self.moment, 0) + 1

    # --- the copy ---

    async def _take_copy(self) -> None:
        ground, load = self.ground, self._load
        await ground.catch_up()

        async def take() -> None:
            self._sent_before = set(ground.received())
            await copies.take(self._stack.home, self._copy, self.way)

        if self.moment in ("claimed", "answered"):
            await self._confirm_and(take)
        elif self.moment == "unknown":
            ground.goes_wrong("lose_answer")
            await load.confirm(await load.surely())
            await take()
        elif self.moment == "halted":
            await self._halt()
            self._halted_in_copy = True
            await take()
            await self._release()
        elif self.moment == "under load" and self.way not in copies.PLAIN:
            await load.during(take())
        else:
            await take()

    async def _confirm_and(self, then: Any) -> None:
        """Confirm, and let that happen at the step of this moment."""
        desk = self._stack.backend.desk
        made = await self._load.surely()
        database = desk.database
        desk.database = AtStep(database, self.moment, then)
        try:
            await self._load.confirm(made)
        finally:
            desk.database = database
        assert self._copy.exists(), f"the step {self.moment} was never reached: {made}"

    # --- what follows ---

    async def _trade_on_and_restore(self, waiting: Answer) -> None:
        await self._load.several(self._acts)
        if self.way == "plain over":
            # A killed server leaves no other trace of what came after the copy.
            await self._load.confirm(await self._load.surely())
        if self._dice.random() < 0.5:
            await self._load.confirm(waiting)
        if self._dice.random() < 0.3:
            await self._halt()
        self._finish_what_cannot_be_cancelled()
        await self.ground.catch_up()
        await self._stop(killed=self._dice.random() < 0.5)
        before = self.ground.received()
        copies.put_back(self._copy, self._stack.home, self.way)
        await self._stack.start()
        self.told.restores += 1
        await self._is_quarantined(waiting)
        await self.ground.until_settled()
        assert self.ground.received() == before, "something was sent in quarantine"
        await self._is_found_again()
        await self._lift()
        await self._trades_on()

    def _finish_what_cannot_be_cancelled(self) -> None:
        """Fill what rests, where the books forget it: nobody else would cancel it then."""
        if self.way in copies.FORGETFUL:
            self.ground.crash_market(True)

    async def _stop(self, killed: bool) -> None:
        if self.way in copies.FORGETFUL:
            await self.ground.advance(1)
        if killed:
            desk = self._stack.backend.desk
            desk.database.failure = "the process died"
            for task in list(desk.tasks.running):
                task.cancel()
        await self._stack.stop()
        self.ground.crash_market(False)

    async def _is_quarantined(self, waiting: Answer) -> None:
        """What holds at once after the start."""
        read = self._stack.backend.desk.database.read
        reason = await read(controls.quarantine)
        assert reason is not None, "the copy was not noticed"
        assert "exec-mcp resume --quarantine" in reason, reason
        pending = await read(
            lambda tx: tx.value("SELECT COUNT(*) FROM trades WHERE status = 'pending'")
        )
        assert pending == 0, "a plan outlived the restore"
        refused = [await self._load.plan(), await self._stack.confirm(waiting)]
        assert refused[0].code == "quarantined", refused[0]
        assert refused[1].code == "trade_not_pending", refused[1]
        found = await audit.events(self._stack.backend.desk, None, None, 500)
        raised = next(row for row in found["events"] if row["event"] == "fence.raised")
        self.told.found_again += len(raised["detail"]["orders"])
        assert raised["detail"]["not_written"] == [], raised

    async def _is_found_again(self) -> None:
        """The books know all that left, and are the exchange's; or they say that they do not."""
        received, theirs = self.ground.received(), self.ground.theirs()
        assert len(received) == len(set(received)), "an order was sent twice"
        read = self._stack.backend.desk.database.read
        known = await read(lambda tx: {t: orders.find(tx, t) for t in {*received, *theirs}})
        lost = {trade_id for trade_id, order in known.items() if order is None}
        if self.way in copies.FORGETFUL:
            assert not lost & self._sent_before, f"lost, though sent before the copy: {lost}"
        else:
            assert lost == set(), f"sent, and in no book: {lost}"
        for trade_id, order in known.items():
            if order is not None:
                filled = theirs.get(trade_id, Decimal(0))
                assert order.filled_quantity == filled, f"{order}, and there {filled}"
        report = await audit.invariants(self._stack.backend.desk)
        assert report["whole"], report
        booked, totals = await self.ground.booked(), await self.ground.totals()
        stopped = (await self.ground.account()).break_reason
        assert (stopped is None) == (booked == totals), (stopped, booked, totals)
        if stopped is not None:
            assert self.way in copies.FORGETFUL, stopped
            await self._accept()

    async def _accept(self) -> None:
        """The operator ends what lives, and takes the exchange's balances."""
        await self._end_all()
        body = {**_WHY, "accept_exchange": True}
        path = f"/api/v1/accounts/{self.ground.account_id}/resume"
        (await self._stack.operator.post(path, json=body)).raise_for_status()
        assert await self.ground.booked() == await self.ground.totals()

    async def _end_all(self) -> None:
        desk = self._stack.backend.desk
        account = await self.ground.account()
        for order in await desk.database.read(lambda tx: orders.live(tx, account.number)):
            await self._stack.call("cancel_order", trade_id=order.trade_id)
        for _ in range(3):
            await self.ground.advance(31)
            await reconcile_all(desk)
        self.ground.crash_market(False)

    # --- the operator ---

    async def _lift(self) -> None:
        if self._by_command:
            await self.ground.catch_up()
            said = await copies.command(
                self._stack.home, "resume", "--quarantine", "--reason", "looked at it"
            )
            assert said.startswith("Quarantine lifted"), said
        else:
            await self._post("quarantine/lift", _WHY)
        kept = self.way not in copies.FORGETFUL
        if self._halted_in_copy or (kept and self._halted):
            refused = await self._load.plan()
            assert refused.code == "kill_switch", refused
            await self._release()
        self._halted = False

    async def _trades_on(self) -> None:
        """After lifting, one order goes all the way, and books and exchange still agree."""
        ground, before = self.ground, self.ground.received()
        await ground.advance(1)
        ground.crash_market(False)
        made = await self._load.surely()
        done = await ground.stack.confirm(made)
        assert done.status == "executed", done
        assert ground.received() == [*before, made.trade_id]
        self.told.sent += 1
        status = await ground.stack.backend.desk.database.read(
            lambda tx: trades.get(tx, made.trade_id).status
        )
        assert status == "executed"
        await ground.advance(31, 1, 1)
        ground.crash_market(False)
        assert await ground.booked() == await ground.totals()
        assert (await ground.account()).break_reason is None

    async def _halt(self) -> None:
        if not self._halted:
            await self._post("kill-switch", {**_WHY, "scope": "global", "cancel_orders": False})
            self._halted = True

    async def _release(self) -> None:
        await self._post("kill-switch/release", {**_WHY, "scope": "global"})
        self._halted = False

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = await self._stack.operator.post(_RISK + path, json=body)
        assert answer.is_success, answer.text
