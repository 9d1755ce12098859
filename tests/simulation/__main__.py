"""Play seeds: one with its trace, many on all cores, or the whole campaign with its figures."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation import edges
from tests.simulation.broken import BROKEN, first_caught
from tests.simulation.campaign import Total, run_many, show
from tests.simulation.run import run
from tests.simulation.seeds import FINDERS
from tests.soak.figures import Figure, tell

SOAK = 100_000
# So often each place where a fault can be must have had one, in as many seeds as the campaign.
_HITS = 100


def main() -> int:
    """Do what the command line says; 1 where anything was violated."""
    options = _options()
    if options.seed is not None:
        return _replay(options.seed, options.quiet)
    if options.seeds is not None:
        return max((_replay(seed, quiet=True) for seed in options.seeds), default=0)
    if options.broken is not None:
        first, count = options.first, options.count or 1000
        return _break([(name, first, count) for name in options.broken or sorted(BROKEN)])
    if options.finders:
        return _break([(name, seed, 1) for name, seed in FINDERS.items()])
    return _many(options)


def _break(tries: list[tuple[str, int, int]]) -> int:
    """Say which seed finds each broken product out; 1 where none does."""
    missed = 0
    for name, first, count in tries:
        found = first_caught(name, first, count)
        missed += found is None
        told = "NOT caught" if found is None else f"seed {found.seed}: {found.violations[0][:200]}"
        sys.stdout.write(f"{name}: {told}\n")
        sys.stdout.flush()
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--quiet", action="store_true", help="with --seed: only the verdict")
    parser.add_argument("--count", type=int, help=f"how many seeds; --soak: {SOAK}")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--soak", action="store_true", help="print the campaign's figures")
    parser.add_argument("--seeds", nargs="*", type=int, help="play these, without their traces")
    parser.add_argument("--broken", nargs="*", help="let broken products be found out, by name")
    parser.add_argument("--finders", action="store_true", help="the same, by the seeds known to")
    return parser.parse_args()


def _replay(seed: int, quiet: bool) -> int:
    outcome = run(seed)
    lines = [] if quiet else [*outcome.trace, ""]
    lines += [f"violated: {what}" for what in outcome.violations]
    verdict = "broken" if outcome.violations else "good"
    lines.append(f"seed {seed} ({outcome.shape}): {verdict}, digest {outcome.digest}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if outcome.violations else 0


def _many(options: argparse.Namespace) -> int:
    count = options.count if options.count is not None else (SOAK if options.soak else 300)
    started, total, shown = time.monotonic(), Total(), 0.0
    for total in run_many(options.first, count, options.workers):
        if time.monotonic() - shown > 5:
            show(total, started)
            shown = time.monotonic()
    show(total, started)
    for line in total.broken:
        sys.stderr.write(line + "\n")
    if options.soak:
        return _tell(total, count)
    _table(total)
    return 1 if total.broken else 0


def _table(total: Total) -> None:
    """Print what was hit and taken, for a person."""
    lines = [f"{name:44} {total.hits[name]:>9} of {n:>10}" for name, n in _sites(total)]
    lines += [f"{kind} {old or 'nothing'} -> {new}: {n}" for (kind, old, new), n in _taken(total)]
    lines += [f"never taken: {edge}" for edge in edges.missing(total.edges)]
    per_seed = total.cpu_s / max(total.seeds, 1) * 1000
    lines.append(f"{total.seeds} seeds, {total.trades} trades, {per_seed:.0f} ms of CPU a seed")
    sys.stdout.write("\n".join(lines) + "\n")


def _sites(total: Total) -> list[tuple[str, int]]:
    return sorted(total.visits.items())


def _taken(total: Total) -> list[tuple[edges.Edge, int]]:
    return sorted(total.edges.items())


def _tell(total: Total, count: int) -> int:
    """Print the figures; a smaller campaign is bound to fewer hits."""
    least = max(1, _HITS * count // SOAK)
    rare = [name for name, _ in _sites(total) if total.hits[name] < least]
    untaken = edges.missing(total.edges)
    for name in rare:
        sys.stderr.write(f"hit {total.hits[name]} times: {name}\n")
    for edge in untaken:
        sys.stderr.write(f"never taken: {edge}\n")
    legal, sites = len(edges.legal()) - len(edges.ELSEWHERE), len(total.visits)
    hours = total.virtual_s / 3600
    hit, taken = f"{sites - len(rare)} of {sites}", f"{legal - len(untaken)} of {legal}"
    for what, value, bound, kept in (
        ("seeds", f"{total.seeds:,}", "", None),
        ("trades", f"{total.trades:,}", "", None),
        ("hours lived", f"{hours:,.0f}", "", None),
        ("seeds with a violation", f"{len(total.broken):,}", "0", not total.broken),
        (f"fault sites hit {least}+ times", hit, "all", not rare),
        ("edges of the state tables taken", taken, "all", not untaken),
    ):
        tell(Figure("simulation", what, value, bound, kept))
    return 1 if total.broken or rare or untaken else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of texts is drawn anew in each process otherwise.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main())
