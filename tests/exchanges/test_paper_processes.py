"""Several processes on one `paper.db`: every order once, counters without holes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exchanges.scripted import START, Desk

pytestmark = pytest.mark.anyio
ORDERS = 15

# Both processes send the same ids: of each id one wins, and the other learns "unknown".
SUBMITTER = f"""
import asyncio, sys
from pathlib import Path
from backend.domain.errors import OutcomeUnknown
from tests.exchanges.scripted import Desk

async def main():
    desk = Desk(Path(sys.argv[1]))
    exchange = await desk.connect()
    won = 0
    for i in range({ORDERS}):
        try:
            await exchange.submit(desk.order(f"trd-{{i}}", quantity="1"))
            won += 1
        except OutcomeUnknown:
            pass
    await exchange.close()
    sys.stdout.write(str(won))

asyncio.run(main())
"""


async def test_two_processes_that_send_the_same_orders_fill_each_once(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    root = Path(__file__).parents[2]

    racing = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SUBMITTER, str(tmp_path), cwd=root, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    won = [int((await process.communicate())[0]) for process in racing]

    fills = await exchange.fills("AAPL", START)
    events = exchange.told_since(0)
    sequences = [(await anext(events)).sequence for _ in range(ORDERS)]
    assert sum(won) == ORDERS
    assert [f.exchange_fill_id for f in fills] == [f"f-{i}" for i in range(1, ORDERS + 1)]
    assert sequences == list(range(1, ORDERS + 1))
    await exchange.close()
