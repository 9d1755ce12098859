"""What a forked process does: serve a home, or be the exchanges, or rush at trades."""

import asyncio
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

import backend.app
import backend.exchanges.binance
import backend.exchanges.bitstamp
import backend.exchanges.paper as paper
from backend import serving
from backend.config import read_config
from backend.services import keeper
from tests.processes import hand, rush, simulated
from tests.processes.shared_clock import SharedClock
from tests.processes.worker import choose
from tests.processes.zygote import Line

# The background's second: many rounds in a short life.
_EVERY_S = 0.05


class _Announced(io.TextIOBase):
    """Standard output of `serve`: its first line goes to the driver."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def write(self, text: str) -> int:
        if text.strip():
            self._line.say(text)
        return len(text)


def stand_in(clock: SharedClock, journal: str) -> None:
    """Use this clock, this journal mode and a short second in this process."""
    for module in (backend.app, paper):
        vars(module)["choose_durability"] = lambda: choose(journal)
    vars(backend.app)["open_backend"] = partial(backend.app.open_backend, clock=clock)
    vars(keeper)["_EVERY_S"] = _EVERY_S
    web_app = serving.web_app
    vars(serving)["web_app"] = lambda *given: _noting_arrivals(web_app(*given))


def _noting_arrivals(app: Any) -> Any:
    """Return the application, which writes down when the kill switch is asked for."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == hand.SWITCH:
            sys.stderr.write(f"arrived {time.monotonic_ns()}\n")
            sys.stderr.flush()
        await app(scope, receive, send)

    return noting


async def serve(line: Line, clock: str, journal: str, settings: Mapping[str, str]) -> None:
    """Be `exec-mcp serve` on a free port; the first word is what it prints."""
    stand_in(SharedClock(Path(clock)), journal)
    threading.Thread(target=line.wait_for_the_end, daemon=True).start()
    sys.stdout = _Announced(line)
    await serving.serve(read_config(settings), "127.0.0.1", 0)


async def storm(line: Line, clock: str, journal: str, **given: Any) -> None:
    """Use a home as a library, and rush at what the driver names."""
    shared = SharedClock(Path(clock))
    stand_in(shared, journal)
    await rush.obey(line, shared, **given)


async def simulators(line: Line, clock: str) -> None:
    """Be Binance and Bitstamp."""
    await simulated.obey(line, SharedClock(Path(clock)))


async def operator(line: Line, clock: str, home: str) -> None:
    """Engage and release the kill switch; the machine's own clock serves."""
    await hand.obey(line, home)


ROLES: Mapping[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "serve": serve,
    "storm": storm,
    "simulators": simulators,
    "operator": operator,
}


def warm_up() -> None:
    """Do once what a first start does, so that the forked need not do it again."""
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(_warm_up(home))


async def _warm_up(home: str) -> None:
    config = read_config({"EXEC_MCP_HOME": f"{home}/home", "EXEC_MCP_LOG_LEVEL": "ERROR"})
    async with backend.app.open_backend(config, background=False) as opened:
        app = serving.web_app(opened)
        uvicorn.Config(app, log_level="warning").load()
