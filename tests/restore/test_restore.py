"""Backups taken and put back in the middle of trading, on each exchange."""

import pytest

from tests.restore.cycle import Cycle, Told
from tests.restore.grounds import ground

pytestmark = pytest.mark.anyio

# Exchange, how the copy is put back, when it is made, and how often it is put back.
CASES = (
    ("paper", "both", "under load", 1),
    ("binance", "books", "under load", 2),
    ("bitstamp", "over", "under load", 1),
    ("binance", "plain over", "answered", 1),
    ("paper", "copy of a copy", "unknown", 1),
    ("binance", "home, journal apart", "claimed", 1),
    ("bitstamp", "home", "halted", 1),
    ("paper", "journal lost", "plan waits", 1),
)


@pytest.mark.parametrize(("name", "way", "moment", "times"), CASES, ids=lambda part: str(part))
async def test_whatever_copy_is_put_back_and_how_nothing_is_sent_twice(
    tmp_path, name, way, moment, times
):
    told = Told()
    more = {"journal": tmp_path / "apart" / "sends.log"} if "apart" in way else {}
    async with ground(tmp_path / "home", name, opening=10_000_000, **more) as there:
        by_command = (name, way) == ("bitstamp", "over")
        seed = len(name) + len(way)
        cycle = Cycle(there, tmp_path, seed, way, moment, told, acts=5, by_command=by_command)
        await cycle.run(times)

    assert (told.cycles, told.restores) == (1, times)
    assert told.found_again or way in ("home", "journal lost")
