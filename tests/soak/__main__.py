"""`python -m tests.soak [campaign …]`: every long campaign, and one table of what it found."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.figures import Figure, heard

CORES = 2


@dataclass(frozen=True, slots=True)
class Campaign:
    """One process of the soak.

    Attributes:
        arguments: of the Python interpreter; it prints its figures on standard output.
        cores: how many it keeps busy.
    """

    name: str
    arguments: tuple[str, ...]
    cores: int = 1


# The longest first: what is short fills the gaps.
CAMPAIGNS = (
    Campaign("simulation", ("-m", "tests.simulation", "--soak"), cores=2),
    Campaign("kill", ("-m", "tests.processes", "--soak", "kill")),
    Campaign("properties", ("-m", "tests.properties", "--soak")),
    Campaign("storage", ("-m", "tests.storage", "--soak")),
    Campaign("mutants", ("-m", "tests.mutants", "--soak"), cores=2),
    Campaign("storm", ("-m", "tests.processes", "--soak", "storm"), cores=2),
    Campaign("fuzz", ("-m", "tests.fuzz", "--soak")),
    Campaign("model", ("-m", "tests.model", "--soak")),
    Campaign("restore", ("-m", "tests.restore", "--soak")),
    Campaign("rules", ("-m", "pytest", "-q", "-m", "soak", "--run-soak")),
    Campaign("recovery", ("-m", "tests.bench.recover")),
    # Alone: it times answers.
    Campaign("switch", ("-m", "tests.processes", "--soak", "switch"), cores=2),
)


class Cores:
    """What a campaign waits for; whoever came first is served first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = asyncio.Condition()

    async def take(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= count)
            self._free -= count

    async def give(self, count: int) -> None:
        async with self._changed:
            self._free += count
            self._changed.notify_all()


async def run(campaign: Campaign) -> list[Figure]:
    """Run one campaign to its end; a failure of the process is a figure too."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *campaign.arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    figures = []
    async for line in process.stdout:
        if line.startswith(b"{"):
            figures.append(heard(line.decode()))
            say(f"{campaign.name}: {row(figures[-1])}")
        else:
            say(line.decode().rstrip())
    code = await process.wait()
    if code or campaign.arguments[1] == "pytest":
        figures.append(Figure(campaign.name, "exit code", str(code), "0", code == 0))
    minutes = (time.monotonic() - began) / 60
    return [*figures, Figure(campaign.name, "it took", f"{minutes:.1f} min")]


def row(figure: Figure) -> str:
    """Return one line of the table."""
    verdict = {None: "", True: "kept", False: "**broken**"}[figure.kept]
    return f"| {figure.campaign} | {figure.what} | {figure.value} | {figure.bound} | {verdict} |"


def say(text: str) -> None:
    """Tell how it goes, beside the table."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


async def main(names: Sequence[str]) -> int:
    """Run what was named, or everything; print the table. Returns 1 if a bound was not kept."""
    known = {campaign.name: campaign for campaign in CAMPAIGNS}
    if unknown := set(names) - set(known):
        raise SystemExit(f"no such campaign: {', '.join(sorted(unknown))}; known: {[*known]}")
    chosen = [known[name] for name in names] or list(CAMPAIGNS)
    cores = Cores(CORES)

    async def in_turn(campaign: Campaign) -> list[Figure]:
        await cores.take(campaign.cores)
        try:
            return await run(campaign)
        finally:
            await cores.give(campaign.cores)

    ended = await asyncio.gather(*(in_turn(campaign) for campaign in chosen))
    figures = [figure for found in ended for figure in found]
    sys.stdout.write("| campaign | what | found | bound | |\n|---|---|---|---|---|\n")
    sys.stdout.writelines(row(figure) + "\n" for figure in figures)
    return int(any(figure.kept is False for figure in figures))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
