"""`python -m tests.mutants`: which of the product's guards no test notices."""

import argparse
import sys
from collections.abc import Sequence

from tests.mutants.harness import Verdict, attempts
from tests.mutants.lists import MUTANTS
from tests.soak.figures import Figure, tell

_AT_LEAST = 60


def _row(one: Verdict) -> str:
    told = one.by or one.mutant.equivalent or one.mutant.why
    mark = " " if one.well else "!"
    return f"{mark} {one.mutant.name:34} {one.word:9} {one.seconds:5.1f} s  {told}"


def _figures(verdicts: Sequence[Verdict], *, whole: bool) -> bool:
    """Tell the figures of a run; returns whether the list is long enough, if it was all of it."""
    killed = sum(v.word == "killed" for v in verdicts)
    same = sum(v.well for v in verdicts if v.mutant.equivalent)
    alive = sum(v.word == "survived" and not v.mutant.equivalent for v in verdicts)
    wrong = sum(not v.well for v in verdicts) - alive
    enough = len(verdicts) >= _AT_LEAST or not whole
    bound = f">= {_AT_LEAST}" if whole else ""
    tell(Figure("code mutants", "mutants", f"{len(verdicts)}", bound, enough if whole else None))
    tell(Figure("code mutants", "killed", f"{killed}"))
    tell(Figure("code mutants", "equivalent, with a reason", f"{same}"))
    tell(Figure("code mutants", "survivors", f"{alive}", "0", not alive))
    tell(Figure("code mutants", "entries out of date", f"{wrong}", "0", not wrong))
    return enough


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what was asked for. Returns 1 unless each ended as the list says."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    only = parser.add_argument("--only", nargs="+", choices=sorted(MUTANTS), metavar="NAME")
    only.help = "try these only"
    parser.add_argument("--workers", type=int, default=2, help="how many at once")
    parser.add_argument("--soak", action="store_true", help="figures on standard output")
    asked = parser.parse_args(arguments)
    chosen = [MUTANTS[name] for name in asked.only or MUTANTS]
    say = (sys.stderr if asked.soak else sys.stdout).write
    verdicts = []
    for one in attempts(chosen, asked.workers):
        verdicts.append(one)
        say(_row(one) + "\n")
    ill = [one for one in verdicts if not one.well]
    for one in ill:
        say(f"python -m tests.mutants --only {one.mutant.name}\n")
    say(f"{len(verdicts)} mutants, {len(ill)} not as the list says\n")
    enough = not asked.soak or _figures(verdicts, whole=not asked.only)
    return int(bool(ill) or not enough)


if __name__ == "__main__":
    sys.exit(main())
