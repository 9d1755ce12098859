"""`exec-mcp` as its users start it: a process of its own, on a home of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

EXEC_MCP = Path(sys.executable).with_name("exec-mcp")
END_S = 15


@dataclass(frozen=True)
class Ended:
    """How a program ended and what it said."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Server:
    """A running `exec-mcp serve`."""

    process: "subprocess.Popen[str]"
    home: Path
    url: str

    def token(self, name: str = "agent") -> str:
        """Return a token of the home."""
        return (self.home / f"{name}.token").read_text().strip()

    def http(self, name: str | None = "agent") -> httpx.Client:
        """Return a client over a real socket, with this token or none."""
        headers = {"authorization": f"Bearer {self.token(name)}"} if name else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=END_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=END_S)
        return Ended(self.process.returncode, stdout, stderr)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with settings of its own only."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("EXEC_MCP_")}
    return {**ours, "EXEC_MCP_HOME": str(home), **{f"EXEC_MCP_{k}": v for k, v in settings.items()}}


@contextmanager
def serving(home: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """Run `exec-mcp serve` on a free loopback port; it is ended if the test did not."""
    process = subprocess.Popen(
        [str(EXEC_MCP), "serve", "--port", "0", *arguments],
        env=environment(home, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            url = re.search(r"http://\S+", said)
            if url is None:
                raise AssertionError(f"serve said {said!r} {process.communicate(timeout=END_S)[1]}")
            yield Server(process, home, url[0])
        finally:
            if process.poll() is None:
                process.kill()


def run(home: Path, *arguments: str, **settings: str) -> Ended:
    """Run `exec-mcp` to its end, with nothing to read."""
    done = subprocess.run(
        [str(EXEC_MCP), *arguments],
        env=environment(home, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
