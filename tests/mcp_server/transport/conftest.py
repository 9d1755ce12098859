"""One home, and one server of it on WebSocket, for each test that asks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.testing import Stack, stack
from tests.mcp_server.transport.served import Served, served


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Stack]:
    async with stack(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
async def server(home: Stack) -> AsyncIterator[Served]:
    async with served(home) as one:
        yield one
