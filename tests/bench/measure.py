"""How figures are taken: interleaved, warmed up, the median of many."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Figure:
    """One line of the table: two numbers of the same run, their ratio and its bound.

    Without a bound the line only reports.
    """

    name: str
    ours: float
    yardstick: float
    unit: str
    bound: float | None
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """Return ours ÷ the yardstick."""
        return self.ours / self.yardstick

    @property
    def reached(self) -> bool:
        """Say whether the ratio is on the right side of its bound."""
        if self.bound is None:
            return True
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    def row(self) -> str:
        """Return the line as Markdown."""
        bound, mark = "-", "reported"
        if self.bound is not None:
            bound = f"{'>=' if self.at_least else '<='} {self.bound}"
            mark = "reached" if self.reached else "**missed**"
        return (
            f"| {self.name} | {self.ours:.3g} {self.unit} | {self.yardstick:.3g} {self.unit} "
            f"| {self.ratio:.2f} | {bound} | {mark} |"
        )


Step = Callable[[], Awaitable[object]]


async def interleaved(ours: Step, yardstick: Step, count: int = 200) -> tuple[float, float]:
    """Return the median milliseconds of each, taken in turns."""
    for _ in range(20):
        await ours()
        await yardstick()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        for step, times in zip((ours, yardstick), taken, strict=True):
            start = time.perf_counter()
            await step()
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])


@contextlib.contextmanager
def real_disk() -> Iterator[Path]:
    """Give a folder beside the repository: /tmp may be memory, where an fsync costs nothing."""
    path = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def fsync_ms(folder: Path, count: int = 200) -> float:
    """Return the median milliseconds of a 4 KiB write with fsync."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def free_port() -> int:
    """Return a loopback port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def settings(home: Path) -> dict[str, str]:
    """Return the environment of a server under test: our limits out of the way."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EXEC_MCP_")}
    return {
        **kept,
        "EXEC_MCP_HOME": str(home),
        "EXEC_MCP_RATE_LIMIT_PER_S": "100000",
        "EXEC_MCP_LOG_LEVEL": "WARNING",
        "FASTMCP_CHECK_FOR_UPDATES": "off",
    }


def exec_mcp() -> str:
    """Return the console script of this environment."""
    return str(Path(sys.executable).with_name("exec-mcp"))


@contextlib.asynccontextmanager
async def process(
    *command: str, port: int, probe: str, env: dict[str, str] | None = None
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run a server process until it answers at `probe`, and end it after."""
    running = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(probe)).status_code < 500:
                        break
                if time.monotonic() > deadline or running.poll() is not None:
                    raise RuntimeError(f"{command} did not start")
                time.sleep(0.05)  # noqa: ASYNC251
        yield running
    finally:
        running.terminate()
        running.wait(timeout=10)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")
