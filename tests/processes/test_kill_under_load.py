"""kill -9 at random instants of a live load: nothing is sent twice, nothing is lost."""

import pytest

from tests.processes.kill import campaign

pytestmark = pytest.mark.anyio
# `python -m tests.processes --soak kill` does a hundred times as many.
CYCLES = 10


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_nothing_is_sent_twice_or_lost_when_servers_are_killed(zygote, tmp_path, journal):
    tally = await campaign(zygote, tmp_path / "homes", journal, CYCLES)

    assert tally.wrong == []
    assert tally.cycles == CYCLES
    assert tally.windows.total() > CYCLES
    assert tally.orders > 0
