"""Log lines that cannot be written."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import logs
from backend.testing import Stack, stack
from tests.services.spoken import assert_whole

pytestmark = pytest.mark.anyio


class Full(io.StringIO):
    """A file on a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def full() -> io.StringIO:
    return Full()


def closed() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


async def trades(opened: Stack) -> str:
    opened.faults.lose_answer()
    trade = await opened.plan("AAPL", "buy", 1)
    await opened.confirm(trade)
    await opened.advance(3)
    return str((await opened.trade(trade)).status)


@pytest.mark.parametrize("broken", [full, closed])
async def test_a_log_that_cannot_be_written_stops_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[], io.StringIO]
) -> None:
    logs.configure("DEBUG")
    monkeypatch.setattr(sys, "stderr", broken())
    async with stack(tmp_path / "home") as opened:
        assert await trades(opened) == "executed"
        await assert_whole(opened)
    logs.configure("WARNING")
