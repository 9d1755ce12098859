"""Online copies of the home's databases."""

import asyncio
from pathlib import Path

from sqlite_utils import Migrations

from backend.cli.exits import Failed, Unreachable
from backend.cli.output import say
from backend.config import Config, read_config
from backend.database import Database, choose_durability, sqlite3
from backend.domain.clock import system_clock, to_row
from backend.store.restored import mark_copy


def backup(path: Path, /) -> None:
    """Copy both databases while they are in use.

    Tokens and vault.key are never copied.

    Parameters
    ----------
    path:
        A folder; or a file with a suffix, for the main database, beside which the other
        is written. Nothing is overwritten.
    """
    config = read_config()
    copies = _copies(config, path.expanduser())
    if not copies:
        raise Failed(f"there is nothing to back up: {config.database} does not exist")
    for target in copies.values():
        if target.exists():
            raise Failed(f"{target} exists already and is not overwritten")
    try:
        next(iter(copies.values())).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for source, target in copies.items():
            _copy(source, target)
            if source == config.database:
                _mark(target)
            say(f"{source.name} -> {target}")
    except (OSError, sqlite3.Error, RuntimeError) as error:
        raise Unreachable(f"the backup failed: {error}") from error


def _copies(config: Config, path: Path) -> dict[Path, Path]:
    """Return where each database goes.

    Ours comes first: an exchange that knows more than we do is what a restart is used to.
    """
    others = sorted(found for found in config.home.glob("*.db") if found != config.database)
    sources = [source for source in (config.database, *others) if source.exists()]
    if path.is_dir() or not path.suffix:
        return {source: path / source.name for source in sources}
    beside = {source: path.with_name(f"{path.stem}.{source.name}") for source in others}
    return {config.database: path, **beside} if config.database in sources else {}


def _mark(target: Path) -> None:
    """Let whoever opens this copy for trading know what it is: it starts quarantined."""
    database = open_as_it_is(target)
    try:
        asyncio.run(database.write(lambda tx: mark_copy(tx, to_row(tx.now))))
    finally:
        database.close()


def open_as_it_is(path: Path) -> Database:
    """Open a database without bringing it up to date."""
    return Database(path, system_clock, Migrations("none"), choose_durability())


def _copy(source: Path, target: Path) -> None:
    database = open_as_it_is(source)
    try:
        database.backup(target)
    finally:
        database.close()
