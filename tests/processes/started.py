"""Processes on one home: library workers and real servers, and a look at what they left."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.database import sqlite3
from backend.testing import FrozenClock, Stack, stack
from backend.testing.prices import ChosenPrices

ROOT = Path(__file__).parents[2]
EXEC_MCP = Path(sys.executable).with_name("exec-mcp")
_START_S = 60


@dataclass
class Worker:
    """A process of `worker.py`."""

    process: asyncio.subprocess.Process

    async def say(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.process.stdin.drain()

    async def hear(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = await self.process.stdout.readline()
        return json.loads(line) if line else None

    async def ask(self, **command: Any) -> Any:
        """Give one command and return its answer; None when it died."""
        await self.say(**command)
        return await self.hear()


def environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name[:9] != "EXEC_MCP_"}
    return {**ours, **more}


@asynccontextmanager
async def workers(home: Path, count: int = 1, journal: str = "WAL") -> AsyncIterator[list[Worker]]:
    """Run library processes on one home, started together."""
    started = [
        Worker(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.processes.worker", str(home), journal),
                cwd=ROOT,
                env=environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        for _ in range(count)
    ]
    try:
        for worker in started:
            assert await worker.hear() == {"ready": journal}
        yield started
    finally:
        for worker in started:
            if worker.process.returncode is None and worker.process.stdin is not None:
                worker.process.stdin.close()  # Its loop ends, and it stops in order.
        await asyncio.gather(*(worker.process.wait() for worker in started))


@dataclass
class Served:
    """A real `exec-mcp serve`."""

    process: asyncio.subprocess.Process
    url: str


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Served]:
    """Run a server of this home on a free loopback port."""
    process = await asyncio.create_subprocess_exec(
        *(str(EXEC_MCP), "serve", "--port", "0"),
        cwd=ROOT,
        env=environment(EXEC_MCP_HOME=str(home)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            said = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", said)
        assert found is not None, f"serve said {said!r}"
        yield Served(process, found[0])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@asynccontextmanager
async def afterwards(home: Path, seconds: float = 10) -> AsyncIterator[Stack]:
    """Open the home in this process, some seconds later than now."""
    clock = FrozenClock(datetime.now(UTC) + timedelta(seconds=seconds))
    async with stack(home, clock=clock) as opened:
        assert isinstance(opened.prices, ChosenPrices)
        yield opened


def at_the_exchange(home: Path) -> list[tuple[str, str, Decimal]]:
    """Return (client order id, state, filled) of every order in the paper exchange's book."""
    book = sqlite3.connect(f"file:{home / 'paper.db'}?mode=ro", uri=True)
    try:
        rows = book.execute("SELECT client_order_id, state, filled FROM orders ORDER BY number")
        return [(row[0], row[1], Decimal(row[2])) for row in rows]
    finally:
        book.close()
