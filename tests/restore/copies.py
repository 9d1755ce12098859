"""Copies of a home that trades: made by the command or by hand, and put back in every way."""

import asyncio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sqlite_utils import Migrations

from backend.database import Database, choose_durability
from backend.domain.clock import system_clock
from backend.services.invariants import check
from tests.processes.started import EXEC_MCP

# How a copy is put back.
WAYS = (
    *("books", "over", "both", "copy of a copy"),
    *("plain over", "home, journal apart", "home", "journal lost"),
)
# With these the books forget what they cannot look up.
FORGETFUL = ("home", "journal lost")
# Copied as files, without a mark; the others are made by `exec-mcp backup`.
HOMES = ("home", "home, journal apart")
PLAIN = (*HOMES, "plain over")


async def command(home: Path, *words: str) -> str:
    """Run `exec-mcp` on a home, in a process of its own, and return what it said."""
    ours = {name: value for name, value in os.environ.items() if name[:9] != "EXEC_MCP_"}
    process = await asyncio.create_subprocess_exec(
        *(str(EXEC_MCP), *words),
        env={**ours, "EXEC_MCP_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def take(home: Path, target: Path, way: str) -> None:
    """Copy a home that is in use into the folder `target`."""
    if way in HOMES:
        # Nobody writes while this loop does not turn, so that even this copy is whole.
        shutil.copytree(home, target)
        return
    if way == "plain over":
        _copy_books(home, target)
        return
    await command(home, "backup", str(target))
    if way == "copy of a copy":
        first = target.with_name(f"{target.name}-first")
        shutil.move(target, first)
        await command(first, "backup", str(target))


async def faults_of(copy: Path) -> list[str]:
    """Return what is wrong in a copy by itself."""
    wrong: list[str] = []
    for path in databases(copy):
        # Looked at aside: a copy that was opened is not the one that was made.
        aside = copy.with_name(f"{copy.name}-looked-at")
        shutil.copytree(copy, aside)
        database = Database(
            aside / path.name, system_clock, Migrations("none"), choose_durability()
        )
        try:
            wrong += [f"{path.name}: {text}" for text in database.check()]
            if path.name == "exec-mcp.db":
                wrong += [str(one) for one in await database.read(check)]
        finally:
            database.close()
            shutil.rmtree(aside)
    return wrong


def databases(folder: Path) -> list[Path]:
    """Return the databases in a folder."""
    return sorted(folder.glob("*.db"))


def _copy_books(home: Path, target: Path) -> None:
    target.mkdir()
    for path in written_together(home):
        shutil.copy(path, target)


def written_together(folder: Path) -> list[Path]:
    """Return the books' files: what was committed may stand in the log beside the database."""
    return sorted(path for path in folder.glob("exec-mcp.db*") if path.suffix != ".db-shm")


def put_back(copy: Path, home: Path, way: str) -> None:
    """Put a copy in the place of a home that nobody uses, and keep the copy."""
    if way in HOMES:
        home.rename(_aside(home))
        shutil.copytree(copy, home)
        return
    files = databases(copy) if way == "both" else [copy / "exec-mcp.db"]
    for path in files:
        target = home / path.name
        _remove(target.with_name(target.name + end) for end in ("-wal", "-shm", "-journal"))
        if way in ("over", "plain over"):
            target.write_bytes(path.read_bytes())
        else:
            target.unlink()
            shutil.copy(path, target)
    if way == "plain over":
        for path in written_together(copy):
            (home / path.name).write_bytes(path.read_bytes())
    if way == "journal lost":
        (home / "sends.log").unlink()


def _aside(home: Path) -> Path:
    numbers = (home.with_name(f"{home.name}-{number}") for number in range(100))
    return next(path for path in numbers if not path.exists())


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
