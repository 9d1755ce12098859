"""Which edges of the state tables were taken: every legal one must be, and no other can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from backend.database import Transaction
from backend.domain.order import ORDER_EDGES, OrderState
from backend.domain.trade import TRADE_EDGES, TradeStatus
from backend.store import orders, trades
from tests.simulation.oracle import is_legal

Edge = tuple[str, str, str]

# Taken by no world of these, each with its reason and with the test that takes it.
ELSEWHERE: dict[Edge, str] = {
    ("trade", "failed", "executed"): "needs an exchange that breaks its promise: test_reconcile",
    ("order", "open", "rejected"): "no exchange here says so of an order that lived: test_settle",
    ("order", "unknown", "rejected"): "no look-up here says so: test_settle",
}


def legal() -> list[Edge]:
    """Return every edge that the domain allows."""
    found = [("trade", str(old), str(new)) for old, news in TRADE_EDGES.items() for new in news]
    found += [("order", str(old), str(new)) for old, news in ORDER_EDGES.items() for new in news]
    return sorted(found)


def illegal() -> Iterator[Edge]:
    """Yield every other pair of two states."""
    for kind, states in (("trade", TradeStatus), ("order", OrderState)):
        for old in states:
            for new in states:
                if old != new and not is_legal(kind, old, new):
                    yield kind, str(old), str(new)


def missing(taken: Counter[Edge]) -> list[Edge]:
    """Return the legal edges that were never taken."""
    return [edge for edge in legal() if not taken[edge] and edge not in ELSEWHERE]


def is_refused(tx: Transaction, trade_id: str, edge: Edge) -> bool:
    """Put a trade or its order into a state behind the store's back, and ask for the edge."""
    kind, old, new = edge
    if kind == "trade":
        tx.execute("UPDATE trades SET status = ? WHERE id = ?", (old, trade_id))
        return new == "pending" or not trades.move(tx, trade_id, TradeStatus(new))
    tx.execute("UPDATE orders SET state = ? WHERE trade_id = ?", (old, trade_id))
    return new == "sending" or not orders.move(tx, trade_id, OrderState(new))
