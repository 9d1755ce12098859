"""A server over the fake backend, and a client of each protocol era."""

from collections.abc import AsyncIterator
from typing import Literal

import pytest
from fastmcp import Client, FastMCP

from mcp_server.server import create_server
from tests.mcp_server.fake_backend import AnyClient, FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def server(backend: FakeBackend) -> AsyncIterator[FastMCP]:
    async with backend.client() as http:
        yield create_server(http, token="the-token")


@pytest.fixture(params=["auto", "legacy"])
async def client(server: FastMCP, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    mode: Literal["auto", "legacy"] = request.param
    async with Client(server, mode=mode) as connected:
        yield connected
