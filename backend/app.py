"""The one place that knows everything: puts the desk, the API and the MCP server together."""

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx
import structlog
from fastapi import FastAPI

import backend.exchanges
from backend import logs, plugins, risk
from backend.api.app import create_api
from backend.config import PREFIX, Config, SettingError
from backend.database import Database, choose_durability
from backend.domain.clock import Clock, elapsed_s, system_clock
from backend.domain.money import use_exact_context
from backend.domain.quote import Prices
from backend.domain.trade import new_trade_id
from backend.exchanges import Context
from backend.exchanges.paper.faults import FaultScript
from backend.journal import Journal
from backend.prices import open_prices
from backend.services import Desk
from backend.services.events import Events
from backend.services.fence import leave_head, raise_fence
from backend.services.keeper import Keeper
from backend.services.metadata import Markets
from backend.services.onboarding import OPENING_BALANCE, ensure_paper_main
from backend.services.tokens import ensure_first_tokens
from backend.services.vault import Vault, open_vault
from backend.store import accounts, audit
from backend.store.migrations import migrations


@dataclass(frozen=True, slots=True)
class Backend:
    """A whole backend in this process."""

    desk: Desk
    api: FastAPI
    key: bytes = field(repr=False)
    instance: str
    keeper: Keeper
    vault: Vault

    def http(self, token: str | None = None) -> httpx.AsyncClient:
        """Return an HTTP client of this backend's API, without a socket."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.api, raise_app_exceptions=False),
            base_url="http://backend",
            headers=headers,
        )


@asynccontextmanager
async def open_backend(
    config: Config,
    *,
    clock: Clock = system_clock,
    elapsed_s: Callable[[], float] = elapsed_s,
    prices: Prices | None = None,
    faults: FaultScript | None = None,
    new_id: Callable[[], str] = new_trade_id,
    background: bool = True,
    drain_s: float = 2.0,
    opening: Decimal = OPENING_BALANCE,
) -> AsyncIterator[Backend]:
    """Open the home's databases, exchanges and API, and close them at the end.

    Args:
        elapsed_s: seconds that no step of the clock moves.
        prices: instead of the configured source.
        faults: what the paper exchange shall do wrong.
        drain_s: how long the end waits for executions under way.
        background: sweep, reconcile and follow streams once a second; without it
            `keeper.tick()` does so when called.
        opening: USD on `paper:main`, when this start makes it.

    Raises:
        SettingError: a risk limit or the price source is malformed.
        RuntimeError: the database is newer than this program.
    """
    use_exact_context()
    if not structlog.is_configured():
        logs.configure(config.log_level or "WARNING")  # Inside somebody's own program, say.
    prepare_home(config.home)
    config.database.parent.mkdir(parents=True, exist_ok=True)
    config.journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = open_vault(config.home, config.vault)
    key = vault.token_key
    checks = risk.load_checks()
    _check_limits(config, checks)
    prices = prices or _open_prices(config, clock)
    database = Database(config.database, clock, migrations, choose_durability())
    exchanges = plugins.load(backend.exchanges)
    context = Context(config.home, clock, prices, faults, simulators=config.simulators)
    desk = Desk(
        config=config,
        clock=clock,
        database=database,
        prices=prices,
        markets=Markets(database, exchanges, context),
        vault=vault,
        journal=Journal(config.journal),
        exchanges=exchanges,
        checks=checks,
        new_id=new_id,
        elapsed_s=elapsed_s,
    )
    desk.events = Events(desk)
    instance = secrets.token_hex(8)
    keeper = Keeper(desk)
    began: tuple[int, str] | None = None
    try:
        await ensure_first_tokens(desk, key)
        await ensure_paper_main(desk, opening)
        await _refuse_missing_exchanges(desk)
        await raise_fence(desk)
        began = await database.read(audit.head)
        if background:
            keeper.start()
        yield Backend(desk, create_api(desk, key, instance), key, instance, keeper, vault)
    finally:
        await asyncio.shield(_close(desk, keeper, drain_s, began))


async def _close(desk: Desk, keeper: Keeper, drain_s: float, began: tuple[int, str] | None) -> None:
    await desk.events.close()
    await keeper.stop()
    if began is not None:
        await desk.tasks.drain(drain_s)
        await leave_head(desk, began)
    await desk.close(drain_s)


async def _refuse_missing_exchanges(desk: Desk) -> None:
    known = await desk.database.read(accounts.all_accounts)
    if missing := sorted({a.exchange for a in known} - set(desk.exchanges)):
        raise RuntimeError(
            f"there are accounts at {', '.join(missing)}, and no such exchange is installed"
        )


def prepare_home(home: Path) -> None:
    """Make the home with mode 0700, and refuse one that others may read."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and stat.S_IMODE(home.stat().st_mode) & 0o077:
        home.chmod(0o700)


def _open_prices(config: Config, clock: Clock) -> Prices:
    try:
        return open_prices(config.price_source, clock, config.seed)
    except ValueError as error:
        raise SettingError(f"{PREFIX}PRICE_SOURCE: {error}") from error


def _check_limits(config: Config, checks: dict[str, risk.Check]) -> None:
    for name, text in config.risk.items():
        if name not in checks:
            known = ", ".join(checks)
            raise SettingError(f"{PREFIX}RISK_{name.upper()}: no such check; known: {known}")
        try:
            checks[name].LIMIT.parse(text)
        except ValueError as error:
            raise SettingError(f"{PREFIX}RISK_{name.upper()} {error}") from error
