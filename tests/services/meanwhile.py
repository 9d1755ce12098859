"""What somebody else commits while a test's own call is under way."""

from collections.abc import Callable
from typing import Any


class Meanwhile:
    """The product's database, with one change that somebody commits just before a write.

    Args:
        due: the first write after it is so is the one.
    """

    def __init__(
        self, database: Any, due: Callable[[], object], change: Callable[[Any], Any]
    ) -> None:
        self._database = database
        self._due = due
        self._change: Callable[[Any], Any] | None = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        if self._change is not None and self._due():
            change, self._change = self._change, None
            await self._database.write(change)
        return await self._database.write(body)
