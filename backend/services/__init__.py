"""What the product does. Every service function takes the `Desk` first."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from backend.config import Config
from backend.database import Database
from backend.domain.clock import Clock, process_name
from backend.domain.quote import Prices
from backend.domain.trade import new_trade_id
from backend.exchanges import AccountKey, Context, Exchange, ExchangeModule
from backend.risk import Check
from backend.store.accounts import Account

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

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever awaits it has it too; nobody may be left.

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is running, at most `timeout_s`. What is left is reconcile's."""
        if self.running:
            await asyncio.wait(set(self.running), timeout=timeout_s)


@dataclass(slots=True)
class Desk:
    """Everything a service needs, put together once by `backend/app.py`.

    Attributes:
        context: what the exchanges may use of ours.
        exchanges: the plug-ins found, by name.
        checks: the risk checks found, by name, in order of precedence.
        new_id: makes trade ids.
        process: this process's name in lease rows.
    """

    config: Config
    clock: Clock
    database: Database
    prices: Prices
    context: Context
    exchanges: Mapping[str, ExchangeModule]
    checks: Mapping[str, Check]
    new_id: Callable[[], str] = new_trade_id
    tasks: Tasks = field(default_factory=Tasks)
    process: str = field(default_factory=process_name)
    _connected: dict[int, Exchange] = field(default_factory=dict)
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def exchange(self, account: Account) -> Exchange:
        """Return the exchange bound to `account`, connecting the first time."""
        if account.number not in self._connected:
            async with self._connecting:
                if account.number not in self._connected:
                    module = self.exchanges[account.exchange]
                    self._connected[account.number] = await module.connect(
                        account_key(account), self.context
                    )
        return self._connected[account.number]

    async def disconnect(self, account: Account) -> None:
        """Close the account's connection; the next use connects again."""
        if connected := self._connected.pop(account.number, None):
            await connected.close()

    async def close(self) -> None:
        """Finish what was started, then let go of exchanges, prices and the database."""
        await self.tasks.drain(timeout_s=2.0)
        for connected in self._connected.values():
            await connected.close()
        self._connected.clear()
        await self.prices.close()
        self.database.close()


def account_key(account: Account) -> AccountKey:
    """Return what an exchange needs to know of an account."""
    return AccountKey(
        account.exchange,
        account.identifier,
        account.environment,
        account.currency,
        account.settings,
    )
