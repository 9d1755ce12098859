"""kill -9 of everything, again and again, under a live load of three processes on one home."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest

from backend.services.reconcile import reconcile_all
from tests.processes.started import ROOT, afterwards, at_the_exchange
from tests.services.spoken import assert_whole

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

CYCLES = int(os.environ.get("EXEC_SOAK_CYCLES", "50"))


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_nothing_is_sent_twice_or_lost_when_all_processes_are_killed(
    tmp_path: Path, journal: str
) -> None:
    home = tmp_path / "home"
    chance = random.Random(7)
    for cycle in range(CYCLES):
        await _load_and_kill(home, cycle, journal, seconds=chance.uniform(0.1, 0.8))
        await _everything_adds_up(home)


async def _load_and_kill(home: Path, cycle: int, journal: str, seconds: float) -> None:
    traders = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.trader", str(home), str(cycle * 3 + n), journal),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        for n in range(3)
    ]
    for trader in traders:
        assert trader.stdout is not None
        assert await trader.stdout.readline() == b"ready\n"
    await asyncio.sleep(seconds)
    for trader in traders:
        trader.kill()
    await asyncio.gather(*(trader.communicate() for trader in traders))


async def _everything_adds_up(home: Path) -> None:
    """Recover, then hold our books against the exchange's own."""
    # Later than any order's validity, and within what a clock may be behind in the next
    # cycle. The dead keeper's lease still stands: reconciling needs none.
    async with afterwards(home, seconds=2.5) as stack:
        for _ in range(3):
            await reconcile_all(stack.backend.desk)
        await assert_whole(stack)
        orders = at_the_exchange(home)
        ids = [client_order_id for client_order_id, _, _ in orders]
        assert len(ids) == len(set(ids))
        ours = await stack.backend.desk.database.read(
            lambda tx: {
                row["trade_id"]: row["filled_quantity"]
                for row in tx.rows("SELECT trade_id, filled_quantity FROM orders")
            }
        )
        for client_order_id, _, filled in orders:
            assert ours[client_order_id] == format(filled.normalize(), "f")
        unsettled = await stack.backend.desk.database.read(
            lambda tx: tx.value("SELECT COUNT(*) FROM orders WHERE state IN ('sending', 'unknown')")
        )
        assert unsettled == 0
        assert (await stack.call("risk_status"))["stopped"] is None
