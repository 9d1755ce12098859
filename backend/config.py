"""Settings: `EXEC_MCP_*` variables, one frozen class, read once.

An unknown or malformed variable refuses to start and says which (Law 7).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.domain.address import is_loopback

PREFIX = "EXEC_MCP_"
_ACCOUNT_ID = re.compile(r"[a-z][a-z0-9_]*:[A-Za-z0-9_.-]{1,64}", re.ASCII)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_TOOLSETS = ("trading",)
_VAULTS = ("file", "keyring")


class SettingError(ValueError):
    """A setting is unknown or malformed; the message names it and the valid form."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set from outside.

    Attributes:
        home: the folder of all state.
        database: the main database's file.
        journal: the send journal's file; better on another volume.
        backend_url: for `stdio`: a running backend; None to find or embed one.
        token: for `stdio`: the API token; None for `agent.token` of the home.
        plan_ttl_s: life of a plan, seconds.
        approval_ttl_s: life of a plan that waits for approval, seconds.
        price_source: `simulated`, `replay:FILE` or `mcp:URL`; prices paper accounts only.
        default_account: used when a call names none.
        toolsets: which MCP tools are shown.
        rate_limit_per_s: HTTP requests per second and token; cancels have their own room.
        risk: limit by check name, as text.
        log_level: None for each command's own: `serve` tells more than the others.
        seed: of the simulated prices.
        vault: where the home's keys lie: `file` (`vault.key`) or `keyring`, the OS's.
        simulators: addresses on this machine that stand for an exchange's testnet.
    """

    home: Path
    database: Path
    journal: Path
    backend_url: str | None = None
    token: str | None = field(default=None, repr=False)
    plan_ttl_s: int = 60
    approval_ttl_s: int = 600
    price_source: str = "simulated"
    default_account: str = "paper:main"
    toolsets: tuple[str, ...] = ("trading",)
    rate_limit_per_s: int = 500
    risk: Mapping[str, str] = field(default_factory=dict)
    log_level: str | None = None
    seed: int = 0
    vault: str = "file"
    simulators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_config(environment: Mapping[str, str] | None = None) -> Config:
    """Return the settings of `environment` (default: the process's own).

    Raises:
        SettingError: naming the first variable that is unknown or malformed.
    """
    given = os.environ if environment is None else environment
    ours = {name[len(PREFIX) :]: given[name] for name in sorted(given) if name.startswith(PREFIX)}
    risk = {
        name[len("RISK_") :].lower(): ours.pop(name) for name in list(ours) if name[:5] == "RISK_"
    }
    home = Path(ours.pop("HOME", "") or _default_home()).expanduser().absolute()
    config = Config(
        home=home,
        database=_database(ours.pop("DATABASE_URL", ""), home),
        journal=Path(ours.pop("JOURNAL", "") or home / "sends.log").expanduser().absolute(),
        backend_url=_url("BACKEND_URL", ours.pop("BACKEND_URL", "")),
        token=ours.pop("TOKEN", "") or None,
        plan_ttl_s=_whole("PLAN_TTL_S", ours.pop("PLAN_TTL_S", "60"), 1, 600),
        approval_ttl_s=_whole("APPROVAL_TTL_S", ours.pop("APPROVAL_TTL_S", "600"), 60, 3600),
        price_source=ours.pop("PRICE_SOURCE", "") or "simulated",
        default_account=_account(ours.pop("DEFAULT_ACCOUNT", "paper:main")),
        toolsets=_words(ours.pop("TOOLSETS", "trading")),
        rate_limit_per_s=_whole(
            "RATE_LIMIT_PER_S", ours.pop("RATE_LIMIT_PER_S", "500"), 1, 100_000
        ),
        risk=risk,
        log_level=_level(ours.pop("LOG_LEVEL", None)),
        seed=_whole("SEED", ours.pop("SEED", "0"), 0, 2**31),
        simulators=_simulators(ours.pop("SIMULATORS", "")),
        vault=_one_of("VAULT", ours.pop("VAULT", "file"), _VAULTS),
    )
    if ours:
        raise SettingError(f"{PREFIX}{next(iter(ours))} is not a setting of exec-mcp")
    return config


def _default_home() -> Path:
    import platformdirs  # Only when no home was named: it costs start-up time.

    return Path(platformdirs.user_data_dir("exec-mcp", appauthor=False))


def _database(url: str, home: Path) -> Path:
    if not url:
        return home / "exec-mcp.db"
    if not url.startswith("sqlite:///") or len(url) == len("sqlite:///"):
        raise SettingError(f"{PREFIX}DATABASE_URL must be sqlite:///PATH")
    return Path(url.removeprefix("sqlite:///")).expanduser().absolute()


def _url(name: str, text: str) -> str | None:
    if not text:
        return None
    if not text.startswith(("http://", "https://")):
        raise SettingError(f"{PREFIX}{name} must be an http:// or https:// address")
    return text.rstrip("/")


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise SettingError(f"{PREFIX}{name} must be a whole number from {least} to {most}")
    return int(text)


def _account(text: str) -> str:
    if not _ACCOUNT_ID.fullmatch(text):
        raise SettingError(f"{PREFIX}DEFAULT_ACCOUNT must be exchange:identifier")
    return text


def _simulators(text: str) -> dict[str, tuple[str, ...]]:
    """Read `exchange=ADDRESS ADDRESS, exchange=…`: loopback only, and never for live."""
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        exchange, _, given = entry.partition("=")
        addresses = tuple(given.split())
        if not addresses or not all(is_loopback(address) for address in addresses):
            raise SettingError(
                f"{PREFIX}SIMULATORS must be exchange=ADDRESS ADDRESS, …, each http:// or ws:// "
                "at a literal loopback address with a port"
            )
        found[exchange.strip()] = addresses
    return found


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in words:
        _one_of("TOOLSETS", word, _TOOLSETS)
    return words


def _level(text: str | None) -> str | None:
    return None if text is None else _one_of("LOG_LEVEL", text.upper(), _LEVELS)


def _one_of(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise SettingError(f"{PREFIX}{name} must be one of {', '.join(choices)}")
    return text
