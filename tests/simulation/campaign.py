"""Many seeds, on every core: what broke, what was hit, which edges were taken."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.edges import Edge
from tests.simulation.run import Outcome, run

_AT_ONCE = 20
# A worker is replaced after so many chunks: nothing that leaks can grow for hours.
_CHUNKS_PER_WORKER = 50


@dataclass(slots=True)
class Total:
    """What many seeds came to.

    Attributes:
        broken: a line for each seed that violated anything.
        cpu_s: seconds that the workers spent.
        trades, virtual_s: how much was lived.
    """

    seeds: int = 0
    broken: list[str] = field(default_factory=list)
    edges: Counter[Edge] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    trades: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0

    def take(self, one: Outcome) -> None:
        """Add what came of one seed."""
        self.seeds += 1
        self.edges.update(one.edges)
        self.visits.update(one.visits)
        self.hits.update(one.hits)
        self.shapes[one.shape] += 1
        self.trades += one.trades
        self.virtual_s += one.took_s
        if one.violations:
            more = len(one.violations) - 1
            told = one.violations[0][:300] + (f" (and {more} more)" if more else "")
            self.broken.append(f"{repeat(one.seed)}  # {one.shape}: {told}")

    def add(self, other: Total) -> None:
        """Add another total."""
        self.seeds += other.seeds
        self.broken += other.broken
        for mine, theirs in (
            (self.edges, other.edges),
            (self.visits, other.visits),
            (self.hits, other.hits),
            (self.shapes, other.shapes),
        ):
            mine.update(theirs)  # type: ignore[arg-type]
        self.trades += other.trades
        self.virtual_s += other.virtual_s
        self.cpu_s += other.cpu_s


def repeat(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f"python -m tests.simulation --seed {seed}"


def run_seeds(seeds: Iterable[int]) -> Total:
    """Live these seeds here, one after the other."""
    total, started = Total(), time.process_time()
    for seed in seeds:
        total.take(run(seed))
    total.cpu_s = time.process_time() - started
    return total


def run_many(first: int, count: int, workers: int) -> Iterator[Total]:
    """Live many seeds on some workers; yield the growing total after each chunk."""
    chunks = [
        range(start, min(start + _AT_ONCE, first + count))
        for start in range(first, first + count, _AT_ONCE)
    ]
    total = Total()
    if workers == 1:
        for chunk in chunks:
            total.add(run_seeds(chunk))
            yield total
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=spawn, max_tasks_per_child=_CHUNKS_PER_WORKER
    ) as pool:
        for done in pool.map(run_seeds, chunks):
            total.add(done)
            yield total


def show(total: Total, started: float) -> None:
    """Tell on standard error how far it is."""
    rate = total.seeds / max(time.monotonic() - started, 0.001)
    sys.stderr.write(f"{total.seeds} seeds, {len(total.broken)} broken, {rate:.1f}/s\n")
    sys.stderr.flush()
