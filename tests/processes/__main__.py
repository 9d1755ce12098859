"""`python -m tests.processes --soak kill|storm|switch`: campaigns with real processes."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.processes import kill, storm, switch
from tests.processes.zygote import Zygote, zygote
from tests.soak.figures import Figure, tell

_JOURNALS = ("WAL", "DELETE")
_COUNTS = {"kill": 1000, "storm": 10_000, "switch": 20}
_CYCLE_S, _FLAG_MS, _ANSWER_MS = 0.7, 50, 1500
_KILLS_PER_REPORT = 50


def _begin(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _violations(campaign: str, wrong: Sequence[str]) -> bool:
    for one in wrong:
        _begin(f"{campaign}: {one}")
    tell(Figure(campaign, "violations", f"{len(wrong)}", "0", not wrong))
    return not wrong


async def _kill(zygote: Zygote, folder: Path, asked: argparse.Namespace, journal: str) -> bool:
    name = f"kill -9, {journal}"

    def report(tally: kill.Tally) -> None:
        if tally.cycles % _KILLS_PER_REPORT == 0:
            _begin(f"{name}: {tally.cycles} cycles, {tally.seconds / tally.cycles:.2f} s each")

    found = await kill.campaign(zygote, folder, journal, asked.count, asked.seed, report=report)
    tell(Figure(name, "cycles", f"{found.cycles:,}"))
    tell(Figure(name, "trades", f"{found.trades:,}"))
    tell(Figure(name, "orders at the exchanges", f"{found.orders:,}"))
    for window in kill.WINDOWS:
        hit = found.windows[window]
        enough = asked.count < _COUNTS["kill"] or hit > 0
        tell(Figure(name, f"killed in: {window}", f"{hit:,}", "> 0", enough))
    each = found.seconds / max(found.cycles, 1)
    tell(Figure(name, "a cycle", f"{each:.2f} s", f"<= {_CYCLE_S} s", each <= _CYCLE_S))
    tell(Figure(name, "the slowest cycle", f"{found.slowest_s:.2f} s"))
    return _violations(name, found.wrong)


async def _storm(zygote: Zygote, folder: Path, asked: argparse.Namespace, journal: str) -> bool:
    name = f"storm, {journal}"
    workers = asked.workers

    def report(tally: storm.Tally) -> None:
        if tally.trades % 1000 == 0:
            _begin(f"{name}: {tally.trades} trades, {tally.attempts / tally.seconds:.0f}/s")

    found = await storm.campaign(
        zygote, folder, journal, workers, asked.count, asked.seed, report=report
    )
    tell(Figure(name, "processes x trades", f"{workers} x {found.trades:,}"))
    tell(Figure(name, "attempts", f"{found.attempts:,}"))
    ended = ", ".join(f"{count:,} {how}" for how, count in sorted(found.ended.items()))
    tell(Figure(name, "trades ended", ended))
    tell(Figure(name, "attempts per second", f"{found.attempts / max(found.seconds, 1e-9):,.0f}"))
    tell(Figure(name, "worst wait", f"{found.worst_s * 1000:,.0f} ms"))
    tell(Figure(name, "told that the database was busy", f"{found.busy:,}"))
    return _violations(name, found.wrong)


async def _switch(zygote: Zygote, folder: Path, asked: argparse.Namespace) -> bool:
    name = "kill switch"
    found = await switch.campaign(zygote, folder, asked.count, asked.seed)
    tell(Figure(name, "engaged under load", f"{found.engaged}"))
    tell(Figure(name, "claims", f"{found.claims:,}"))
    none = not found.claims_after
    tell(Figure(name, "claims committed after the flag", f"{found.claims_after}", "0", none))
    none = not found.orders_after
    tell(Figure(name, "orders sent after the answer", f"{found.orders_after}", "0", none))
    tell(Figure(name, "orders under way at the flag", f"{found.under_way}"))
    for what, times, most in (
        ("flag after arrival", found.flag_ms, _FLAG_MS),
        ("flag after sending", found.sent_ms, 0),
        ("answer after sending", found.answer_ms, _ANSWER_MS),
    ):
        p99 = sorted(times)[max(0, -(-99 * len(times) // 100) - 1)] if times else 0
        bound = (f"<= {most} ms", p99 <= most) if most else ("", None)
        tell(Figure(name, f"{what}, p99", f"{p99:,.0f} ms", *bound))
    return _violations(name, found.wrong)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.processes", description=__doc__)
    parser.add_argument("--soak", choices=sorted(_COUNTS), help="one campaign; left out: all")
    parser.add_argument("--count", type=int, help="cycles per journal mode, trades, or times")
    parser.add_argument("--journal", choices=_JOURNALS, help="left out: both")
    parser.add_argument("--workers", type=int, default=16, help="processes of the storm")
    parser.add_argument("--seed", type=int, default=0, help="of the load and the instants")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns 1 on a violation; then the homes are kept."""
    asked = _asked(arguments)
    journals = (asked.journal,) if asked.journal else _JOURNALS
    jobs: list[tuple[str, Callable[[Zygote, Path, argparse.Namespace], Awaitable[bool]]]] = []
    for name in (asked.soak,) if asked.soak else tuple(_COUNTS):
        if name == "switch":
            jobs.append((name, _switch))
            continue
        run = _kill if name == "kill" else _storm
        jobs += [
            (name, lambda z, f, a, run=run, j=j: run(z, f / j, a, j))  # type: ignore[misc]
            for j in journals
        ]
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="exec-mcp-soak-", dir=fast))
    well = True
    with zygote() as forking:
        for name, job in jobs:
            given = argparse.Namespace(**vars(asked) | {"count": asked.count or _COUNTS[name]})
            well &= asyncio.run(job(forking, folder / name, given))  # type: ignore[arg-type]
    if well:
        shutil.rmtree(folder)
    else:
        _begin(f"the homes are in {folder}; repeat with --seed {asked.seed}")
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
