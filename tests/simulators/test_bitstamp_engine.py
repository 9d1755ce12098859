"""The simulated exchange under random orders: no money appears, no hold is forgotten."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from backend.testing.clock import FrozenClock
from tests.simulators.bitstamp import Simulator
from tests.simulators.bitstamp.model import SUBTYPES, TAKES_ANY_PRICE, Account
from tests.simulators.bitstamp.rules import Draft
from tests.simulators.bitstamp.wire import Refusal

D = Decimal
STEPS = 600


def draft(random: Random, sim: Simulator, account: Account) -> Draft:
    kind = random.choice(list(SUBTYPES))
    price = None if kind in TAKES_ANY_PRICE else D(random.randrange(49_500, 50_500))
    quantity = D(random.randrange(1, 4000)).scaleb(-4)
    side = random.choice(["buy", "sell"])
    return Draft(account, sim.engine.markets["btcusd"], side, kind, quantity, price)


def step(random: Random, sim: Simulator) -> None:
    account = random.choice(sim.accounts)
    working = sim.engine.working(account)
    if random.random() < 0.2:
        middle = D(random.randrange(49_700, 50_300))
        sim.set_touch("btcusd", middle - 5, middle + 5, D(random.randrange(1, 30)) / 100)
    elif working and random.random() < 0.3:
        sim.engine.cancel(random.choice(working))
    elif random.random() < 0.02:
        sim.roll_back(orders=random.randrange(3), fills=random.randrange(3))
    else:
        sim.engine.submit(draft(random, sim, account))


def check(sim: Simulator, start: dict[Account, dict[str, Decimal]]) -> None:
    moved = {account: dict(balances) for account, balances in start.items()}
    for fill in sim.fills:
        for currency, change in fill.moves.items():
            moved[fill.order.account][currency] += change
    book = sim.books["btcusd"]
    for account in sim.accounts:
        assert account.balances == moved[account]
        for order in sim.engine.working(account):
            resting = book.get(order.order_id)
            assert resting is not None
            assert resting.remaining == order.remaining > 0
    for order in sim.orders:
        filled = sum((fill.trade.quantity for fill in order.fills), D(0))
        assert filled + order.remaining == order.quantity
        assert (order.order_id in book) == (order.status == "Open")
    if book.best_bid is not None and book.best_ask is not None:
        assert book.best_bid < book.best_ask


@pytest.mark.parametrize("seed", range(4))
def test_books_balances_and_orders_agree_when_anything_happens(seed: int):
    random, sim = Random(seed), Simulator(FrozenClock(), seed)
    for _ in range(3):
        sim.add_account({"usd": D(20_000), "btc": D(1)})
    start = {account: dict(account.balances) for account in sim.accounts}
    refused: list[str] = []
    for _ in range(STEPS):
        try:
            step(random, sim)
        except Refusal as refusal:
            refused.append(refusal.body["response_code"])
        check(sim, start)
    assert len(sim.fills) > 50
    assert set(refused) <= {"400.001", "400.009"}
    assert len(refused) < STEPS / 2
