"""How an MCP client finds us: its configuration, printed or merged into its file."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from backend.cli.exits import Failed
from backend.cli.output import say
from backend.config import read_config

ClientName = Literal["claude-desktop", "claude-code", "cursor", "vscode"]
_SERVER = "exec-mcp"


class Client(NamedTuple):
    """One client: its file, the key of its servers, and whether it wants a type."""

    path: Path
    key: str = "mcpServers"
    typed: bool = False


def install(
    client: ClientName,
    /,
    *,
    write: bool = False,
    path: Annotated[Path | None, Parameter(name="--path")] = None,
) -> None:
    """Print a client's configuration; it holds no token.

    Parameters
    ----------
    client:
        Which one.
    write:
        Merge it into the client's file, which is kept beside as .bak.
    path:
        Instead of the client's own file.
    """
    chosen = _clients()[client]
    file = (path or chosen.path).expanduser().absolute()
    ours = {chosen.key: {_SERVER: _entry(chosen)}}
    if not write:
        say(json.dumps(ours, indent=2))
        sys.stderr.write(f"For {file}; --write merges it in.\n")
        return
    _merge(file.resolve(), chosen.key, ours[chosen.key])


def _clients() -> Mapping[str, Client]:
    home = Path.home()
    return {
        "claude-desktop": Client(_desktop_folder(home) / "Claude" / "claude_desktop_config.json"),
        "claude-code": Client(Path(".mcp.json"), typed=True),
        "cursor": Client(home / ".cursor" / "mcp.json"),
        "vscode": Client(Path(".vscode") / "mcp.json", "servers", typed=True),
    }


def _desktop_folder(home: Path) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", home / "AppData" / "Roaming"))
    return Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"))


def _entry(client: Client) -> dict[str, Any]:
    kind = {"type": "stdio"} if client.typed else {}
    return {
        **kind,
        "command": str(_console_script()),
        "args": ["stdio"],
        "env": {"EXEC_MCP_HOME": str(read_config().home)},
    }


def _console_script() -> Path:
    """Return the absolute path of `exec-mcp`: a client starts it with a PATH of its own."""
    beside = Path(sys.executable).with_name(_SERVER + (".exe" if os.name == "nt" else ""))
    if beside.exists():
        return beside
    found = shutil.which(_SERVER)
    if found is None:
        raise Failed(f"the console script {_SERVER} is not found: install the package")
    return Path(found).absolute()


def _merge(file: Path, key: str, ours: Mapping[str, Any]) -> None:
    before, whole = _read(file)
    servers = whole.setdefault(key, {})
    if not isinstance(servers, dict):
        raise Failed(f"{file}: {key} is not an object; nothing was written")
    if all(servers.get(name) == entry for name, entry in ours.items()):
        say(f"{file} has it already; nothing was written.")
        return
    servers.update(ours)
    try:
        _write(file, before, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise Failed(f"cannot write {file}: {error.strerror}") from error
    say(f"Wrote {file}; restart the client.")


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """Return the file's text and its object; both empty when there is none."""
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        whole = json.loads(text) if text.strip() else {}
    except OSError as error:
        raise Failed(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise Failed(
            f"{file} is not plain JSON ({error}); nothing was written: add what `install` prints"
        ) from error
    if not isinstance(whole, dict):
        raise Failed(f"{file} is not a JSON object; nothing was written")
    return text, whole


def _write(file: Path, before: str, after: str) -> None:
    """Replace the file in one step; what was there stays beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(after, encoding="utf-8")
    if before:
        kept = _free(file)
        shutil.copy2(file, kept)
        shutil.copymode(file, fresh)
        say(f"Kept what was there as {kept}.")
    fresh.replace(file)


def _free(file: Path) -> Path:
    number = 0
    while True:
        kept = file.with_name(f"{file.name}.bak{number or ''}")
        if not kept.exists():
            return kept
        number += 1
