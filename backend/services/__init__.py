"""What the product does. Every service function takes the `Desk` first."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from backend.config import Config
from backend.database import Database
from backend.domain.clock import Clock, elapsed_s, process_name
from backend.domain.errors import ExecError
from backend.domain.quote import Prices
from backend.domain.trade import new_trade_id
from backend.exchanges import Context, Exchange, ExchangeModule
from backend.journal import Journal
from backend.risk import Check
from backend.services.connections import Connections
from backend.services.metadata import Markets
from backend.store.accounts import Account

if TYPE_CHECKING:
    from backend.services.events import Events
    from backend.services.vault import Vault

log = structlog.get_logger("exec-mcp")


@dataclass(slots=True)
class Tasks:
    """Work that the server owns: a caller that goes away does not stop it."""

    running: set[asyncio.Task[Any]] = field(default_factory=set)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` to its end, whoever waits for it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def see_through(self, work: Coroutine[Any, Any, Any], name: str, within_s: float) -> None:
        """Run `work` to its end, and wait for it that long; raise what it raised till then."""
        task = self.start(work, name)
        done, _ = await asyncio.wait({task}, timeout=within_s)
        if done:
            task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ExecError):
            # Whoever awaits it has it too; but nobody may be left.
            log.error("task.failed", task=task.get_name(), error=repr(error))

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is running, at most `timeout_s`. What is left is ended: reconcile's."""
        if not self.running:
            return
        _, left = await asyncio.wait(set(self.running), timeout=timeout_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@dataclass(slots=True)
class Desk:
    """Everything a service needs, put together once by `backend/app.py`.

    Attributes:
        elapsed_s: seconds that no step of the clock moves; see `domain/clock.py`.
        markets: the rules and public prices of the exchanges in use.
        vault: what unseals credentials.
        journal: what is told of each order before it leaves.
        exchanges: the plug-ins found, by name.
        checks: the risk checks found, by name, in order of precedence.
        new_id: makes trade ids.
        process: this process's name in lease rows.
        compared: accounts whose balances were compared since the start.
        polled: when each account's open orders were last read in bulk.
        looked: when each unsettled order was last looked up, by trade id.
        trouble: what fails in the background, by its name; `/health` tells of it.
        silent: why an account's exchange gives no answers, by account id.
        events: what tells whoever follows trades and prices; `backend/app.py` adds it.
    """

    config: Config
    clock: Clock
    database: Database
    prices: Prices
    markets: Markets
    vault: "Vault"
    journal: Journal
    exchanges: Mapping[str, ExchangeModule]
    checks: Mapping[str, Check]
    new_id: Callable[[], str] = new_trade_id
    elapsed_s: Callable[[], float] = elapsed_s
    tasks: Tasks = field(default_factory=Tasks)
    trouble: dict[str, str] = field(default_factory=dict)
    polled: dict[int, datetime] = field(default_factory=dict)
    looked: dict[str, datetime] = field(default_factory=dict)
    compared: set[int] = field(default_factory=set)
    process: str = field(default_factory=process_name)
    silent: dict[str, str] = field(default_factory=dict)
    connections: Connections = field(init=False)
    events: "Events" = field(init=False)

    def __post_init__(self) -> None:
        self.connections = Connections(self)

    @property
    def context(self) -> Context:
        """What the exchanges may use of ours."""
        return self.markets.context

    async def exchange(self, account: Account) -> Exchange:
        """Return the exchange bound to `account`: see `Connections.of`."""
        return await self.connections.of(account)

    async def close(self, drain_s: float = 2.0) -> None:
        """Finish what was started, then let go of exchanges, prices and the database."""
        await self.tasks.drain(drain_s)
        await self.connections.close()
        await self.markets.close()
        self.journal.close()
        await self.prices.close()
        self.database.close()
