"""The accounts' connections: made when needed, proven, kept, and not hammered when they fail."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from backend.domain.errors import NO_ANSWER, ExchangeUnavailable, NotFound
from backend.domain.secret import Credentials
from backend.exchanges import AccountKey, Exchange, is_real
from backend.services import common_settings, metadata
from backend.store.accounts import Account

if TYPE_CHECKING:
    from backend.services import Desk

# After a failure the exchange is left alone: so long at first, twice as long each time.
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Pause:
    """A failed attempt: nobody tries again until then, with these credentials."""

    version: int
    since: datetime
    length: timedelta
    detail: str


class Connections:
    """One exchange object per account, made with its newest credentials."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._held: dict[int, tuple[int, Exchange]] = {}
        self._pauses: dict[int, _Pause] = {}
        self._making: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, account: Account) -> Exchange:
        """Return the exchange bound to `account`, connecting the first time.

        A connection made with older credentials is replaced; who knows only the older ones
        gets the newer connection: the claim compares versions for itself.

        Raises:
            ExchangeUnavailable: it was not reached, or does not know this account; said
                again without asking for a while after each failure.
        """
        if found := self._kept(account):
            return found
        async with self._making[account.number]:
            if found := self._kept(account):
                return found
            await self.drop(account.number)
            try:
                connected = await self._connect(account)
            except ExchangeUnavailable as error:
                self._pauses[account.number] = self._pause_after(account, error.detail)
                raise
            self._pauses.pop(account.number, None)
            self._held[account.number] = account.credential_version, connected
            return connected

    async def connect(self, key: AccountKey) -> Exchange:
        """Return a new connection, which the caller closes.

        Raises:
            ExchangeUnavailable: it was not reached, or its rules are not known.
            ValueError: a setting or a credential is malformed.
        """
        desk = self._desk
        module = desk.exchanges[key.exchange]
        if wanted := metadata.source(key, module):
            await desk.markets.require(*wanted)
        if is_real(module):
            key = replace(key, settings=common_settings.without_ours(key.settings))
        return await module.connect(key, desk.context)

    async def drop(self, number: int) -> None:
        """Close an account's connection; the next use connects again."""
        if held := self._held.pop(number, None):
            await held[1].close()

    async def keep_only(self, numbers: Iterable[int]) -> None:
        """Close what belongs to accounts that are not there any more: their keys are shredded."""
        for number in (self._held.keys() | self._pauses.keys()) - set(numbers):
            await self.drop(number)
            self._pauses.pop(number, None)

    async def close(self) -> None:
        """Close every connection."""
        for number in list(self._held):
            await self.drop(number)

    def _kept(self, account: Account) -> Exchange | None:
        """Return the connection there is; None: connect. Raises while a failure is fresh."""
        held = self._held.get(account.number)
        if held is not None and held[0] >= account.credential_version:
            return held[1]
        pause = self._pauses.get(account.number)
        if pause is None or pause.version != account.credential_version:
            return None
        # A clock that was set back ends a pause as well.
        if timedelta() <= self._desk.clock() - pause.since < pause.length:
            raise ExchangeUnavailable(pause.detail)
        return None

    def _pause_after(self, account: Account, detail: str) -> _Pause:
        before = self._pauses.get(account.number)
        again = before is not None and before.version == account.credential_version
        length = min(before.length * 2, _LONGEST_PAUSE) if before and again else _FIRST_PAUSE
        return _Pause(account.credential_version, self._desk.clock(), length, detail)

    async def _connect(self, account: Account) -> Exchange:
        from backend.services import vault

        desk = self._desk
        found = await desk.database.read(lambda tx: vault.load(tx, desk.vault, account))
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
        if is_real(desk.exchanges[account.exchange]):
            await _prove(account, connected)
        return connected


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
