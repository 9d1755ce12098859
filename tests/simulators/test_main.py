"""Both simulators from a terminal: what they print is what `exec-mcp` takes."""

import asyncio
import json
import shlex
import signal
import sys
from decimal import Decimal
from pathlib import Path
from random import Random

import httpx
import pytest

from backend.config import read_config
from tests.simulators.__main__ import Exchanges
from tests.simulators.drift import Drift

pytestmark = pytest.mark.anyio
D = Decimal


async def test_they_print_addresses_and_accounts_and_serve_when_run_as_a_program():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulators", "--port", "0"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    export, *commands = [(await process.stdout.readline()).decode() for _ in range(3)]

    name, _, value = shlex.split(export)[1].partition("=")
    addresses = read_config({name: value}).simulators
    async with httpx.AsyncClient(trust_env=False) as client:
        url = addresses["binance"][0]
        told = await client.get(f"{url}/api/v3/ticker/bookTicker?symbol=BTCUSDT")
        also = await client.get(f"{addresses['bitstamp'][0]}/api/v2/ticker/btcusd/")
    assert told.json()["askQty"] == "10.00000000"
    assert also.json()["ask"]
    for command, exchange in zip(commands, ("binance", "bitstamp"), strict=True):
        words = shlex.split(command)
        assert words[words.index("add") + 1] == exchange
        assert set(json.loads(words[2])) == {"api_key", "api_secret"}
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_the_keys_are_the_same_after_a_restart_and_the_markets_move():
    one, two = Exchanges(seed=5), Exchanges(seed=5)
    await one.start(0)
    await two.start(0)
    try:
        assert [line.partition("|")[0] for line in one.told().splitlines()[1:]] == [
            line.partition("|")[0] for line in two.told().splitlines()[1:]
        ]
        before = one.binance.books["BTCUSDT"].best_ask, one.bitstamp.books["btcusd"].best_bid
        for _ in range(5):
            one.step()
        after = one.binance.books["BTCUSDT"].best_ask, one.bitstamp.books["btcusd"].best_bid
    finally:
        await one.stop()
        await two.stop()
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_drift_keeps_its_spread_its_tick_and_its_calm():
    drift, random = Drift("X", D("0.25"), D("0.50"), D("1.00")), Random(1)
    for _ in range(1000):
        before = drift.bid
        drift.step(random)
        assert drift.ask - drift.bid == D("0.50")
        assert drift.bid > 0
        assert drift.bid % drift.tick == 0
        assert abs(drift.bid - before) <= max(drift.tick, before * D("0.0002"))
