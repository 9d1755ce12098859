"""The keeper: what one process per home does in the background, by a lease row.

It sweeps expired plans, reconciles, and follows the private streams. Correctness never
waits for it: whoever looks at a plan expires it, and every settle is idempotent.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

from backend.domain.errors import NO_ANSWER, ExecError, Refused
from backend.services import Desk, log
from backend.services.execution import take_report
from backend.services.expiry import sweep
from backend.services.reconcile import reconcile, reconcile_all
from backend.store import accounts, controls
from backend.store.accounts import Account

LEASE = "keeper"
_LEASE_TTL = timedelta(seconds=5)
_EVERY_S = 1.0
_RECONNECT_S = 1.0


class Keeper:
    """Runs `tick` once a second for as long as it holds the lease."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to work in the background; after a bug, again a second later."""
        if self._stopping:
            return
        self._loop = asyncio.get_running_loop().create_task(self._run(), name="keeper")
        self._loop.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping or task.cancelled():
            return
        error = repr(task.exception())
        log.error("keeper.failed", error=error)
        self._desk.trouble["keeper"] = error
        asyncio.get_running_loop().call_later(_EVERY_S, self.start)

    async def stop(self) -> None:
        """Stop, and give the lease back."""
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._end_streams()
        desk = self._desk
        with suppress(Refused):  # Then the lease ends by itself.
            await desk.database.write(lambda tx: controls.drop_lease(tx, LEASE, desk.process))

    async def _end_streams(self) -> None:
        for task in self._streams.values():
            task.cancel()
        await asyncio.gather(*self._streams.values(), return_exceptions=True)
        self._streams.clear()

    async def _run(self) -> None:
        while True:
            try:
                if await self.tick():
                    await self._follow_streams()
                else:
                    await self._end_streams()
                self._desk.trouble.pop("keeper", None)
            except ExecError as error:
                log.warning("keeper.held_up", detail=error.detail)
            await asyncio.sleep(_EVERY_S)

    async def tick(self) -> bool:
        """Sweep and reconcile once, if this process has the lease. Returns whether it has."""
        desk = self._desk
        mine = await desk.database.write(
            lambda tx: controls.take_lease(tx, LEASE, desk.process, _LEASE_TTL)
        )
        if mine:
            await desk.database.write(sweep)
            await reconcile_all(desk)
        return mine

    async def _follow_streams(self) -> None:
        known = await self._desk.database.read(accounts.all_accounts)
        for number in self._streams.keys() - {account.number for account in known}:
            self._streams.pop(number).cancel()  # The account was deleted.
        for account in known:
            running = self._streams.get(account.number)
            streams = self._desk.exchanges[account.exchange].CAPABILITIES.stream
            if running is not None and running.done() and not running.cancelled():
                log.error("stream.failed", account_id=account.id, error=repr(running.exception()))
            if streams and (running is None or running.done()):
                self._streams[account.number] = asyncio.get_running_loop().create_task(
                    self._follow(account), name=f"stream {account.id}"
                )

    async def _follow(self, account: Account) -> None:
        """Settle what the private stream brings. After each break, ask for everything once."""
        desk = self._desk
        exchange = await desk.exchange(account)
        seen: int | None = None
        while True:
            try:
                async for event in exchange.events(seen):
                    if seen is not None and event.sequence > seen + 1:
                        await reconcile(desk, account)  # A gap: the look-up fills it.
                    seen = max(seen or 0, event.sequence)
                    await take_report(desk, account, exchange, event.report, "stream")
            except NO_ANSWER as error:
                log.warning("stream.broken", account_id=account.id, detail=error.detail)
            await asyncio.sleep(_RECONNECT_S)
            await reconcile(desk, account)
