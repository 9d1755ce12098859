"""Fault sites: every place where something can go wrong has a name, and is counted."""

from __future__ import annotations

import random
from collections import Counter

# How likely each word is per visit, where a seed's swarm has it.
RATES = {
    "refuse": 0.03,
    "hang": 0.02,
    "reset before": 0.01,
    "reset after": 0.01,
    "drop": 0.008,
    "silence": 0.004,
    "truncate": 0.006,
    "late": 0.02,
    "split": 0.1,
    "busy": 0.02,
    "full": 0.001,
    "full, rolled back": 0.001,
    "io": 0.0005,
    "io, done": 0.002,
    "io, not done": 0.002,
    "stall": 0.01,
    "cut": 0.02,
    "fsync": 0.02,
    "kill": 0.0002,
    "kill before": 0.002,
    "kill after": 0.002,
    "power": 0.001,
    "lost": 0.03,
}


class Sites:
    """The fault sites of one seed.

    A site is `place: word`, such as `sql exec-mcp COMMIT: busy`. It can be hit when the word
    has a rate and the place is among those that this seed lets go wrong.

    Attributes:
        rates: by word, how often of its visits; empty: nothing goes wrong. See `swarm`.
        share: which part of the places may go wrong; drawn for each at its first visit.
        enabled: whether anything may go wrong now; visits are counted in any case.
        visits, hits: by site.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._known: dict[str, float] = {}
        self._forced: Counter[str] = Counter()
        self.rates: dict[str, float] = {}
        self.share = 1.0
        self.enabled = False
        self.visits: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()

    def swarm(self, quiet: float = 0.1) -> None:
        """Draw which words this seed knows, how often, and at which share of the places.

        Args:
            quiet: the part of the seeds in which nothing goes wrong by itself.
        """
        dice = self._dice
        wild = dice.choice((0.3, 1.0, 3.0))
        chosen = {word: rate * wild for word, rate in RATES.items() if dice.random() < 0.5}
        self.rates = {} if dice.random() < quiet else chosen
        self.share = dice.choice((0.3, 0.7, 1.0))
        self._known.clear()

    def force(self, name: str, times: int = 1) -> None:
        """Let the next visits of a site hit, whatever the dice say."""
        self._forced[name] += times

    def chance(self, name: str) -> bool:
        """Count a visit, and say whether it goes wrong here now."""
        self.visits[name] += 1
        if self._forced and self._forced[name]:
            self._forced[name] -= 1
            self._forced += Counter()  # Forgets what came to nothing.
            self.hits[name] += 1
            return True
        rate = self._known.get(name)
        if rate is None:
            rate = self._known[name] = self._draw(name)
        if not self.enabled or not rate or self._dice.random() >= rate:
            return False
        self.hits[name] += 1
        return True

    def _draw(self, name: str) -> float:
        rate = self.rates.get(name.rpartition(": ")[2], 0.0)
        return rate if rate and self._dice.random() < self.share else 0.0
