"""A process that rotates its home's vault and dies, by SIGKILL, at one step of it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import backend.app
from backend.config import read_config
from backend.services import vault

STEPS = (
    "before the fresh key is in the text",
    "after it",
    "after every row is sealed with it",
    "before the old key leaves the text",
    "after it left",
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """The product's database, which dies at the end of its `nth` write or after it."""

    def __init__(self, database: Any, nth: int, committed: bool) -> None:
        self._database = database
        self._left = nth
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        self._left -= 1
        last = self._left == 0

        def watched(transaction: Any) -> Any:
            made = body(transaction)
            if last and not self._committed:
                die()
            return made

        result = await self._database.write(watched)
        if last:
            die()
        return result


def die_before_replacing(nth: int) -> None:
    """Die when a file is about to take another's place for the `nth` time."""
    seen = 0

    def watch(event: str, _: Any) -> None:
        nonlocal seen
        seen += event == "os.rename"
        if event == "os.rename" and seen == nth:
            die()

    sys.addaudithook(watch)


async def main(home: str, step: str) -> None:
    config = read_config({"EXEC_MCP_HOME": home})
    async with backend.app.open_backend(config, background=False) as opened:
        desk: Any = opened.desk
        if step in (STEPS[0], STEPS[3]):
            die_before_replacing(1 if step == STEPS[0] else 2)
        elif step in (STEPS[1], STEPS[4]):
            desk.database = Mortal(desk.database, 1 if step == STEPS[1] else 2, committed=False)
        else:
            desk.database = Mortal(desk.database, 1, committed=True)
        await vault.rotate(desk, opened.vault, "operator")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
