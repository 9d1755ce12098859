"""What the exchanges in use tell everybody: their rules, kept; their prices, live.

The documents are stored whole, refreshed at start and once a day. A refresh that fails,
comes back empty or is not understood changes nothing: the last good set stays.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from backend.database import Database, Transaction
from backend.domain.errors import NO_ANSWER, ExchangeUnavailable, ExecError
from backend.exchanges import AccountKey, Context, ExchangeModule, Market, Metadata, is_real
from backend.store import audit
from backend.store import market as store
from backend.store.accounts import Account

REFRESH_EVERY = timedelta(days=1)
_RETRY_AFTER = timedelta(minutes=5)
_PAUSE = timedelta(seconds=10)

Key = tuple[str, str]

log = structlog.get_logger("exec-mcp")


class Markets:
    """The `Catalogue` of this process.

    Attributes:
        context: what was given, with this catalogue in it.
        trouble: why the last refresh of a set failed, by `exchange:environment`.
    """

    def __init__(
        self, database: Database, exchanges: Mapping[str, ExchangeModule], context: Context
    ) -> None:
        self.context = replace(context, catalogue=self)
        self.trouble: dict[str, str] = {}
        self._database = database
        self._exchanges = exchanges
        self._markets: dict[Key, Market] = {}
        self._metadata: dict[Key, Metadata] = {}
        self._next: dict[Key, datetime] = {}
        self._failed: dict[Key, tuple[datetime, str]] = {}
        self._foreign: dict[Key, str] = {}
        # Whoever finds nothing waits for the one who is fetching it.
        self._taking: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    def market(self, exchange: str, environment: str) -> Market:
        """Return the public side of an exchange, opened the first time."""
        key = (exchange, environment)
        if key not in self._markets:
            module = self._exchanges.get(exchange)
            if module is None or not is_real(module):
                raise ExchangeUnavailable(f"there is no exchange {exchange} to ask")
            if environment not in module.CAPABILITIES.environments:
                raise ExchangeUnavailable(f"{exchange} has no environment {environment}")
            self._markets[key] = module.open_market(environment, self.context)
        return self._markets[key]

    def metadata(self, exchange: str, environment: str) -> Metadata:
        """Return the last good set that was loaded.

        Raises:
            ExchangeUnavailable: there never was one.
        """
        found = self._metadata.get((exchange, environment))
        if found is None:
            raise ExchangeUnavailable(
                f"the rules of {exchange} ({environment}) are not known yet; nothing was sent"
            )
        return found

    async def require(self, exchange: str, environment: str) -> Metadata:
        """Return the newest set in the database, fetching the first one.

        Raises:
            ExchangeUnavailable: there is none, and the exchange gave none.
        """
        key = (exchange, environment)
        version = await self._database.read(lambda tx: store.version(tx, *key))
        known = self._metadata.get(key)
        if known is not None and known.version == version:
            return known
        async with self._taking[key]:
            if found := await self._stored(key):
                return found
            self._refuse_again(key)
            try:
                return await self._fetch(key)
            except (*NO_ANSWER, ValueError) as error:
                why = f"the rules of {exchange} ({environment}) could not be fetched: {error}"
                self._failed[key] = self.context.clock(), why
                raise ExchangeUnavailable(why) from error

    def _refuse_again(self, key: Key) -> None:
        """Say a fresh failure again without asking again."""
        failed = self._failed.get(key)
        if failed and timedelta() <= self.context.clock() - failed[0] < _PAUSE:
            raise ExchangeUnavailable(failed[1])

    async def refresh(self, exchange: str, environment: str) -> Metadata:
        """Fetch the documents and keep them if they are good.

        Raises:
            ValueError, ExchangeUnavailable, OutcomeUnknown, ExchangeRejected, RateLimited:
                they are not; what was known before stays.
        """
        key = (exchange, environment)
        async with self._taking[key]:
            return await self._fetch(key)

    async def _stored(self, key: Key) -> Metadata | None:
        """Take over what another process may have stored; what is known stays where it is bad."""
        found = await self._database.read(lambda tx: store.find(tx, *key))
        known = self._metadata.get(key)
        if found is None or (known is not None and known.version == found.version):
            return known
        if self._foreign.get(key) == found.version:
            return known
        market = self.market(*key)
        try:
            self._metadata[key] = await asyncio.to_thread(
                market.read_metadata, found.content, found.fetched_at
            )
        except ValueError as error:  # Another version of this program understood it.
            self._foreign[key] = found.version
            log.warning("metadata.not_understood", source=":".join(key), error=str(error))
        return self._metadata.get(key)

    async def _fetch(self, key: Key) -> Metadata:
        market = self.market(*key)
        content = await market.fetch_metadata()
        fresh = await asyncio.to_thread(market.read_metadata, content, self.context.clock())
        if not fresh.instruments:
            raise ValueError("they name nothing to trade")
        await self._database.write(lambda tx: _keep(tx, key, fresh, content))
        self._metadata[key] = fresh
        return fresh

    async def refresh_due(self, keys: set[Key]) -> None:
        """Refresh what is in use and older than a day, or was not fetched by this process."""
        now = self.context.clock()
        names = {":".join(key) for key in keys}
        self.trouble = {name: why for name, why in self.trouble.items() if name in names}
        for key in sorted(keys):
            if now < self._next.get(key, now):
                continue
            name = ":".join(key)
            self._next[key] = now + _RETRY_AFTER
            try:
                await self.refresh(*key)
            except (ExecError, ValueError) as error:
                self.trouble[name] = f"the rules could not be refreshed: {error}"
                log.warning("metadata.not_refreshed", source=name, error=str(error))
            else:
                self._next[key] = now + REFRESH_EVERY
                self.trouble.pop(name, None)

    async def close(self) -> None:
        """Close every market."""
        for market in self._markets.values():
            await market.close()
        self._markets.clear()


def _keep(tx: Transaction, key: Key, fresh: Metadata, content: bytes) -> None:
    before = store.version(tx, *key)
    store.put(tx, *key, fresh.version, content)
    if before != fresh.version:
        audit.append(
            tx,
            "metadata.changed",
            "system",
            exchange=key[0],
            environment=key[1],
            before=before,
            after=fresh.version,
            instruments=len(fresh.instruments),
        )


def source(account: Account | AccountKey, module: ExchangeModule) -> Key | None:
    """Return whose rules the account trades under: exchange and environment; None: its own.

    A paper account with the setting `mirror` follows a real exchange.
    """
    if is_real(module):
        return account.exchange, account.environment
    mirrored = account.settings.get("mirror")
    if not mirrored:
        return None
    exchange, _, environment = mirrored.partition(":")
    return exchange, environment or "live"
