"""A whole server in this process: backend, HTTP, MCP, the paper exchange and its faults.

Stack ── http, operator ──▶ ┌ API ─▶ services ─▶ paper exchange (faults)
      ── mcp("auto") ─▶ MCP server ─▶ ┘    clock, prices: what you say
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import httpx
from fastmcp import Client

from backend.app import Backend, open_backend
from backend.config import PREFIX, Config, read_config
from backend.domain.quote import Prices
from backend.domain.trade import new_trade_id
from backend.exchanges.paper.faults import FaultScript
from backend.prices import open_prices
from backend.testing.answers import Answer, argument
from backend.testing.clock import FrozenClock, MovableClock, present_clock
from backend.testing.prices import ChosenPrices, Price
from mcp_server.server import create_server

Era = Literal["auto", "legacy"]
Number = Decimal | str | int

PRICES: Mapping[str, tuple[Price, Price]] = {
    "AAPL": ("215.38", "215.40"),
    "SPY": ("538.18", "538.20"),
    "BTC/USD": ("64000.00", "64000.01"),
}
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_API = "http://backend"


@dataclass(frozen=True)
class World:
    """What the servers of one home share, and what is outside of them."""

    home: Path
    config: Config
    clock: MovableClock
    prices: ChosenPrices
    faults: FaultScript
    opening: Decimal
    new_id: Callable[[], str]
    mode: Era
    background: bool
    servers: list["Stack"] = field(default_factory=list)


class Stack:
    """One server on its home, its clients, and a hand on time, prices and faults.

    Clients stay usable across `restart` and `crash`: while there is no server they are
    told that it was not reached.

    Attributes:
        clock: the time of everything; see `advance`.
        prices: what the market shows; see `ChosenPrices`.
        faults: what the paper exchange does wrong, and what it was sent.
        http, operator: HTTP clients with the tokens `agent` and `operator`; paths begin
            with `/api/v1`.
        client: the MCP client that the helpers speak through.
    """

    http: httpx.AsyncClient
    operator: httpx.AsyncClient
    client: Client[Any]

    def __init__(self, world: World) -> None:
        self.clock = world.clock
        self.prices = world.prices
        self.faults = world.faults
        self.home = world.home
        self._world = world
        self._backend: Backend | None = None
        self._running = AsyncExitStack()
        self._clients = AsyncExitStack()

    @property
    def backend(self) -> Backend:
        """The server as it runs now.

        Raises:
            RuntimeError: it is stopped.
        """
        if self._backend is None:
            raise RuntimeError("the server is stopped: start() it first")
        return self._backend

    # --- clients ---

    def mcp(self, mode: Era = "auto", token: str | None = None) -> Client[Any]:
        """Return an MCP client in memory, to be entered with `async with`.

        Args:
            mode: `auto` speaks 2026-07-28, `legacy` the handshake versions.
            token: whose; default the agent's.
        """
        backend = self.http_as(token or self._token("agent"))
        return Client(create_server(backend), mode=mode)

    def http_as(self, token: str | None) -> httpx.AsyncClient:
        """Return an HTTP client with this token, or with none."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=_Door(self), base_url=_API, headers=headers)

    async def token(self, name: str, *scopes: str, accounts: Iterable[str] = ()) -> str:
        """Make an API token of another principal and return it."""
        body = {"name": name, "scopes": list(scopes), "accounts": list(accounts)}
        made = await self.operator.post("/api/v1/tokens", json=body)
        return str(made.raise_for_status().json()["token"])

    # --- the two phases, spoken over MCP ---

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """Call any tool; a refusal is an answer as well."""
        given = {name: argument(value) for name, value in arguments.items()}
        return Answer.of_tool(await self.client.call_tool(tool, given, raise_on_error=False))

    async def plan(self, symbol: str, side: str, quantity: Number, **more: Any) -> Answer:
        """Plan a trade; `more` are further parameters of `plan_trade`."""
        return await self.call("plan_trade", symbol=symbol, side=side, quantity=quantity, **more)

    async def confirm(self, trade: Answer | str) -> Answer:
        """Confirm a plan."""
        return await self.call("execute_trade", trade_id=_id(trade), action="confirm")

    async def cancel(self, trade: Answer | str) -> Answer:
        """Cancel a plan and release what it reserved."""
        return await self.call("execute_trade", trade_id=_id(trade), action="cancel")

    async def trade(self, trade: Answer | str) -> Answer:
        """Look the whole trade up."""
        return await self.call("get_trade", trade_id=_id(trade))

    async def portfolio(self, account_id: str | None = None) -> Answer:
        """Look at balances, positions and what is in flight."""
        return await self.call("portfolio_status", account_id=account_id)

    async def approve(self, trade: Answer | str) -> Answer:
        """Approve a plan, as the operator, over HTTP."""
        path = f"/api/v1/trading/trades/{_id(trade)}/approve"
        return Answer.of_http(await self.operator.post(path))

    # --- time, and the life of the server ---

    async def advance(self, seconds: float, *, tick: bool = True) -> None:
        """Move the clock, then let every server of this home do its background work once.

        Args:
            tick: False leaves that work undone: nothing is swept or reconciled.
        """
        self.clock.advance(seconds)
        if tick:
            for server in self._world.servers:
                await server.backend.keeper.tick()

    async def start(self) -> None:
        """Start the server on its home, with what an earlier one left there."""
        world = self._world
        self._backend = await self._running.enter_async_context(
            open_backend(
                world.config,
                clock=world.clock,
                prices=world.prices,
                faults=world.faults,
                new_id=world.new_id,
                background=world.background,
                opening=world.opening,
            )
        )
        world.servers.append(self)

    async def stop(self) -> None:
        """Stop the server in order: what is under way is finished, the lease given back."""
        if self._backend is not None:
            self._backend = None
            self._world.servers.remove(self)
            await self._running.aclose()

    async def restart(self) -> None:
        """Stop in order, and start again on the same home."""
        await self.stop()
        await self.start()

    async def crash(self) -> None:
        """Die without a goodbye, and start again on the same home.

        What was committed is there. Work under way is cut off where it waits, its callers'
        connections break, nothing more is written, and the lease stays with the dead until
        it runs out (5 s). A real kill may fall at any instruction; this one falls at an await.
        """
        desk = self.backend.desk
        desk.database.failure = "the process died"
        for task in list(desk.tasks.running):
            task.cancel()
        await self.restart()

    async def second_server(self) -> "Stack":
        """Start another server on the same home; it ends with this one."""
        return await self._clients.enter_async_context(_running(self._world))

    async def connect(self) -> None:
        """Open the clients; once, after the first start."""
        enter = self._clients.enter_async_context
        self.http = await enter(self.http_as(self._token("agent")))
        self.operator = await enter(self.http_as(self._token("operator")))
        self.client = await enter(self.mcp(self._world.mode))

    async def close(self) -> None:
        """Close the clients, then the server."""
        await self._clients.aclose()
        await self.stop()

    def _token(self, name: str) -> str:
        return (self.home / f"{name}.token").read_text(encoding="ascii").strip()


@asynccontextmanager
async def stack(
    home: Path,
    *,
    opening: Number = 100_000,
    prices: Mapping[str, tuple[Price, Price]] = PRICES,
    instruments: Iterable[str] = (),
    clock: MovableClock | datetime | None = None,
    mode: Era = "auto",
    seed: int | None = None,
    background: bool = False,
    **settings: Any,
) -> AsyncIterator[Stack]:
    """Open a server on `home` with everything under control, and close it at the end.

    Args:
        opening: USD on `paper:main`, when this is the home's first start.
        prices: bid and ask by symbol, set before the start.
        instruments: further symbols to list, without a price yet.
        clock: one of your own, or the moment at which a `FrozenClock` begins; left out, it
            is the system's clock where freezegun froze it, else a `FrozenClock`.
        mode: the era that the helpers speak.
        seed: makes trade ids, and the prices of every symbol that is not set, the same
            each time. Without it ids are random and other symbols have no quote. The ids
            begin anew each time: give a home one seed and one stack.
        background: let the server do its background work by itself, each real second.
        settings: `EXEC_MCP_<NAME>` by `name`, such as `plan_ttl_s=30`; with
            `price_source` the symbols that are not set are priced by it.

    Raises:
        SettingError: a setting is unknown or malformed.
    """
    given = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    config = read_config({f"{PREFIX}SEED": str(seed or 0), **given, f"{PREFIX}HOME": str(home)})
    clock = FrozenClock(clock) if isinstance(clock, datetime) else clock or present_clock()
    otherwise: Prices | None = None
    if seed is not None or "price_source" in settings:
        otherwise = open_prices(config.price_source, clock, config.seed)
    chosen = ChosenPrices(clock, otherwise, instruments)
    for symbol, (bid, ask) in prices.items():
        chosen.set(symbol, bid, ask)
    new_id = new_trade_id if seed is None else _seeded_ids(seed)
    world = World(
        config.home,
        config,
        clock,
        chosen,
        FaultScript(),
        Decimal(opening),
        new_id,
        mode,
        background,
    )
    umask = os.umask(0o077)  # The server sets it for its whole process: this one is yours.
    try:
        async with _running(world) as opened:
            yield opened
    finally:
        os.umask(umask)
        if otherwise is not None:
            await otherwise.close()


@asynccontextmanager
async def _running(world: World) -> AsyncIterator[Stack]:
    opened = Stack(world)
    try:
        await opened.start()
        await opened.connect()
        yield opened
    finally:
        await opened.close()


class _Door(httpx.AsyncBaseTransport):
    """Leads to whichever server runs now; without one nothing is reached."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        backend = self._stack._backend
        if backend is None:
            raise httpx.ConnectError("the server is stopped", request=request)
        door = httpx.ASGITransport(backend.api, raise_app_exceptions=False)
        try:
            return await door.handle_async_request(request)
        except asyncio.CancelledError:
            if self._stack._backend is backend:
                raise  # The caller went away.
            raise httpx.ReadError("the server died", request=request) from None


def _id(trade: Answer | str) -> str:
    return trade if isinstance(trade, str) else trade.trade_id


def _seeded_ids(seed: int) -> Callable[[], str]:
    choose = random.Random(seed).choices
    return lambda: "trd-" + "".join(choose(_ID_LETTERS, k=20))
