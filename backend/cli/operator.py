"""The operator at the HTTP API, in this process: the same scopes, audit and words as for all."""

import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from backend.cli.exits import Failed, Misused, Unreachable
from backend.config import Config, SettingError, read_config

if TYPE_CHECKING:
    import httpx

    from backend.app import Backend

# Under which name the OS keyring keeps the operator's token, per home.
KEYRING_SERVICE = "exec-mcp operator"
_TOKEN = re.compile(r"xmcp_[A-Za-z0-9_]{1,200}", re.ASCII)


@asynccontextmanager
async def opened(config: Config, **options: Any) -> AsyncIterator["Backend"]:
    """Open the home's backend without background work. `options` go to `open_backend`.

    Raises:
        SettingError: a setting is malformed.
        Unreachable: the home or its database cannot be opened.
    """
    from backend.app import open_backend
    from backend.database import sqlite3
    from backend.domain.errors import Refused

    async with AsyncExitStack() as stack:
        try:
            backend = await stack.enter_async_context(
                open_backend(config, background=False, **options)
            )
        except SettingError:
            raise
        except (OSError, RuntimeError, ValueError, Refused, sqlite3.Error) as error:
            raise Unreachable(f"cannot open {config.home}: {error}") from error
        yield backend


async def ask(
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    missing: str | None = None,
) -> str:
    """Make one request as the operator and return the reply's text.

    Args:
        path: below `/api/v1`; parts that a person typed go through `segment`.
        body, params: members that are None are left out.
        missing: what to say when there is no such thing.

    Raises:
        Failed: it was refused; the message is the problem's detail.
        Unreachable: the home cannot be opened, or the storage failed.
        SettingError: a setting is malformed.
    """
    config = read_config()
    async with opened(config) as backend, backend.http(operator_token(config.home)) as http:
        return await request(http, method, path, body, params, missing)


async def request(
    http: "httpx.AsyncClient",
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    missing: str | None = None,
) -> str:
    """Make one request and return the reply's text; raises as `ask` does."""
    response = await http.request(
        method,
        f"/api/v1{path}",
        params=_present(params or {}),
        content=None if body is None else json.dumps(_present(body)),
        headers={} if body is None else {"Content-Type": "application/json"},
    )
    if response.is_success:
        return response.text
    problem = response.json()
    if problem["code"] == "storage":
        raise Unreachable(problem["detail"])
    if problem["code"] == "unauthorised":
        raise Failed("the operator's token is not valid: it is unknown, expired or revoked")
    raise Failed(missing if missing and problem["code"] == "not_found" else problem["detail"])


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


async def administrator(backend: "Backend") -> str:
    """Return the operator's name, for what is done without the API.

    Raises:
        Failed: the token is not valid, or lacks the scope admin or some accounts.
    """
    async with backend.http(operator_token(backend.desk.config.home)) as http:
        operator = json.loads(await request(http, "GET", "/tokens/self"))
    if "admin" not in operator["scopes"] or operator["accounts"]:
        raise Failed("only an operator (scope admin, all accounts) can do this")
    return str(operator["name"])


def operator_token(home: Path) -> str:
    """Return the operator's token: of the home, of the OS keyring, typed unseen, or piped.

    Raises:
        Failed: there is none.
    """
    path = home / "operator.token"
    return path.read_text().strip() if path.exists() else _kept(home) or typed_token(home)


def _kept(home: Path) -> str | None:
    from backend.services import os_keyring

    try:
        return os_keyring.read(KEYRING_SERVICE, str(home))
    except os_keyring.NoKeyring:
        return None


def typed_token(home: Path) -> str:
    """Return the operator's token, typed unseen at a terminal, else the first line of a pipe.

    Raises:
        Failed: there is none, or it has not its form.
    """
    try:
        token = getpass("Operator token: ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        token = ""
    if not token.strip():
        path = home / "operator.token"
        raise Failed(f"{path} is gone: type the operator's token at a terminal, or pipe it in")
    if not _TOKEN.fullmatch(token.strip()):
        # Something else was piped, such as the parts of a key: none of it goes any further.
        raise Failed("the first line is no operator's token: what else is piped comes after it")
    return token.strip()


def segment(text: str) -> str:
    """Return what a person typed as one segment of a path: `..` goes nowhere."""
    return quote(text, safe=":").replace(".", "%2E") or "%20"


def words(texts: Sequence[str]) -> list[str]:
    """Return `["a,b", "c"]` as `["a", "b", "c"]`."""
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """Return `["name=value"]` as an object; `name=` has the value "".

    Raises:
        Misused: there is no `=`, or a name comes twice.
    """
    made: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise Misused(f"{what} must be name=value, was {text!r}")
        if name in made:
            raise Misused(f"{what} {name} is given twice")
        made[name] = value
    return made
