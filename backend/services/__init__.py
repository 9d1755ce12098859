"""What the product does. Every service function takes the `Desk` first."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from backend.config import Config
from backend.database import Database
from backend.domain.clock import Clock, process_name
from backend.domain.errors import NO_ANSWER, ExchangeUnavailable, ExecError, NotFound
from backend.domain.quote import Prices
from backend.domain.secret import Credentials
from backend.domain.trade import new_trade_id
from backend.exchanges import AccountKey, Context, Exchange, ExchangeModule, is_real
from backend.risk import Check
from backend.services import common_settings, metadata
from backend.services.metadata import Markets
from backend.store.accounts import Account

if TYPE_CHECKING:
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
        markets: the rules and public prices of the exchanges in use.
        vault: what unseals credentials.
        exchanges: the plug-ins found, by name.
        checks: the risk checks found, by name, in order of precedence.
        new_id: makes trade ids.
        process: this process's name in lease rows.
        compared: accounts whose balances were compared since the start.
        polled: when each account's open orders were last read in bulk.
        looked: when each unsettled order was last looked up, by trade id.
        trouble: what fails in the background, by its name; `/health` tells of it.
    """

    config: Config
    clock: Clock
    database: Database
    prices: Prices
    markets: Markets
    vault: "Vault"
    exchanges: Mapping[str, ExchangeModule]
    checks: Mapping[str, Check]
    new_id: Callable[[], str] = new_trade_id
    tasks: Tasks = field(default_factory=Tasks)
    trouble: dict[str, str] = field(default_factory=dict)
    polled: dict[int, datetime] = field(default_factory=dict)
    looked: dict[str, datetime] = field(default_factory=dict)
    compared: set[int] = field(default_factory=set)
    process: str = field(default_factory=process_name)
    _connected: dict[int, tuple[int, Exchange]] = field(default_factory=dict)
    _connecting: defaultdict[int, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    @property
    def context(self) -> Context:
        """What the exchanges may use of ours."""
        return self.markets.context

    async def exchange(self, account: Account) -> Exchange:
        """Return the exchange bound to `account`, connecting the first time.

        A connection made with older credentials is replaced.

        Raises:
            ExchangeUnavailable: it was not reached, or does not know this account.
        """
        held = self._connected.get(account.number)
        if held is not None and held[0] == account.credential_version:
            return held[1]
        async with self._connecting[account.number]:
            held = self._connected.get(account.number)
            if held is None or held[0] != account.credential_version:
                await self.disconnect(account)
                connected = await self._connect(account)
                self._connected[account.number] = account.credential_version, connected
                return connected
            return held[1]

    async def _connect(self, account: Account) -> Exchange:
        from backend.services import vault

        found = await self.database.read(lambda tx: vault.load(tx, self.vault, account))
        try:
            connected = await self.connect(account_key(account, found or {}))
        except NotFound as error:
            # The caller named it right: it is the exchange that lost it.
            raise ExchangeUnavailable(
                f"{account.exchange} has no account {account.identifier}: "
                "nothing was sent; the operator runs `exec-mcp doctor`"
            ) from error
        except ValueError as error:
            raise ExchangeUnavailable(
                f"{account.id} cannot be connected: {error}; nothing was sent"
            ) from error
        if is_real(self.exchanges[account.exchange]):
            await _prove(account, connected)
        return connected

    async def connect(self, key: AccountKey) -> Exchange:
        """Return a new connection, which the caller closes.

        Raises:
            ExchangeUnavailable: it was not reached, or its rules are not known.
            ValueError: a setting or a credential is malformed.
        """
        module = self.exchanges[key.exchange]
        if wanted := metadata.source(key, module):
            await self.markets.require(*wanted)
        if is_real(module):
            key = replace(key, settings=common_settings.without_ours(key.settings))
        return await module.connect(key, self.context)

    async def disconnect(self, account: Account) -> None:
        """Close the account's connection; the next use connects again."""
        if held := self._connected.pop(account.number, None):
            await held[1].close()

    async def close(self, drain_s: float = 2.0) -> None:
        """Finish what was started, then let go of exchanges, prices and the database."""
        await self.tasks.drain(drain_s)
        for _, connected in self._connected.values():
            await connected.close()
        self._connected.clear()
        await self.markets.close()
        await self.prices.close()
        self.database.close()


async def _prove(account: Account, connected: Exchange) -> None:
    """Let the exchange say that this connection is the account's: only then is it evidence."""
    try:
        identity = await connected.identity()
    except NO_ANSWER as error:
        await connected.close()
        raise ExchangeUnavailable(
            f"{account.exchange} did not say whose key this is ({error.detail}); nothing was sent"
        ) from error
    if identity.identifier != account.identifier:
        await connected.close()
        raise ExchangeUnavailable(
            f"the credentials of {account.id} belong to another account of {account.exchange}: "
            "nothing was sent; the operator sets them again"
        )


def account_key(account: Account, credentials: Credentials | None = None) -> AccountKey:
    """Return what an exchange needs to know of an account."""
    return AccountKey(
        account.exchange,
        account.identifier,
        account.environment,
        account.currency,
        account.settings,
        credentials or {},
    )
