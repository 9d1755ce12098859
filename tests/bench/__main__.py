"""Print the benchmark table: `python -m tests.bench [part …]`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from backend.database import choose_durability
from tests.bench import claims, cycles, load, quotes, reach, recover, scale, start, wires
from tests.bench.measure import Figure, fsync_ms, real_disk


async def _figures(folder: Path, parts: list[str]) -> AsyncIterator[Figure]:
    for part in parts:
        async for figure in PARTS[part](folder):
            yield figure


async def _claim(folder: Path) -> AsyncIterator[Figure]:
    yield await claims.figure(folder)


async def _start(folder: Path) -> AsyncIterator[Figure]:
    for figure in await start.figures(folder):
        yield figure


async def _load(folder: Path) -> AsyncIterator[Figure]:
    for figure in await load.figures(folder):
        yield figure


async def _scale(folder: Path) -> AsyncIterator[Figure]:
    yield await scale.figure(folder)


async def _quotes(folder: Path) -> AsyncIterator[Figure]:
    for figure in quotes.figures():
        yield figure


PARTS: dict[str, Callable[[Path], AsyncIterator[Figure]]] = {
    "claim": _claim,
    "cycles": cycles.figures,
    "start": _start,
    "load": _load,
    "scale": _scale,
    "wires": wires.figures,
    "reach": reach.figures,
    "quotes": _quotes,
    "recover": recover.figures,
}


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
