"""The address that people type into a client."""

import httpx
import pytest

from backend.serving import web_app
from backend.testing import Stack

pytestmark = pytest.mark.anyio


async def test_the_address_of_mcp_may_end_in_a_slash(exec_mcp: Stack):
    door = httpx.ASGITransport(web_app(exec_mcp.backend))

    async with httpx.AsyncClient(transport=door, base_url="http://127.0.0.1") as client:
        answer = await client.post("/mcp/", json={})

    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1/mcp")
