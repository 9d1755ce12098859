"""A gentle market: each touch walks at random, by a seed, one step at a time."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random

# A step is at most this share of the price, in 1/100,000: quiet enough for a band of 10 bps.
_MOST = 20


@dataclass(slots=True)
class Drift:
    """The touch of one symbol.

    Attributes:
        tick: prices are multiples of it.
        bid, ask: now.
    """

    symbol: str
    tick: Decimal
    bid: Decimal
    ask: Decimal

    def step(self, random: Random) -> None:
        """Move both prices by the same number of ticks, which may be none."""
        moved = self.bid * random.randint(-_MOST, _MOST) / 100_000 // self.tick * self.tick
        if self.bid + moved >= self.tick:
            self.bid, self.ask = self.bid + moved, self.ask + moved
