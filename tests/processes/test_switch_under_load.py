"""The kill switch under load: no claim commits after its flag, no order leaves after its answer."""

import pytest

from tests.processes.switch import campaign

pytestmark = pytest.mark.anyio
TIMES = 8
# Far above what it takes: this machine may be busy with other tests. The campaign is strict.
FLAG_MS, ANSWER_MS = 1000, 5000


async def test_nothing_is_claimed_after_the_flag_nor_sent_after_the_answer(zygote, tmp_path):
    tally = await campaign(zygote, tmp_path / "town", TIMES)

    assert tally.wrong == []
    assert (tally.engaged, tally.claims_after, tally.orders_after) == (TIMES, 0, 0)
    assert tally.orders > 0
    assert max(tally.flag_ms) < FLAG_MS
    assert max(tally.answer_ms) < ANSWER_MS
