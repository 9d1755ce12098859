"""The simulator from a terminal: one line of JSON, then it serves until it is stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_it_prints_its_urls_and_credentials_and_serves_when_run_as_a_program():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulators.bitstamp", "--port", "0"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.get(f"{told['rest_url']}/api/v2/ticker/btcusd/")
    assert reply.json()["ask"] == "77204"
    assert {"ws_url", "user_id", "key", "secret"} < set(told)
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
