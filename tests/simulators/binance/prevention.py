"""Self-trade prevention: which own orders a taker would meet, and how far it may go."""

from decimal import Decimal

from tests.simulators.matching import Book, Resting

from .orders import SIDES, Order


def in_the_way(book: Book, order: Order) -> tuple[list[Resting], Decimal]:
    """The own orders that a taker of its mode would meet, and how much it may take.

    With EXPIRE_MAKER they step aside and the taker goes on; otherwise it stops at the first.
    """
    if order.stp == "NONE":
        return [], order.remaining
    own: list[Resting] = []
    left = order.remaining
    for resting in book.facing(SIDES[order.side], order.limit):
        if left <= 0:
            break
        if resting.owner != str(order.uid):
            left -= resting.remaining
            continue
        own.append(resting)
        if order.stp != "EXPIRE_MAKER":
            return own, order.remaining - left
    return own, order.remaining
