"""A whole server on a disk that can be told to fail, and what a person reads then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.testing import Answer, Stack, stack
from tests.services.spoken import Reply, assert_whole, confirm, look, plan
from tests.storage import vfs
from tests.storage.disk import Disk, watched
from tests.storage.trading import Variant, kept_as

MAIN, BOOK, JOURNAL = "exec-mcp.db*", "paper.db*", "sends.log"


@dataclass
class Ailing:
    """A server and its disk."""

    stack: Stack
    disk: Disk

    def heal(self) -> None:
        """Let every later call be served."""
        self.disk.faults.clear()
        self.disk.free = None

    @property
    def sent(self) -> list[str]:
        """Return the orders that reached the exchange's door."""
        return [order.client_order_id for order in self.stack.faults.attempts]

    async def restart(self) -> None:
        """Heal the disk and start anew on it."""
        await self.stack.stop()
        self.heal()
        await self.stack.start()

    async def killed(self) -> None:
        """End the process where it stands: SQLite tidies nothing up. Then start anew."""
        for operation in ("write", "truncate", "sync", "delete"):
            self.disk.fail(operation, "*", vfs.IOERR_WRITE, times=None)
        await self.restart()

    async def health(self) -> dict[str, Any]:
        told = await self.stack.http.get("/health")
        return {"http": told.status_code, **told.json()}

    async def refuses_risk(self, waiting: Answer) -> str:
        """See plan and confirm refused, over HTTP and MCP, and nothing sent; return the words."""
        before = len(self.sent)
        told = [await plan(self.stack), await confirm(self.stack, waiting)]
        assert [(one.http, one.code) for one in told] == [(400, "storage")] * 2
        spoken = [await self.stack.plan("AAPL", "buy", 1), await self.stack.confirm(waiting)]
        assert [one.code for one in spoken] == ["storage"] * 2
        assert {one["detail"] for one in (*told, *spoken)} == {told[0]["detail"]}
        assert len(self.sent) == before
        return str(told[0]["detail"])

    async def reads_go_on(self, trade: Answer) -> None:
        """See that looking is served."""
        assert (await look(self.stack, trade)).http == 200
        for tool in ("portfolio_status", "list_trades", "list_orders", "list_accounts"):
            assert not (await self.stack.call(tool)).refused

    async def trades_on(self) -> Reply:
        """Plan and confirm, and see the books whole."""
        done = await confirm(self.stack, await plan(self.stack, quantity=1))
        assert (done.http, done.status) == (200, "executed"), done
        await assert_whole(self.stack)
        return done


@asynccontextmanager
async def ailing(room: Path, mode: str = "WAL", **settings: Any) -> AsyncIterator[Ailing]:
    """Open a server in this journal mode on a disk of ours."""
    with watched(room) as disk, kept_as(Variant(mode)):
        async with stack(room / "home", **settings) as opened:
            server = Ailing(opened, disk)
            yield server
            server.heal()
