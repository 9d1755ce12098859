"""A first life on each exchange."""

import pytest

from tests.matrix.world import world

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("exchange", ["binance", "bitstamp"])
async def test_a_market_order_is_planned_confirmed_and_agrees(tmp_path, exchange):
    async with world(tmp_path / "home", exchange) as w:
        planned = await w.plan()
        assert planned.status == "pending", planned
        done = await w.confirm(planned)
        assert done.status == "executed", done
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None
