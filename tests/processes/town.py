"""A home with its servers and the exchanges, each a process, on one clock."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.processes import books
from tests.processes.books import Theirs
from tests.processes.doors import Door, Http, Mcp, client
from tests.processes.load import Client, Market, Memory
from tests.processes.shared_clock import SharedClock
from tests.processes.zygote import Forked, Zygote

PAPER = Market("paper:main", ("AAPL", "SPY", "BTC/USD"), ("1", "2", "3"), "100", "900")
_SIMULATED = ("0.001", "0.002", "0.01", "0.02")
# Where the market stands, and where it goes to meet orders that rest.
TOUCH, LOW, HIGH = ("49990", "50000"), ("48900", "48950"), ("51050", "51100")
_LIMITS = {"price_band": "100000"}
# What a process writes down when something of ours is broken.
_BUGS = ("Traceback", ".failed", "audit.broken")


@dataclass
class Served:
    """One server of the home."""

    process: Forked
    url: str


@dataclass
class Town:
    """A home, its servers and the exchanges.

    Attributes:
        exchanges: the simulators' process; None where only paper is traded.
        markets: what is traded.
        memory: what clients were told so far.
    """

    zygote: Zygote
    folder: Path
    journal: str
    clock: SharedClock
    http: httpx.AsyncClient
    settings: dict[str, str]
    exchanges: Forked | None = None
    markets: list[Market] = field(default_factory=lambda: [PAPER])
    servers: list[Served] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def token(self, name: str = "agent") -> str:
        return (self.home / f"{name}.token").read_text().strip()

    # --- processes ---

    async def fork(self, role: str, **more: Any) -> tuple[Forked, Any]:
        """Start a process on this town's clock."""
        forked, first = await self.zygote.fork(role, clock=str(self.folder / "clock"), **more)
        self.logs.append(forked.log)
        return forked, first

    async def start(self, count: int = 1) -> None:
        """Start so many servers more, at once."""
        started = await asyncio.gather(
            *(
                self.fork("serve", journal=self.journal, settings=self.settings)
                for _ in range(count)
            )
        )
        for process, said in started:
            url = next(word for word in said.split() if word.startswith("http"))
            self.servers.append(Served(process, url))

    async def kill(self, victims: Sequence[Served]) -> None:
        """SIGKILL servers, all at the same instant."""
        await asyncio.gather(*(server.process.killed() for server in victims))
        self.servers = [server for server in self.servers if server not in victims]

    async def end(self) -> None:
        """End every process, the servers by SIGKILL, and tell what they complained of."""
        await self.kill(self.servers)
        wrong: list[str] = []
        if self.exchanges is not None:
            wrong = (await self.exchanges.ask(end=True))["wrong"]
            await self.exchanges.leave()
        assert not wrong, wrong
        assert (said := self.complaints()) == [], said

    def complaints(self) -> list[str]:
        """Return what the processes wrote down that tells of a bug."""
        lines = (line for log in self.logs for line in log.read_text().splitlines())
        return [line for line in lines if any(bug in line for bug in _BUGS)]

    def arrivals(self) -> list[int]:
        """Return when requests to the kill switch came to servers: monotonic ns."""
        lines = (line for log in self.logs for line in log.read_text().splitlines())
        return [int(line.split()[1]) for line in lines if line.startswith("arrived ")]

    # --- the exchanges ---

    async def tell(self, exchange: str, do: str, *given: Any) -> None:
        """Say a word of `ExchangeSide` to a simulator."""
        assert self.exchanges is not None
        await self.exchanges.ask(at=exchange, do=do, **{"with": given})

    async def move_markets(self, *touches: tuple[str, str]) -> None:
        """Put both simulated markets at each of these in turn, full of depth."""
        for touch in touches if self.exchanges else ():
            for exchange in ("binance", "bitstamp"):
                await self.tell(exchange, "touch", *touch, "1000")

    async def theirs(self, home: Path | None = None) -> dict[str, Theirs]:
        """Return every exchange's own books, the paper exchange's from `home` or a copy of it."""
        told = {} if self.exchanges is None else books.told(await self.exchanges.ask(books=True))
        return {**told, "paper": books.read_paper(home or self.home)}

    # --- clients ---

    async def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask any server as the operator.

        Raises:
            AssertionError: it refused.
        """
        told = await Http(self.http, self.servers[0].url, self.token("operator")).ask(
            method, f"/api/v1{path}", body
        )
        assert not told.refused, told
        return told.body

    def clients(self, count: int, chance: Random) -> list[Client]:
        """Return so many clients, over all servers in turn; each sixth speaks MCP."""
        token = self.token()
        found = []
        for number in range(count):
            url = self.servers[number % len(self.servers)].url
            door: Door = (Mcp if number % 6 == 5 else Http)(self.http, url, token)
            found.append(Client(door, self.markets, self.memory, Random(chance.random())))
        return found


@asynccontextmanager
async def town(
    zygote: Zygote, folder: Path, journal: str, *, servers: int = 1, simulated: bool = True
) -> AsyncIterator[Town]:
    """Start everything on an empty folder; at the end kill what is left.

    Args:
        journal: `WAL` or `DELETE`.
        simulated: with accounts at Binance and Bitstamp beside the paper one.
    """
    _make(folder)
    settings = {
        "EXEC_MCP_HOME": str(folder / "home"),
        "EXEC_MCP_LOG_LEVEL": "ERROR",
        "EXEC_MCP_RATE_LIMIT_PER_S": "100000",
        "EXEC_MCP_RISK_PRICE_BAND": "100000",
        "EXEC_MCP_RISK_MAX_PENDING_TRADES": "100000",
    }
    clock = SharedClock(folder / "clock")
    async with client() as http:
        made = Town(zygote, folder, journal, clock, http, settings)
        try:
            if simulated:
                await _open_exchanges(made)
            else:
                await made.start()
            if servers > 1:
                await made.start(servers - 1)
            yield made
        finally:
            for process in (*(s.process for s in made.servers), made.exchanges):
                if process is not None:
                    await process.leave()


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)


async def _open_exchanges(made: Town) -> None:
    made.exchanges, told = await made.fork("simulators")
    made.settings["EXEC_MCP_SIMULATORS"] = ", ".join(one["addresses"] for one in told.values())
    await made.move_markets(TOUCH)
    await made.start()
    accounts = await asyncio.gather(*(_add(made, name, about) for name, about in told.items()))
    for account, about in zip(accounts, told.values(), strict=True):
        market = Market(account["account_id"], (about["symbol"],), _SIMULATED, "49000", "51000")
        made.markets.append(market)


async def _add(made: Town, exchange: str, about: Mapping[str, Any]) -> dict[str, Any]:
    body = {
        "exchange": exchange,
        "identifier": about["identifier"],
        "environment": "testnet",
        "currency": about["currency"],
        "credentials": about["credentials"],
        "limits": _LIMITS,
    }
    return await made.ask("POST", "/accounts", json.loads(json.dumps(body)))
