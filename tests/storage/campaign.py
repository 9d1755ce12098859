"""Many losses of power, in processes side by side; and the proof that the images can tell."""

import asyncio
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.storage.images import judge
from tests.storage.trading import Variant, images

# As the product keeps its data: nothing may be wrong after any loss.
KEPT = (
    Variant("WAL"),
    Variant("DELETE"),
    Variant("WAL", both=True),
    Variant("DELETE", both=True),
)
# Each leaves out one thing that the product does: the images must show that it is needed.
LEFT_OUT = (
    Variant("WAL", synchronous="OFF"),
    Variant("DELETE", synchronous="OFF"),
    Variant("WAL", synchronous="NORMAL"),
    Variant("DELETE", synchronous="FULL"),
    Variant("WAL", journal_syncs=False),
    Variant("DELETE", journal_syncs=False),
)
EACH = 50


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a server: its variant, its seed, and how often the power goes."""

    variant: Variant
    seed: int
    count: int = EACH

    @property
    def command(self) -> str:
        """Return what repeats it."""
        number = (*KEPT, *LEFT_OUT).index(self.variant)
        return f"python -m tests.storage --variant {number} --seed {self.seed} --count {self.count}"


def jobs(count: int, first: int) -> Iterator[Job]:
    """Divide `count` images among the variants, in runs of at most `EACH`."""
    seed = first
    while count > 0:
        yield Job(KEPT[seed % len(KEPT)], seed, min(EACH, count))
        count, seed = count - EACH, seed + 1


def done(work: Iterable[Job], workers: int) -> Iterator[tuple[Job, list[str]]]:
    """Do jobs in processes of their own; yield what was wrong with each image, as it comes."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_do, work)


def _do(job: Job) -> tuple[Job, list[str]]:
    os.umask(0o077)
    room = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=room) as folder:
        return job, asyncio.run(play(job, Path(folder)))


async def play(job: Job, folder: Path) -> list[str]:
    """Run one job. Returns a sentence for each image that is not as it must be."""
    wrong, home = [], folder / "home"
    taken = await images(home, job.variant, job.seed, job.count)
    for number, image in enumerate(taken):
        if found := await judge(image, home, folder / str(number)):
            wrong.append(f"{image.name}: {'; '.join(found[:3])}")
        shutil.rmtree(folder / str(number))
    return wrong
