"""The keeper: what one process per home does in the background, by a lease row.

It sweeps expired plans, reconciles, and follows the private streams. Correctness never
waits for it: whoever looks at a plan expires it, and every settle is idempotent.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from backend.domain.clock import elapsed_s
from backend.domain.errors import NO_ANSWER, ExecError, Refused
from backend.services import Desk, log, metadata, storage
from backend.services.execution import take_report
from backend.services.expiry import sweep
from backend.services.reconcile import forget_deleted, note_outcome, reconcile, reconcile_all
from backend.store import accounts, controls
from backend.store.accounts import Account

LEASE = "keeper"
_LEASE_TTL = timedelta(seconds=5)
_EVERY_S = 1.0
_LOOK_EVERY_S = 3600.0
_RECONNECT_S = 1.0
_RECONNECT_MOST_S = 30.0


class Keeper:
    """Runs `tick` once a second for as long as it holds the lease."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._rounds: dict[int, asyncio.Task[None]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._look_at_s = 0.0
        self._held_up: str | None = None
        self._ailed = False
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
        others = [task for task in (self._refreshing, self._looking) if task is not None]
        await _end([*self._rounds.values(), *others])
        desk = self._desk
        with suppress(Refused):  # Then the lease ends by itself.
            await desk.database.write(lambda tx: controls.drop_lease(tx, LEASE, desk.process))

    async def _end_streams(self) -> None:
        await _end(self._streams.values())
        self._streams.clear()

    async def _run(self) -> None:
        while True:
            self._note_storage()
            self._look_through()
            try:
                if await self._take_lease():
                    await self._desk.database.write(sweep)
                    await self._start_rounds()
                    await self._follow_streams()
                else:
                    await self._end_streams()
                    await self._forget_deleted()
                self._desk.trouble.pop("keeper", None)
                self._held_up = None
            except ExecError as error:
                if error.detail != self._held_up:  # Not once a second.
                    log.warning("keeper.held_up", detail=error.detail)
                self._held_up = error.detail
            await asyncio.sleep(_EVERY_S)

    def _note_storage(self) -> None:
        """Log when the disk begins to ail, and when it is well again."""
        ailment = storage.ailment(self._desk)
        if ailment and not self._ailed:
            log.error("storage.ails", why=ailment)
        elif self._ailed and not ailment:
            log.warning("storage.well_again")
        self._ailed = bool(ailment)

    def _look_through(self) -> None:
        """Look through the database now and once an hour: each process for itself."""
        if elapsed_s() >= self._look_at_s:
            self._look_at_s = elapsed_s() + _LOOK_EVERY_S
            look = storage.look_through(self._desk)
            self._looking = asyncio.create_task(look, name="look through the database")

    async def tick(self) -> bool:
        """Sweep and reconcile once, if this process has the lease. Returns whether it has."""
        desk = self._desk
        mine = await self._take_lease()
        if mine:
            await desk.database.write(sweep)
            await desk.markets.refresh_due(await self._sources())
            await reconcile_all(desk)
        else:
            await self._forget_deleted()
        return mine

    async def _forget_deleted(self) -> None:
        """Close what another process deleted: without the lease there are connections as well."""
        known = await self._desk.database.read(accounts.all_accounts)
        await forget_deleted(self._desk, known)

    async def _take_lease(self) -> bool:
        desk = self._desk
        return await desk.database.write(
            lambda tx: controls.take_lease(tx, LEASE, desk.process, _LEASE_TTL)
        )

    async def _sources(self) -> set[tuple[str, str]]:
        """Return whose rules are in use."""
        desk = self._desk
        known = await desk.database.read(accounts.all_accounts)
        return {s for a in known if (s := metadata.source(a, desk.exchanges[a.exchange]))}

    async def _start_rounds(self) -> None:
        """Reconcile each account on its own: a slow exchange holds up no other."""
        desk = self._desk
        known = await desk.database.read(accounts.all_accounts)
        await forget_deleted(desk, known)
        for account in known:
            running = self._rounds.get(account.number)
            if running is None or running.done():
                task = asyncio.create_task(reconcile(desk, account), name=f"round {account.id}")
                task.add_done_callback(partial(_round_ended, desk, account))
                self._rounds[account.number] = task
        if self._refreshing is None or self._refreshing.done():
            due = desk.markets.refresh_due(await self._sources())
            self._refreshing = asyncio.create_task(due, name="refresh rules")

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
        """Settle what the private stream brings, for ever; wait longer after each failure."""
        while True:
            patiently = AsyncRetrying(
                # A database that refuses for a while is no reason to end either.
                retry=retry_if_exception_type(ExecError),
                wait=wait_random_exponential(multiplier=_RECONNECT_S, max=_RECONNECT_MOST_S),
            )
            async for attempt in patiently:
                with attempt:
                    await self.listen(account.number)
            await asyncio.sleep(_RECONNECT_S)

    async def listen(self, number: int) -> None:
        """Follow one connection until it breaks; raise only if it never brought anything."""
        desk = self._desk
        account = await desk.database.read(lambda tx: accounts.by_number(tx, number))
        exchange, heard = await desk.exchange(account), False
        try:
            async with aclosing(exchange.events()) as events:
                async for event in events:
                    heard = True
                    if event.report is None:  # Something may have been missed.
                        await self._catch_up(account)
                    else:
                        await take_report(desk, account, exchange, event.report, "stream")
        except ExecError as error:
            log.warning("stream.broken", account_id=account.id, detail=error.detail)
            if not heard:
                raise

    async def _catch_up(self, account: Account) -> None:
        """Look everything up; where that is not answered now, the next round does it."""
        try:
            await reconcile(self._desk, account, whole=True)
        except NO_ANSWER as error:
            log.info("stream.not_caught_up", account_id=account.id, detail=error.detail)
            self._desk.polled.pop(account.number, None)


def _round_ended(desk: Desk, account: Account, task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        note_outcome(desk, account, task.exception())


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    ended = list(tasks)
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)
