"""What the regressions do to a world and read from it, beside what every matrix test does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from backend.domain.order import Fill
from backend.store import orders
from backend.testing.answers import Answer
from tests.matrix.sides import BinanceSide, BitstampSide, ExchangeSide
from tests.matrix.world import World
from tests.simulators.bitstamp import events, faults

D = Decimal

# A buy below the touch of 49,990 / 50,000, and the touch at which it fills.
PRICE = "49000"
RESTING = {"limit_price": PRICE}
TOUCH = ("49990", "50000")
DROP = ("48980", "48990")

# Every way in which an order that was taken can fail to be answered.
TAKEN = ("lose_answer", "error", "html", "truncated")
# Every way in which a look-up can fail to be answered.
SILENT = ("denied", "limited", "html", "lost")


async def order_of(w: World, trade: Answer) -> dict[str, Any]:
    """Return the order of a trade as `get_trade` shows it."""
    return dict((await w.look(trade))["order"])


async def state(w: World, trade: Answer) -> str:
    """Return the order's own state."""
    return str((await order_of(w, trade))["state"])


async def rest(w: World, quantity: str = "0.01", **more: Any) -> Answer:
    """Return a buy that rests below the touch."""
    made = await w.do(quantity=quantity, **{**RESTING, **more})
    assert made.status == "working", made
    return made


async def lose(w: World, word: str = "lose_answer", **more: Any) -> Answer:
    """Return a trade whose order went wrong in this way, so that nobody knows its outcome."""
    w.side.next_submit(word)
    made = await w.do(**more)
    assert made.status == "executing", made
    return made


async def hide(w: World, **more: Any) -> Answer:
    """Return a trade whose order is there, unanswered, and which look-ups miss."""
    if isinstance(w.side, BitstampSide):
        w.side.sim.faults.next("submit", replace(faults.hidden(), wire="drop"))
    else:
        w.side.next_submit("hidden")
    made = await w.do(**more)
    assert made.status == "executing", made
    return made


async def cancel(w: World, trade: Answer) -> Answer:
    """Ask for the cancel of a live order."""
    return await w.stack.call("cancel_order", trade_id=trade.trade_id)


async def held(w: World) -> Decimal:
    """Return how much of the payment currency is reserved."""
    return D((await w.funds())[w.side.payment][1])


async def booked(w: World, trade: Answer) -> list[Fill]:
    """Return the booked fills of a trade."""
    return list(await w.desk.database.read(lambda tx: orders.fills(tx, trade.trade_id)))


def theirs(side: ExchangeSide, trade: Answer) -> list[Any]:
    """Return the exchange's orders under a trade's id."""
    return [o for o in side.theirs() if o.client_order_id == trade.trade_id]


def look_ups(side: ExchangeSide) -> int:
    """Return how often single orders were looked up at the exchange."""
    paths = ("/api/v3/order", "/api/v2/order_status/")
    seen = simulator(side).requests
    return sum(s.path in paths and (s.method == "GET" or "status" in s.path) for s in seen)


def simulator(side: ExchangeSide) -> Any:
    """Return the simulator itself, for words that only one exchange knows."""
    assert isinstance(side, BinanceSide | BitstampSide)
    return side.sim


def told_fills(side: ExchangeSide, trade: Answer) -> set[tuple[str, Decimal, Decimal, Decimal]]:
    """Return id, quantity, price and fee of each fill of a trade by the exchange's own books."""
    if isinstance(side, BinanceSide):
        ours = {o.order_id for o in side.sim.orders if o.client_id == trade.trade_id}
        return {
            (str(f.trade_id), f.quantity, f.price, f.fee)
            for f in side.sim.fills
            if f.order_id in ours
        }
    assert isinstance(side, BitstampSide)
    return {
        (str(f.trade.trade_id), f.trade.quantity, f.price, f.fee)
        for f in side.sim.fills
        if f.order.client_order_id == trade.trade_id
    }


def our_fills(fills: list[Fill]) -> set[tuple[str, Decimal, Decimal, Decimal]]:
    """Return the same of booked fills; there must be no two of one key."""
    found = {(f.exchange_fill_id, f.quantity, f.price, f.fee) for f in fills}
    assert len(found) == len(fills)
    return found


def tell_again(side: ExchangeSide) -> None:
    """Let the private stream tell every fill of the account once more, as of now."""
    if isinstance(side, BinanceSide):
        engine = side.sim.world.engine
        for fill in side.sim.fills:
            if fill.uid == side.account.uid:
                order = engine.orders[(fill.symbol, fill.order_id)]
                engine.execution_id += 1
                number, now = engine.execution_id, side.sim.world.now()
                event = engine.views.report(order, "TRADE", number, now, fill, "")
                engine.publish(fill.uid, event)
        return
    assert isinstance(side, BitstampSide)
    for told in side.sim.fills:
        if told.order.account is side.account:
            frame = events.my_trade_frame(told, side.account.user_id)
            side.sim.stream.send(frame["channel"], frame)


async def all_is_told(w: World) -> None:
    """Wait until the stream has brought everything so far, its own first look included.

    The news of another order come after all that was before. The first one may have been
    found by that look; the second one can only come from the stream.
    """
    for _ in range(2):
        w.side.touch(*TOUCH)
        last = await rest(w, "0.0123")
        w.side.touch(*DROP)
        await w.comes_to(last, "executed")
    w.side.touch(*TOUCH)
