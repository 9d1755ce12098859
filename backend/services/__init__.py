"""What the product does. Every service function takes the `Desk` first."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from backend.config import Config
from backend.database import Database
from backend.domain.clock import Clock, process_name
from backend.domain.errors import ExchangeUnavailable, ExecError, NotFound
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
        context: what the exchanges may use of ours.
        exchanges: the plug-ins found, by name.
        checks: the risk checks found, by name, in order of precedence.
        new_id: makes trade ids.
        process: this process's name in lease rows.
        compared: accounts whose balances were compared since the start.
        polled: when each account's open orders were last read in bulk.
        trouble: what fails in the background, by its name; `/health` tells of it.
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
    trouble: dict[str, str] = field(default_factory=dict)
    polled: dict[int, datetime] = field(default_factory=dict)
    compared: set[int] = field(default_factory=set)
    process: str = field(default_factory=process_name)
    _connected: dict[int, Exchange] = field(default_factory=dict)
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def exchange(self, account: Account) -> Exchange:
        """Return the exchange bound to `account`, connecting the first time."""
        if account.number not in self._connected:
            async with self._connecting:
                if account.number not in self._connected:
                    module = self.exchanges[account.exchange]
                    try:
                        self._connected[account.number] = await module.connect(
                            account_key(account), self.context
                        )
                    except NotFound as error:
                        # The caller named it right: it is the exchange that lost it.
                        raise ExchangeUnavailable(
                            f"{account.exchange} has no account {account.identifier}: "
                            "nothing was sent; the operator runs `exec-mcp doctor`"
                        ) from error
        return self._connected[account.number]

    async def disconnect(self, account: Account) -> None:
        """Close the account's connection; the next use connects again."""
        if connected := self._connected.pop(account.number, None):
            await connected.close()

    async def close(self, drain_s: float = 2.0) -> None:
        """Finish what was started, then let go of exchanges, prices and the database."""
        await self.tasks.drain(drain_s)
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
