"""Print the benchmark table: `python -m tests.bench [part …]`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from backend.database import choose_durability
from tests.bench import claims, cycles, load, scale, start
from tests.bench.measure import Figure, fsync_ms, real_disk

PARTS = ("claim", "cycles", "start", "load", "scale")


async def _figures(folder: Path, parts: list[str]) -> AsyncIterator[Figure]:
    if "claim" in parts:
        yield await claims.figure(folder)
    if "cycles" in parts:
        async for figure in cycles.figures(folder):
            yield figure
    if "start" in parts:
        for figure in await start.figures(folder):
            yield figure
    if "load" in parts:
        for figure in await load.figures(folder):
            yield figure
    if "scale" in parts:
        yield await scale.figure(folder)


async def _main(parts: list[str]) -> None:
    durability = choose_durability()
    with real_disk() as folder:
        print(
            f"SQLite {durability.sqlite_version}, {durability.journal_mode}, "
            f"synchronous={durability.synchronous}; fsync {fsync_ms(folder):.3f} ms; "
            f"{os.cpu_count()} cores; medians of >= 200, interleaved\n"
        )
        print("| figure | ours | yardstick | ratio | bound | |\n|---|---|---|---|---|---|")
        async for figure in _figures(folder, parts):
            print(figure.row(), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:] or list(PARTS)))
