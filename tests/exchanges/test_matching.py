"""Matching keeps its promises for any order and any walk of the market."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.order import OrderState, Side, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges.paper.matching import Conditions, Step, Working, arrive, resume
from tests.exchanges.scripted import START, D

ticks = st.integers(9900, 10100)


def price(tick: int) -> Decimal:
    return Decimal(tick) / 100


def quote(second: int, tick: int) -> Quote:
    moment = START + timedelta(seconds=second)
    return Quote("AAPL", price(tick - 1), price(tick), price(tick), moment, "test")


orders = st.builds(
    Working,
    number=st.just(1),
    symbol=st.just("AAPL"),
    side=st.sampled_from(Side),
    quantity=st.integers(1, 20).map(Decimal),
    limit_price=ticks.map(price),
    stop_price=st.none() | ticks.map(price),
    time_in_force=st.sampled_from(TimeInForce),
    expires_at=st.none() | st.integers(1, 20).map(lambda s: START + timedelta(seconds=s)),
    filled=st.just(D(0)),
    triggered=st.just(False),
    state=st.just(OrderState.OPEN),
    matched_until=st.just(START),
)
conditions = st.builds(
    Conditions,
    tick_size=st.just(D("0.01")),
    liquidity=st.none() | st.integers(1, 9).map(Decimal),
    slippage_bps=st.integers(0, 100).map(Decimal),
)
walks = st.lists(ticks, max_size=20)


def play(order: Working, walk: list[int], terms: Conditions, looks: list[int]) -> list[Step]:
    """Return every step when somebody looks at these seconds, and at the last."""
    quotes = [quote(second, tick) for second, tick in enumerate(walk, start=1)]
    steps = arrive(order, quote(0, 10000), terms, START)
    seen = START
    for second in sorted({*looks, len(walk) + 1}):
        order = steps[-1].order if steps else order
        now = START + timedelta(seconds=second)
        if not order.final:
            fresh = [q for q in quotes if seen < q.as_of]
            steps += resume(order, fresh, terms, now)
        seen = max(seen, now)
    return steps


@settings(max_examples=300, deadline=None)
@given(order=orders, walk=walks, terms=conditions)
def test_no_fill_is_worse_than_the_limit_or_more_than_ordered(order, walk, terms):
    steps = play(order, walk, terms, [])
    fills = [s.execution for s in steps if s.execution]

    for fill in fills:
        assert fill.quantity > 0
        assert fill.price % terms.tick_size == 0
        if order.side is Side.BUY:
            assert fill.price <= order.limit_price
        else:
            assert fill.price >= order.limit_price
        assert terms.liquidity is None or fill.quantity <= terms.liquidity
    total = sum((f.quantity for f in fills), D(0))
    last = steps[-1].order if steps else order
    assert last.filled == total <= order.quantity
    assert (last.state is OrderState.FILLED) == (total == order.quantity)
    if order.time_in_force is TimeInForce.FOK:
        assert total in (0, order.quantity)


@settings(max_examples=300, deadline=None)
@given(order=orders, walk=walks, terms=conditions, looks=st.lists(st.integers(0, 21), max_size=5))
def test_it_makes_no_difference_when_somebody_looks(order, walk, terms, looks):
    def story(steps: list[Step]) -> list[tuple[object, ...]]:
        return [(s.at, s.execution, s.order.state, s.reason) for s in steps]

    looks = [second for second in looks if second <= len(walk)]

    assert story(play(order, walk, terms, looks)) == story(play(order, walk, terms, []))


@settings(max_examples=200, deadline=None)
@given(order=orders, walk=walks, terms=conditions)
def test_steps_are_in_the_order_of_time_and_nothing_follows_the_end(order, walk, terms):
    steps = play(order, walk, terms, [])

    assert [s.at for s in steps] == sorted(s.at for s in steps)
    assert not any(s.order.final for s in steps[:-1])
    assert all(
        order.expires_at is None or s.execution is None or s.at < order.expires_at for s in steps
    )
