"""Whole worlds in virtual time: whatever happens, at most one order a trade, and nothing lost."""

import os
import subprocess
import sys
from functools import partial

import pytest

from backend.testing.stack import stack
from tests.services.spoken import confirm, plan
from tests.simulation import edges
from tests.simulation.broken import BROKEN
from tests.simulation.seeds import FINDERS, KEPT

# The campaign begins with the same seeds.
SHARES, EACH = 2, 150


def simulation(*options: object) -> str:
    """Run the package as a person would; fail with what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *map(str, options)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_happens_no_seed_breaks_a_promise(share):
    simulation("--count", EACH, "--first", share * EACH, "--workers", 1)


def test_kept_seeds_find_nothing_now_and_are_the_same_worlds_to_the_last_step():
    once = simulation("--seeds", *sorted(KEPT))
    again = simulation("--seeds", *sorted(KEPT)[-2:])

    assert once.splitlines()[-2:] == again.splitlines()
    assert "digest" in again


def test_broken_products_are_found_out():
    assert set(FINDERS) == set(BROKEN)
    simulation("--finders")


@pytest.mark.anyio
async def test_every_edge_that_is_not_drawn_is_refused_by_the_store(tmp_path):
    async with stack(tmp_path / "home") as opened:
        made = await plan(opened)
        await confirm(opened, made)
        database = opened.backend.desk.database

        for edge in edges.illegal():
            assert await database.write(
                partial(edges.is_refused, trade_id=made.trade_id, edge=edge)
            )
