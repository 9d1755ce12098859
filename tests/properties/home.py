"""One server for thousands of examples: its home is put back to how it was at first.

A start costs as much as twenty trades, so the databases are overwritten with their own
first copy while the server runs on, as another process could do with a backup.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from starlette.types import ASGIApp, Message

from backend.database import sqlite3
from backend.exchanges.paper.faults import FaultScript
from backend.testing import START, ChosenPrices, FrozenClock, Stack, stack
from backend.testing.prices import Price

T = TypeVar("T")
Quotes = Mapping[str, tuple[Price, Price]]
FILES = ("exec-mcp.db", "paper.db")
# A portfolio is cached for some seconds: no two examples near each other share a moment.
_DAYS = 80  # Tokens live for 90.


class Reply(NamedTuple):
    """One answer as it came."""

    status: int
    media: str
    text: str


async def _ask(app: ASGIApp, token: str, method: str, target: str, body: bytes) -> Reply:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "server": ("backend", 80),
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
        ],
    }
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await app(scope, receive, send)
    headers = dict(told[0]["headers"])
    text = b"".join(m.get("body", b"") for m in told[1:]).decode()
    return Reply(told[0]["status"], headers[b"content-type"].decode(), text)


class PutClock(FrozenClock):
    """A frozen clock that can be put to another moment."""

    def put(self, moment: datetime) -> None:
        self._now = moment


class Home:
    """A stack on its own event loop, and its first state.

    Attributes:
        tokens: further tokens by name.
    """

    def __init__(self, folder: Path, prices: Quotes, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = PutClock()
        self.folder = folder / "home"
        self._prices = prices
        options = {"clock": self.clock, "rate_limit_per_s": 100_000, **options}
        self._opened: AbstractAsyncContextManager[Stack] = stack(
            self.folder, prices=prices, **options
        )
        self.stack = self.run(self._opened.__aenter__())
        self.tokens: dict[str, str] = {}
        for name in ("agent", "operator"):
            self.tokens[name] = (self.folder / f"{name}.token").read_text().strip()
        self._other: Stack | None = None
        self._first: dict[str, Any] = {}
        self._journalled = 0
        self._examples = 0

    def run(self, work: Awaitable[T]) -> T:
        """Do some work on the server's loop."""
        return self.loop.run_until_complete(work)

    def keep(self) -> None:
        """Remember the present state as the first one."""
        self._journalled = self.stack.backend.desk.journal.size
        for name in FILES:
            self._first[name] = sqlite3.connect(":memory:", check_same_thread=False)
            with closing(sqlite3.connect(str(self.folder / name))) as now:
                now.backup(self._first[name])

    def begin(self) -> None:
        """Put everything back, some days later."""
        self._examples += 1
        self.clock.put(START + timedelta(days=self._examples % _DAYS))
        for name, first in self._first.items():
            with closing(sqlite3.connect(str(self.folder / name))) as now:
                now.execute("PRAGMA synchronous=OFF")
                first.backup(now)
        if (journal := self.stack.backend.desk.journal).size:
            os.truncate(journal.path, self._journalled)
        vars(self.stack.faults).update(vars(FaultScript()))
        fresh = ChosenPrices(self.clock)
        for symbol, (bid, ask) in self._prices.items():
            fresh.set(symbol, bid, ask)
        vars(self.stack.prices).update(vars(fresh))
        desk = self.stack.backend.desk
        for kept in (desk.polled, desk.looked, desk.compared, desk.trouble, desk.silent):
            kept.clear()

    def ask(self, server: Stack, token: str, method: str, target: str, body: Any) -> Reply:
        """Make one request to a server of this home, without a client in between."""
        sent = b"" if body is None else json.dumps(body).encode()
        return self.run(_ask(server.backend.api, self.tokens[token], method, target, sent))

    def other(self) -> Stack:
        """Return a second server of this home, until `end_second`."""
        if self._other is None:
            self._other = self.run(self.stack.second_server())
        return self._other

    def end_second(self) -> None:
        """Stop the second server, if there is one."""
        if self._other is not None:
            self.run(self._other.stop())
            self._other = None

    def close(self) -> None:
        self.run(self._opened.__aexit__(None, None, None))
        for first in self._first.values():
            first.close()
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def opened(prices: Quotes, **options: Any) -> Iterator[Home]:
    """Open a home in memory where there is such a place, else where temporary files go."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        home = Home(Path(folder), prices, **options)
        try:
            yield home
        finally:
            home.close()
