"""What `doctor` looks at. Nothing here changes anything but `accept_clock`."""

import os
import platform
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import backend
from backend.cli.backup import open_as_it_is
from backend.cli.exits import Failed
from backend.cli.output import text_of
from backend.config import Config
from backend.database import Durability, Transaction, sqlite3
from backend.disk import LEAST_FREE_BYTES
from backend.domain.clock import from_row, system_clock, to_et, to_row
from backend.domain.trade import CancelReason
from backend.journal import Dispatch
from backend.prices import open_prices
from backend.services import Desk, keeper, storage
from backend.services.expiry import cancel_pending
from backend.services.vault import Vault, unreadable
from backend.store import accounts, audit, controls

_SECRET = ("token",)
_PRIVATE = ("*.db", "*.db-*", "*.token", "vault.key*", "sends.log")


class Finding(NamedTuple):
    """One line of the diagnosis. `status` is `ok`, `note` or `wrong`."""

    status: str
    what: str
    found: str


def program() -> Iterator[Finding]:
    """Tell versions, and whether another package called `backend` lies around."""
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("ok", "version", f"exec-mcp {version('exec-mcp')}, {python}")
    ours = Path(backend.__file__).resolve().parent
    folders = [Path.cwd(), *map(Path, sys.path)]
    others = {
        str(found)
        for folder in folders
        if (found := (folder / "backend").resolve()) != ours and (found / "__init__.py").exists()
    }
    if others:
        text = f"{', '.join(sorted(others))}: Python started there imports it instead of {ours}"
        yield Finding("note", "package backend", text)
    else:
        yield Finding("ok", "package backend", str(ours))


def files(config: Config) -> Iterator[Finding]:
    """Tell whether others may read the home, or what is in it."""
    home = config.home
    if not home.exists():
        yield Finding("note", "home", f"{home} did not exist; it is made now")
        return
    yield _mode("home", home, 0o700)
    found = {config.database, *(path for pattern in _PRIVATE for path in home.glob(pattern))}
    loose = [path for path in sorted(found) if path.exists() and _open_to_others(path)]
    for path in loose:
        yield _mode("file", path, 0o600)
    if not loose:
        yield Finding("ok", "files", f"{len(found)} private files, readable by their owner only")


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _mode(what: str, path: Path, wanted: int) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if _open_to_others(path):
        return Finding("wrong", what, f"{path} has mode {mode:o}: chmod {wanted:o} it")
    return Finding("ok", what, f"{path} (mode {mode:o})")


def settings(config: Config) -> Iterator[Finding]:
    """Tell every setting in force; a secret only as set or not."""
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        if name in _SECRET:
            value = "set" if value else None
        if name != "home":
            yield Finding("ok", f"setting {name}", text_of(value))


async def prices(config: Config) -> Finding:
    """Ask the price source for one quote."""
    what = f"prices {config.price_source}"
    try:
        source = open_prices(config.price_source, system_clock, config.seed)
    except ValueError as error:
        return Finding("wrong", what, str(error))
    symbol = next(iter(getattr(source, "symbols", ())), "AAPL")
    try:
        quote = await source.quote(symbol)
    finally:
        await source.close()
    if quote is None:
        return Finding("note", what, f"no quote for {symbol} now: without one there is no plan")
    return Finding("ok", what, f"{symbol} {quote.bid:f} / {quote.ask:f}, {quote.source}")


async def inside(desk: Desk, vault: Vault) -> list[Finding]:
    """Tell the state of an open home."""
    journal = _journal(desk.database.durability)
    whole = [_whole(path) for path in _databases(desk.config)]
    return [
        journal,
        _sends(desk),
        _storage(desk),
        *whole,
        *await desk.database.read(lambda tx: [*_state(tx, desk), *_secrets(tx, desk, vault)]),
    ]


def _journal(durability: Durability) -> Finding:
    if durability.journal_mode == "WAL":
        why = "WAL, because this SQLite is free of the WAL-reset bug"
    else:
        why = "rollback journal, because this SQLite has the WAL-reset bug"
    version = f"SQLite {durability.sqlite_version} ({sqlite3.__name__.partition('.')[0]})"
    return Finding("ok", "durability", f"{version}: {why}; synchronous {durability.synchronous}")


def _sends(desk: Desk) -> Finding:
    """Tell of the send journal: what stands in it, and what cannot be read."""
    sent = sum(isinstance(line, Dispatch) for line in desk.journal.all())
    damaged = desk.journal.damaged
    found = f"{desk.journal.path}: {sent} orders"
    if damaged:
        found += f"; {damaged} lines cannot be read: cut by a crash, or changed since"
    return Finding("note" if damaged else "ok", "send journal", found)


def _storage(desk: Desk) -> Finding:
    ailment = storage.ailment(desk)
    text = ailment or f"at least {LEAST_FREE_BYTES // 1024**2} MiB are free for each file"
    return Finding("wrong" if ailment else "ok", "disk", text)


def _databases(config: Config) -> list[Path]:
    return sorted({config.database, *config.home.glob("*.db")})


def _whole(path: Path) -> Finding:
    try:
        database = open_as_it_is(path)
        try:
            wrong = database.check()
        finally:
            database.close()
    except (OSError, RuntimeError, sqlite3.Error) as error:
        wrong = [str(error)]
    if wrong:
        return Finding("wrong", path.name, "; ".join(wrong[:3]))
    return Finding("ok", path.name, f"whole, {path.stat().st_size} bytes")


def _state(tx: Transaction, desk: Desk) -> Iterator[Finding]:
    yield _clock(tx, desk.clock())
    yield _lease(tx)
    quarantined = controls.quarantine(tx)
    yield Finding("wrong" if quarantined else "ok", "quarantine", quarantined or "none")
    for switch in controls.all_engaged(tx):
        text = f"{switch['scope']}: {switch['reason']} ({switch['by']})"
        yield Finding("note", "kill switch", text)
    for account in accounts.all_accounts(tx):
        if account.break_reason:
            yield Finding("wrong", account.id, f"stopped: {account.break_reason}")


def _secrets(tx: Transaction, desk: Desk, vault: Vault) -> Iterator[Finding]:
    count, wrong = unreadable(tx, vault)
    if wrong:
        text = f"{', '.join(wrong)} do not unseal: exec-mcp account set-credentials"
        yield Finding("wrong", "vault", f"{vault.place}, {count} credentials; {text}")
    else:
        yield Finding("ok", "vault", f"{vault.place}, {count} credentials, all unseal")
    path = desk.config.home / "operator.token"
    if path.exists() and accounts.any_live(tx):
        text = f"{path} lies on the disk beside a live account: keep it elsewhere, and delete it"
        yield Finding("wrong", "operator.token", text)


def _clock(tx: Transaction, clock: datetime) -> Finding:
    if tx.clock_behind:
        text = f"{_behind_s(tx, clock)} s behind what was seen: plan and confirm wait; set it right"
        return Finding("wrong", "clock", f"{text}, or doctor --accept-clock")
    return Finding("ok", "clock", f"{to_et(clock)}, not behind what was seen")


def _behind_s(tx: Transaction, clock: datetime) -> int:
    return int((tx.now - clock).total_seconds())


def _lease(tx: Transaction) -> Finding:
    row = controls.lease(tx, keeper.LEASE)
    if row is None:
        return Finding("note", "keeper", "nobody: no server runs, so nothing is reconciled now")
    until = from_row(row["expires_at"])
    if until <= tx.now:
        return Finding("note", "keeper", f"nobody: {row['owner']} ended at {to_et(until)}")
    return Finding("ok", "keeper", f"process {row['owner']}, until {to_et(until)}")


async def server(config: Config) -> Finding:
    """Tell whether a `serve` of this home runs."""
    from backend.serving import running_server

    url = await running_server(config.home)
    if url:
        ailment = await _ailment_at(url)
        return Finding("wrong" if ailment else "ok", "serve", f"runs at {url}{ailment}")
    left = (config.home / "serve.json").exists()
    return Finding("note", "serve", "does not answer; serve.json is left over" if left else "none")


async def _ailment_at(url: str) -> str:
    """Return what a server says of its own storage, which no other process can tell."""
    import httpx

    with suppress(httpx.HTTPError, ValueError):
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            told = (await http.get(f"{url}/health")).json()
            return f"; {told['storage']}" if told.get("storage") else ""
    return ""


def accept_clock(tx: Transaction, clock: datetime, operator: str) -> int:
    """Set the high-water mark back to the clock. Returns how many seconds that is.

    Plans priced in a time that never was are cancelled, and a lease that would last
    until then is dropped.

    Raises:
        Failed: the clock is not behind.
    """
    behind_s = _behind_s(tx, clock)
    if not tx.clock_behind:
        raise Failed("the clock is not behind: there is nothing to accept")
    for account in accounts.all_accounts(tx):
        cancel_pending(tx, account.number, operator, CancelReason.CALLER)
    lease = controls.lease(tx, keeper.LEASE)
    if lease:
        controls.drop_lease(tx, keeper.LEASE, lease["owner"])
    audit.append(tx, "clock.accepted", operator, behind_s=behind_s)
    controls.accept_clock(tx, to_row(clock))
    return behind_s


async def accept_elsewhere(config: Config, clock: datetime) -> None:
    """Set the marks of the other databases back too: an exchange of ours has its own."""
    for path in _databases(config):
        if path != config.database:
            database = open_as_it_is(path)
            try:
                await database.write(lambda tx: controls.accept_clock(tx, to_row(clock)))
            finally:
                database.close()
