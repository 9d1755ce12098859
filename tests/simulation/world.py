"""One seed's world: a home, one or two servers on it, an exchange, and who speaks to them."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.app import Backend, open_backend
from backend.database import sqlite3
from backend.domain.errors import ExecError
from backend.testing.clock import START
from backend.testing.prices import ChosenPrices
from tests.simulation.exchanges import ASK, BID, Paper, Simulated, Traded
from tests.simulation.homes import configure, tokens_of
from tests.simulation.oracle import Oracle
from tests.simulation.process import Process
from tests.simulation.sim import Sim

API = "/api/v1"
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
GIVES_UP_S = 14.0
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What a seed's world is made of.

    Attributes:
        exchange: paper, binance or bitstamp; the paper accounts are always there.
        servers: how many share the home.
        approval: plans of a certain size need an operator.
    """

    exchange: str
    servers: int
    approval: bool


def draw_shape(dice: random.Random) -> Shape:
    """Draw the world's shape: paper mostly, as it costs least."""
    exchange = dice.choices(("paper", "binance", "bitstamp"), (8, 3, 1))[0]
    return Shape(exchange, dice.choice((1, 1, 2)), dice.random() < 0.25)


@dataclass(slots=True)
class Reply:
    """An answer that arrived."""

    status: int
    data: Any

    @property
    def code(self) -> str:
        return str(self.data.get("code", "")) if isinstance(self.data, dict) else ""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request of a client."""

    method: str
    path: str
    token: str
    body: Any = None


class Server:
    """One server of the home: started, killed, stopped, and started again."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.backend: Backend | None = None
        self.process: Process | None = None
        self.wanted = True
        self.ups = 0
        self._stop = asyncio.Event()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[int, asyncio.Future[Reply | None]] = {}
        self._count = 0

    @property
    def up(self) -> bool:
        return self.backend is not None and self.process is not None and self.process.alive

    async def keep(self) -> None:
        """Start it, and start it again whenever it ended, for as long as it is wanted."""
        world = self.world
        while self.wanted:
            self.ups += 1
            self.process = world.sim.process(f"server.{self.name}{self.ups}")
            self._over.clear()
            self._stop.clear()
            self.process.on_death(self._died)
            task = self.process.start(self._run())
            task.add_done_callback(self._ended)
            await self._over.wait()
            self._let_go()
            await asyncio.sleep(world.dice.choice((0.05, 0.5, 2.0, 6.0)))

    async def _run(self) -> None:
        world = self.world
        async with open_backend(
            world.config,
            clock=world.sim.clock,
            prices=world.prices,
            faults=world.paper.faults,
            new_id=world.new_id,
            elapsed_s=world.sim.loop.time,
        ) as backend:
            self.backend = backend
            world.note(f"{self.name} up")
            await self._stop.wait()
            self.backend = None
            await self._finish()
        world.note(f"{self.name} stopped")

    async def _finish(self) -> None:
        """See the requests under way through, as a server does that was told to stop."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_GRACE_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self.process is not None and self.process.alive:
            self.world.note(f"{self.name} ended: {type(error).__name__}")
            # A disk that fails while it starts is a reason not to: the next start tries again.
            refused = isinstance(error, RuntimeError) and "cannot be opened" in str(error)
            if not refused and not isinstance(error, ExecError | sqlite3.DatabaseError | OSError):
                self.world.oracle.wrong(f"{self.name} could not run: {error!r}")
        self._over.set()

    def _died(self) -> None:
        self._over.set()

    def _let_go(self) -> None:
        """Break the connections of those who wait."""
        self.backend = None
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_result(None)
        self._calls.clear()
        self._tasks.clear()

    def kill(self, *, goodbye: bool = True) -> None:
        """SIGKILL, or the host goes away without a word."""
        if self.process is not None and self.process.alive:
            self.process.kill(goodbye=goodbye)

    def stop(self) -> None:
        """SIGTERM."""
        self._stop.set()

    async def call(self, request: Request) -> Reply | None:
        """Return the answer, or None when the server was not reached or died."""
        backend, process = self.backend, self.process
        if backend is None or process is None or not process.alive:
            return None
        waiting: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._count += 1
        number = self._count
        self._calls[number] = waiting
        task = process.start(_serve(process, backend.api, request, waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await waiting
        except asyncio.CancelledError:
            # The caller went away: some servers tell the work, some only notice at its end.
            if self.world.dice.random() < 0.5:
                task.cancel()
            raise
        finally:
            self._calls.pop(number, None)


async def _serve(
    process: Process, app: Any, request: Request, waiting: asyncio.Future[Reply | None]
) -> None:
    """Speak ASGI with the application, as a server would for one request."""
    body = b"" if request.body is None else json.dumps(request.body).encode()
    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + request.token.encode())]
    if body:
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
    path, _, query = request.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8787),
    }
    sent = [{"type": "http.request", "body": body, "more_body": False}]
    status, parts = 0, []

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await asyncio.Event().wait()
        raise AssertionError("nothing follows")

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            return
        parts.append(message.get("body", b""))
        # What a killed process says while its stack unwinds was never said.
        if process.alive and not message.get("more_body") and not waiting.done():
            text = b"".join(parts)
            told = json.loads(text, parse_float=Decimal) if text else None
            waiting.set_result(Reply(status, told))

    try:
        await app(scope, receive, send)
    finally:
        if not waiting.done():
            waiting.set_result(None)


class World:
    """Everything of one seed.

    Attributes:
        their_clock: the true time, which exchanges have: ours may be stepped.
        oracle: what is remembered and judged.
        calm: the faults are over.
    """

    def __init__(self, sim: Sim, shape: Shape, home: Path) -> None:
        self.sim = sim
        self.shape = shape
        self.home = home
        self.dice = sim.dice
        self.calm = False
        self.prices = ChosenPrices(sim.clock)
        self.paper = Paper(home, self.prices, sim.dice)
        self.other: Simulated | None = None
        if shape.exchange != "paper":
            self.other = Simulated(shape.exchange, self.their_clock)
        self.config = configure(home, None)
        self.oracle = Oracle(self)
        self.servers: list[Server] = []
        self.tokens = tokens_of(home)
        self.switches: dict[str, dict[str, Any]] = {}
        self.switching = asyncio.Lock()
        self._keeping: list[asyncio.Task[None]] = []
        self._off = 0.0
        self._ids = random.Random(sim.seed)

    def their_clock(self) -> datetime:
        return START + timedelta(seconds=self.sim.loop.time())

    @property
    def traded(self) -> list[Traded]:
        """The exchanges; the one that this seed is about comes last."""
        return [self.paper] if self.other is None else [self.paper, self.other]

    @property
    def main(self) -> Traded:
        return self.traded[-1]

    def account_ids(self) -> list[str]:
        return [one for traded in self.traded for one in traded.account_ids]

    def exchange_of(self, account_id: str) -> Traded:
        return next(t for t in self.traded if account_id in t.account_ids)

    def new_id(self) -> str:
        return "trd-" + "".join(self._ids.choices(_ID_LETTERS, k=20))

    def note(self, what: str) -> None:
        self.sim.trace.add(what)

    def step(self, seconds: float) -> None:
        """Step our clock; the exchanges keep the true time."""
        self._off += seconds
        self.sim.clock.step(seconds)

    def put_clock_right(self) -> None:
        """Let a clock that was put back catch up: one that is ahead stays so."""
        if self._off < 0:
            self.step(-self._off)

    # --- running ---

    async def start(self) -> None:
        """Start the exchange, then the servers."""
        self.paper.touch(BID, ASK, "10")
        if self.other is not None:
            await self.sim.process("exchange", exposed=False).ask(self.other.start())
        addresses = self.other.side.addresses if self.other else None
        self.config = configure(self.home, addresses)
        for number in range(self.shape.servers):
            server = Server(self, "ab"[number])
            self.servers.append(server)
            self._keeping.append(asyncio.create_task(server.keep(), name=f"keep {server.name}"))

    async def until_up(self, within_s: float = 60.0) -> Server:
        """Wait for a server that answers, and return it."""
        for _ in range(int(within_s / 0.05)):
            ready = [server for server in self.servers if server.up]
            if ready:
                return self.dice.choice(ready)
            await asyncio.sleep(0.05)
        raise AssertionError("no server came up")

    async def restart_all(self) -> None:
        """Let every server end, by an order or by a kill, and come back."""
        for server in self.servers:
            ups = server.ups
            if self.dice.random() < 0.5:
                server.stop()
            else:
                server.kill()
            for _ in range(2400):
                if server.ups > ups and server.up:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError(f"{server.name} did not come back")

    async def all_down(self) -> None:
        """Kill every server and keep it down."""
        for server in self.servers:
            server.wanted = False
            server.kill()
        await asyncio.gather(*self._keeping)
        self._keeping.clear()

    async def up_again(self) -> None:
        """Start what `all_down` ended."""
        for server in self.servers:
            server.wanted = True
            self._keeping.append(asyncio.create_task(server.keep(), name=f"keep {server.name}"))
        await self.until_up()

    async def end(self) -> None:
        """End everything of this seed."""
        await self.all_down()
        if self.other is not None:
            await self.other.stop()

    # --- speaking ---

    async def ask(
        self, who: str, method: str, path: str, body: Any = None, patience_s: float = GIVES_UP_S
    ) -> Reply | None:
        """Ask one of the servers; None: no answer came, for whatever reason."""
        dice = self.dice
        ready = [server for server in self.servers if server.up]
        if not ready:
            await asyncio.sleep(0.2)
            return None
        server = ready[0] if len(ready) == 1 else dice.choice(ready)
        await asyncio.sleep(dice.choice((0.0, 0.0, 0.003, 0.04)))
        request = Request(method, API + path, self.tokens[who], body)
        try:
            async with asyncio.timeout(patience_s):
                reply = await server.call(request)
        except TimeoutError:
            return None
        if not self.calm and self.sim.sites.chance("answer to the client: lost"):
            reply = None
        if reply is not None and reply.status >= 500 and reply.status != 503:
            self.oracle.wrong(f"{method} {path} answered {reply.status}: {reply.data}")
        await asyncio.sleep(dice.choice((0.0, 0.0, 0.002)))
        return reply
