"""kill -9 between every two steps of a confirm: at most one order, and the books whole."""

import pytest

from tests.processes.started import afterwards, at_the_exchange, workers
from tests.processes.worker import STEPS
from tests.services.spoken import assert_whole, confirm, funds, look, plan

pytestmark = pytest.mark.anyio

# What the exchange has, and how the trade stands once it was asked.
AFTER = {
    STEPS[0]: (0, "pending", None),
    STEPS[1]: (0, "failed", "absent"),
    STEPS[2]: (1, "executed", None),
    STEPS[3]: (1, "executed", None),
}


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_process_killed_in_a_confirm_leaves_at_most_one_order(tmp_path, step, journal):
    home = tmp_path / "home"
    async with workers(home, journal=journal) as (worker,):
        ((trade_id, _),) = await worker.ask(do="plan", times=1, terms={"quantity": 10})
        assert await worker.ask(do="die", step=step) is None
        died = await worker.ask(do="confirm", trade_id=trade_id, times=1)
        code = await worker.process.wait()
    orders, status, reason = AFTER[step]

    assert (died, code) == (None, -9)
    async with afterwards(home) as stack:
        await stack.backend.keeper.tick()
        trade = await stack.trade(trade_id)
        held = (await funds(stack))["USD"][1]
        assert (trade.status, trade["reason"]) == (status, reason)
        assert len(at_the_exchange(home)) == orders
        assert (held != "0") is (status == "pending")
        await assert_whole(stack)
        await stack.advance(1)  # Balances agree, at rest.
        assert (await stack.call("risk_status"))["stopped"] is None

        again = await confirm(stack, trade)

        assert again.http == (200 if status == "pending" else 400)
        assert len(at_the_exchange(home)) == (1 if status == "pending" else orders)
        await assert_whole(stack)


async def test_a_commit_that_the_disk_refuses_sends_nothing_and_stops_the_process(tmp_path):
    home = tmp_path / "home"
    async with workers(home) as (worker,):
        planned = await worker.ask(do="plan", times=1, terms={"quantity": 1})
        await worker.ask(do="fill_the_disk")
        while True:
            more = await worker.ask(do="plan", times=1, terms={"quantity": 1})
            if more[0][1] is not None:
                break
        ((_, code),) = more
        ((http, status, refused, _),) = await worker.ask(
            do="confirm", trade_id=planned[0][0], times=1
        )

    assert code == "storage"
    assert (http, refused, status) == (400, "storage", None)
    async with afterwards(home) as stack:
        trade = await look(stack, await stack.trade(planned[0][0]))
        assert trade.status == "pending"
        assert at_the_exchange(home) == []
        assert (await confirm(stack, trade)).http == 200
        assert (await plan(stack)).http == 201
        await assert_whole(stack)
