"""`python -m tests.storage`: losses of power, as text; `--soak` tells figures."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.soak.figures import Figure, tell
from tests.storage import vfs
from tests.storage.campaign import KEPT, LEFT_OUT, Job, done, jobs

_NAME = "loss of power"
_PROOF = 200  # Images of each variant that leaves something out.


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _soak(count: int, first: int, workers: int) -> bool:
    """Play the campaign and the proof of it. Returns whether all is well."""
    began, wrong, played = time.monotonic(), 0, 0
    for job, found in done(jobs(count, first), workers):
        played, wrong = played + job.count, wrong + len(found)
        for text in found:
            say(f"{text}\n  {job.command}")
        if played % 1000 < job.count:
            say(f"{played:,} images, {wrong} wrong, {time.monotonic() - began:.0f} s")
    tell(Figure(_NAME, "images", f"{played:,}", f">= {count:,}", played >= count))
    tell(Figure(_NAME, "images with anything lost or untrue", f"{wrong}", "0", wrong == 0))
    return _proof(first, workers) and wrong == 0


def _proof(first: int, workers: int) -> bool:
    """Leave out one thing that keeps data at a time: the images must show it."""
    found: Counter[str] = Counter({str(variant): 0 for variant in LEFT_OUT})
    parts = [Job(v, first + part) for v in LEFT_OUT for part in range(_PROOF // 50)]
    for job, wrong in done(parts, workers):
        found[str(job.variant)] += len(wrong)
    for name, count in found.items():
        tell(Figure(_NAME, f"wrong with {name}", f"{count} of {_PROOF}", "> 0", count > 0))
    return all(found.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what was asked for. Returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser("python -m tests.storage", description=__doc__)
    parser.add_argument("--soak", action="store_true", help="the campaign, as figures")
    parser.add_argument("--count", type=int, default=10_000, help="images")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--variant", type=int, default=0, help="which: see campaign.py")
    parser.add_argument("--seed", type=int, help="one run with this seed, each image as text")
    asked = parser.parse_args(arguments)
    if why := vfs.missing():
        say(f"skipped: {why}")
        return 0
    if asked.seed is None:
        return int(not _soak(asked.count, asked.first, asked.workers))
    job = Job((*KEPT, *LEFT_OUT)[asked.variant], asked.seed, asked.count)
    ((_, wrong),) = done([job], 1)
    sys.stdout.write("\n".join([*wrong, f"{len(wrong)} of {job.count} images are wrong"]) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
