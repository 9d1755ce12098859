"""`python -m tests.restore --soak`: restores at random, and their figures."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from backend.logs import configure
from tests.restore.copies import WAYS
from tests.restore.cycle import MOMENTS, Cycle, Told
from tests.restore.grounds import NAMES, ground
from tests.soak.figures import Figure, tell

_CYCLES = 300
_NAME = "restore"
_WRONG = (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError)


async def one(folder: Path, seed: int, told: Told) -> None:
    """Play one cycle: everything about it is drawn from its seed."""
    dice = random.Random(seed)
    name, way = NAMES[seed % len(NAMES)], WAYS[seed // len(NAMES) % len(WAYS)]
    moment, acts = dice.choice(MOMENTS), dice.randint(5, 20)
    more = {"journal": folder / "apart" / "sends.log"} if way == "home, journal apart" else {}
    said = f"seed {seed}: {name}, {way}, {moment}: python -m tests.restore --soak --first {seed}"
    try:
        async with ground(folder / "home", name, opening=10_000_000, **more) as there:
            cycle = Cycle(
                there, folder, seed, way, moment, told, acts=acts, by_command=dice.random() < 0.1
            )
            await cycle.run(restores=dice.choice((1, 2, 3)))
    except BaseException as error:
        error.add_note(f"{said} --count 1")
        raise


def soak(first: int, count: int) -> bool:
    """Play `count` cycles and tell their figures. Returns whether all of them were right."""
    told, began, broken = Told(), time.monotonic(), 0
    for seed in range(first, first + count):
        folder = Path(tempfile.mkdtemp(prefix="restore-", dir=_fast()))
        try:
            asyncio.run(one(folder, seed, told))
        except _WRONG as error:
            broken += 1
            sys.stderr.write(f"{error!r}\n  {'; '.join(error.__notes__)}\n")
        finally:
            shutil.rmtree(folder)
        if (seed - first) % 20 == 19:
            sys.stderr.write(f"{seed - first + 1} of {count} cycles, {broken} broken\n")
    for what, value in (
        ("cycles", told.cycles),
        ("copies put back while trading", told.restores),
        ("orders sent", told.sent),
        ("orders found again by the send journal", told.found_again),
    ):
        tell(Figure(_NAME, what, f"{value:,}"))
    exchanges = {way.partition(":")[0] + way.partition(",")[2] for way in told.ways}
    tell(Figure(_NAME, "ways to put a copy back, by exchange", f"{len(exchanges)}"))
    tell(Figure(_NAME, "moments of a copy", f"{len(told.moments)}"))
    tell(Figure(_NAME, "cycles with a violation", f"{broken}", "0", not broken))
    tell(Figure(_NAME, "seconds", f"{time.monotonic() - began:.0f}"))
    return not broken


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a cycle was not right."""
    parser = argparse.ArgumentParser("python -m tests.restore", description=__doc__)
    parser.add_argument("--soak", action="store_true", help="the campaign, as figures")
    parser.add_argument("--count", type=int, default=_CYCLES, help="cycles")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_args(arguments)
    configure("ERROR")
    return int(not soak(asked.first, asked.count))


if __name__ == "__main__":
    sys.exit(main())
