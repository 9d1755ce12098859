"""A first life on each exchange."""

from decimal import Decimal

import pytest

from tests.matrix.binance_side import BinanceSide
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


async def test_what_only_this_accounts_own_filters_refuse_is_refused_before_anything_is_sent(
    tmp_path,
):
    async with world(tmp_path / "home", "binance") as w:
        assert isinstance(w.side, BinanceSide)
        w.side.account.max_asset["BTC"] = Decimal("0.5")

        fits = await w.plan(quantity="0.5")
        refused = await w.plan(quantity="0.6")

        assert fits.status == "pending"
        assert (refused.code, refused["nearest"]) == ("quantity_bounds", [0.5])
        assert w.side.orders_received() == []
