"""What the SDK asks of either end of a connection, besides its messages."""

from types import TracebackType
from typing import Self


class End:
    """An end that keeps nothing: the connection ends with its own context."""

    async def aclose(self) -> None:
        """Nothing is kept here."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()
