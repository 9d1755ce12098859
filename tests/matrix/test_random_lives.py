"""Random lives: whatever happens, in whatever order, all is booked once and nothing is held."""

import os
from pathlib import Path

import pytest

from tests.matrix.lives import Life
from tests.matrix.world import each_exchange, world

pytestmark = pytest.mark.anyio

ACTS = 14
LIVES = 6  # One after another on one server: starting it takes as long as a life.
LONG = int(os.environ.get("EXEC_SOAK_MATRIX_LIVES", "300"))


async def live(home: Path, exchange: str, first: int, lives: int, acts: int) -> list[str]:
    """Live these seeds on one server, and return their traces; a failure names the seed."""
    # Where somebody also trades by hand, the operator lets his trades be adjusted.
    by_hand = first % 4 == 3
    account = {"on_difference": "adjust"} if by_hand else None
    traces = []
    async with world(home, exchange, account, seed=first) as w:
        for seed in range(first * 1000, first * 1000 + lives):
            life = Life(w, seed, by_hand)
            try:
                await life.live(acts)
                await life.settle()
                await life.check()
            except BaseException as error:
                told = "\n  ".join(life.trace)
                error.add_note(f"{exchange}, server {first}, seed {seed}:\n  {told}")
                raise
            traces += life.trace
    return traces


@each_exchange
@pytest.mark.parametrize("first", range(2))
async def test_whatever_happens_everything_is_booked_once_and_ends(tmp_path, exchange, first):
    await live(tmp_path / "home", exchange, first, LIVES, ACTS)


@each_exchange
async def test_the_same_seed_lives_the_same_life(tmp_path, exchange):
    one = await live(tmp_path / "one", exchange, 3, 2, ACTS)
    again = await live(tmp_path / "again", exchange, 3, 2, ACTS)

    assert one == again


@pytest.mark.soak
@each_exchange
@pytest.mark.parametrize("chunk", range(10))
async def test_long_lives_end_as_well(tmp_path, exchange, chunk):
    for number in range(LONG // 10):
        first = 100 + chunk * 1000 + number
        await live(tmp_path / str(first), exchange, first, lives=4, acts=60)
