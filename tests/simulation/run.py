"""One seed, from its template to its verdict."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog

import backend.app
import backend.exchanges.paper as paper
from backend.database import choose_durability
from tests.simulation import homes
from tests.simulation.acts import Agent, Operator
from tests.simulation.loop import CURRENT
from tests.simulation.nature import Nature
from tests.simulation.oracle import BUGS
from tests.simulation.sim import Sim, simulate
from tests.simulation.world import World, draw_shape

# Longer than any world needs to come to rest after its faults.
_REST_WITHIN_S = 1800.0
_LIFE_AT_MOST_S = 240.0
_told: list[str] = []


@dataclass(slots=True)
class Outcome:
    """What came of one seed.

    Attributes:
        digest: SHA-256 of the whole trace: the same seed has the same one.
        took_s: virtual seconds.
    """

    seed: int
    shape: str
    violations: list[str]
    digest: str
    trace: list[str]
    took_s: float = 0.0
    trades: int = 0
    edges: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)


def run(seed: int) -> Outcome:
    """Live one seed and judge it."""
    _hear_logs()
    _told.clear()
    kept: dict[str, Any] = {}

    async def main(sim: Sim) -> None:
        kept["sim"] = sim
        with tempfile.TemporaryDirectory(dir=_shm(), prefix="sim-") as folder:
            await _live(sim, Path(folder), kept)

    violations: list[str] = []
    try:
        with _journal_mode(seed):
            simulate(seed, main)
    except Exception as error:
        violations.append(f"the world broke: {type(error).__name__}: {error}")
        if "sim" not in kept:
            raise
        kept["error"] = error
    return _outcome(seed, kept, violations)


@contextmanager
def _journal_mode(seed: int) -> Iterator[None]:
    """Let every other seed keep its databases as an SQLite that cannot be trusted with a WAL."""
    mode = choose_durability((3, 40, 1)) if seed % 2 else choose_durability()
    before = [(module, vars(module)["choose_durability"]) for module in (backend.app, paper)]
    for module, _ in before:
        vars(module)["choose_durability"] = lambda: mode
    try:
        yield
    finally:
        for module, real in before:
            vars(module)["choose_durability"] = real


async def _live(sim: Sim, folder: Path, kept: dict[str, Any]) -> None:
    shape = draw_shape(sim.dice)
    homes.take(_template(shape.exchange), folder / "home")
    world = kept["world"] = World(sim, shape, folder / "home")
    await world.start()
    await world.until_up()
    sim.sites.enabled = True
    nature = Nature(world, folder)
    agents = await _life(world, nature)
    await _settle(world, agents)
    await world.oracle.judge()
    await world.end()


async def _life(world: World, nature: Nature) -> list[Agent]:
    dice = world.dice
    count = dice.choice((1, 1, 2))  # Two know nothing of each other.
    agents = [Agent(world, name) for name in ("agent", "rival")[:count]]
    operator = Operator(world)
    if world.shape.approval:
        await operator.want_approvals()
    raging = asyncio.create_task(nature.rage(), name="nature")
    deeds = [agent.live(dice.randint(2, 5)) for agent in agents]
    try:
        async with asyncio.timeout(_LIFE_AT_MOST_S):
            await asyncio.gather(*deeds, operator.live(dice.choice((0, 0, 2, 4))))
    except TimeoutError:
        world.note("the day is over")
    nature.over = True
    await raging  # A restore is not left half done.
    await nature.end()
    return agents


async def _settle(world: World, agents: list[Agent]) -> None:
    """Let the faults stop and time pass, until everything is at its end."""
    world.note("calm")
    world.calm = True
    world.sim.sites.enabled = False
    world.sim.network.heal()
    for traded in world.traded:
        traded.calm()
        await traded.deliver_late()
    world.put_clock_right()
    for server in world.servers:
        server.wanted = True
    await world.restart_all()
    operator = Operator(world)
    deadline = world.sim.loop.time() + _REST_WITHIN_S
    while await world.oracle.unrest():
        if world.sim.loop.time() > deadline:
            break
        for agent in agents:
            await agent.end_what_lives()
        await asyncio.sleep(1.5)
    await operator.put_right()
    await asyncio.sleep(1.5)


def _outcome(seed: int, kept: dict[str, Any], violations: list[str]) -> Outcome:
    sim: Sim = kept["sim"]
    world: World | None = kept.get("world")
    if world is not None:
        violations = world.oracle.violations + violations
    violations += [f"the product logged {line}" for line in _told]
    violations += [f"the loop logged {_short(context)}" for context in sim.loop.errors]
    made = Outcome(seed, "", violations, sim.trace.digest(), sim.trace.tail(5000))
    made.took_s = sim.loop.time()
    made.visits, made.hits = sim.sites.visits, sim.sites.hits
    if world is not None:
        shape = world.shape
        made.shape = f"{shape.exchange} {shape.servers}"
        made.trades, made.edges = len(world.oracle.known), world.oracle.edges
    return made


def _short(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"


# --- what is made once per process ---


def _shm() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@lru_cache(maxsize=1)
def _templates() -> Path:
    folder = tempfile.mkdtemp(dir=_shm(), prefix="sim-templates-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _template(exchange: str) -> Path:
    return _templates() / exchange


@lru_cache(maxsize=1)
def make_templates() -> None:
    """Make every template home: before the first seed, as it needs an ordinary loop."""
    for exchange in ("paper", "binance", "bitstamp"):
        homes.make_template(_templates(), exchange)


@lru_cache(maxsize=1)
def _hear_logs() -> None:
    make_templates()
    structlog.configure(processors=[_hear], cache_logger_on_first_use=False)


def _hear(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:
    process = CURRENT.get()
    if event["event"] in BUGS and (process is None or process.alive):
        _told.append(str(dict(event)))
    raise structlog.DropEvent
