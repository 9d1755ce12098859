"""A parent with everything imported, which forks processes at once: `Zygote.fork`.

A Python that imports the product takes a second or more to start, a fork of one that has it
some milliseconds. What is forked is a process like any other: it has its own memory, files and
sockets, and can be killed.

 driver ── commands (stdin) ──▶ zygote ── fork ──▶ process
        ◀──────── one JSON line each, over a socket of its own ───▶
"""

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes.started import ROOT, environment

_LINE_BYTES = 1 << 26
_WITHIN_S = 60


@dataclass
class Forked:
    """A forked process and the line to it."""

    pid: int
    log: Path
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def say(self, **what: Any) -> None:
        """Send one object."""
        self._writer.write(json.dumps(what).encode() + b"\n")
        await self._writer.drain()

    async def hear(self) -> Any:
        """Return the next object; None when the process is gone.

        Raises:
            RuntimeError: neither came within a minute; the error tells where it hangs.
        """
        try:
            async with asyncio.timeout(_WITHIN_S):
                line = await self._reader.readline()
        except ConnectionError:
            line = b""
        except TimeoutError as error:
            os.kill(self.pid, signal.SIGUSR1)
            await asyncio.sleep(1)
            raise RuntimeError(f"process {self.pid} hangs:\n{self.said()}") from error
        return json.loads(line) if line else None

    def said(self) -> str:
        """Return the end of what it wrote down."""
        return self.log.read_text()[-8000:]

    async def ask(self, **what: Any) -> Any:
        """Send one object and return the answer.

        Raises:
            RuntimeError: the process is gone; the error tells what it said last.
        """
        await self.say(**what)
        if (told := await self.hear()) is None:
            raise RuntimeError(f"process {self.pid} is gone:\n{self.said()}")
        return told

    async def killed(self) -> None:
        """SIGKILL it, and return when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        await self.gone()

    async def gone(self) -> None:
        """Return when the process has ended; whatever it still says is not listened to."""
        while await self.hear() is not None:
            pass
        await self.leave()

    async def leave(self) -> None:
        """Close our end: it ends by itself then."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@dataclass
class Zygote:
    """The driver's side: used from any event loop, one after the other."""

    _process: "subprocess.Popen[bytes]"
    _folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def fork(self, role: str, **arguments: Any) -> tuple[Forked, Any]:
        """Start a process that plays `role` of `roles.py`; return it and its first word."""
        name = f"{role}-{next(self._numbers)}"
        door, log = self._folder / name, self._folder / f"{name}.log"
        come: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_unix_server(
            lambda *ends: come.set_result(ends), door, limit=_LINE_BYTES
        )
        command = {"role": role, "door": str(door), "log": str(log), "arguments": arguments}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await come
        server.close()
        forked = Forked(0, log, reader, writer)
        forked.pid = await forked.hear()
        if (first := await forked.hear()) is None:
            await forked.leave()
            raise RuntimeError(f"{name} did not start:\n{forked.said()}")
        return forked, first


@contextmanager
def zygote() -> Iterator[Zygote]:
    """Run a zygote; what it forked ends with it at the latest."""
    with tempfile.TemporaryDirectory(prefix="exec-mcp-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.zygote"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
        )
        try:
            yield Zygote(process, Path(folder))
        finally:
            process.communicate()


@dataclass
class Line:
    """The forked process's end of its line to the driver."""

    _socket: socket.socket

    def say(self, what: Any) -> None:
        """Send one value, at once."""
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    def wait_for_the_end(self) -> None:
        """Block until the driver is gone, then end this process here and now."""
        while self._socket.recv(1):
            pass
        os._exit(0)

    async def heard(self) -> asyncio.StreamReader:
        """Return what the driver says, line by line."""
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._socket, limit=_LINE_BYTES
        )
        return reader


def _play(command: dict[str, Any]) -> None:
    from tests.processes.roles import ROLES

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(command["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.register(signal.SIGUSR1)
    line = socket.socket(socket.AF_UNIX)
    line.connect(command["door"])
    told = Line(line)
    told.say(os.getpid())
    asyncio.run(ROLES[command["role"]](told, **command["arguments"]))


def main() -> None:
    """Fork at each line of standard input, until it ends."""
    from tests.processes.roles import warm_up

    warm_up()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel buries the dead.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            os.close(0)
            code = 1
            try:
                _play(json.loads(line))
                code = 0
            finally:
                if code:
                    sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
                os._exit(code)


if __name__ == "__main__":
    main()
