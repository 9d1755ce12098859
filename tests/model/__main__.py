"""`python -m tests.model`: what the search finds, as text."""

import argparse
import sys
from collections.abc import Sequence

from tests.model.configurations import ALL, CORE, SMALL
from tests.model.explore import Found, explore
from tests.model.holes import HOLES, SPARE
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS
from tests.soak.figures import Figure, tell

_STATES_AT_LEAST = 2_000_000


def _row(name: str, found: Found) -> str:
    verdict = f"{found.broken} in {len(found.trace)}" if found.broken else "safe"
    numbers = f"{found.states:>10,} states {found.transitions:>12,} transitions"
    return f"{name:44} {verdict:12} {numbers} {found.seconds:6.1f} s"


def _mutant(mutant: Mutant) -> str:
    off = ", ".join(mutant.guards)
    file, text = mutant.where
    return f"without {off} ({mutant.why})\n{file}: {text}\n{explore(mutant.mutated).told()}"


def _soak() -> bool:
    """Search every configuration and every mutant. Returns whether all is well."""
    found = []
    for model in ALL:
        found.append(explore(model))
        sys.stderr.write(_row(model.name, found[-1]) + "\n")
    states = sum(one.states for one in found)
    unsafe = sum(bool(one.broken) and one.broken != "stuck" for one in found)
    stuck = sum(one.broken == "stuck" for one in found)
    alive = [name for name, mutant in MUTANTS.items() if not explore(mutant.mutated).broken]
    enough = states >= _STATES_AT_LEAST
    tell(Figure("model", "configurations", f"{len(found)}"))
    tell(Figure("model", "states", f"{states:,}", f">= {_STATES_AT_LEAST:,}", enough))
    tell(Figure("model", "transitions", f"{sum(one.transitions for one in found):,}"))
    tell(Figure("model", "violations", f"{unsafe}", "0", not unsafe))
    tell(Figure("model", "stuck", f"{stuck}", "0", not stuck))
    dead = f"{len(MUTANTS) - len(alive)} of {len(MUTANTS)}"
    tell(Figure("model", "mutants killed", dead, "all", not alive))
    return enough and not (unsafe or stuck or alive)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for. Returns 1 if a configuration is not safe."""
    known = MUTANTS | HOLES | SPARE
    parser = argparse.ArgumentParser("python -m tests.model", description=__doc__)
    parser.add_argument("--mutant", choices=sorted(known), help="the shortest trace without it")
    parser.add_argument("--mutants", action="store_true", help="every mutant and hole, one line")
    parser.add_argument("--all", action="store_true", help="the configurations of `make soak` too")
    parser.add_argument("--soak", action="store_true", help="all of it, as figures")
    asked = parser.parse_args(arguments)
    say = sys.stdout.write
    if asked.soak:
        return int(not _soak())
    if asked.mutant:
        say(_mutant(known[asked.mutant]) + "\n")
        return 0
    if asked.mutants:
        for name, mutant in known.items():
            say(_row(name, explore(mutant.mutated)) + "\n")
        return 0
    unsafe = False
    for model in ALL if asked.all else (*CORE, *SMALL):
        found = explore(model)
        unsafe = unsafe or bool(found.broken)
        say(_row(model.name, found) + "\n" + (found.told() + "\n" if found.broken else ""))
    return int(unsafe)


if __name__ == "__main__":
    sys.exit(main())
