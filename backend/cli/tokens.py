"""API tokens."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.exits import Failed
from backend.cli.operator import (
    KEYRING_SERVICE,
    ask,
    opened,
    pairs,
    request,
    segment,
    typed_token,
    words,
)
from backend.cli.output import Json, say, show, table, text_of
from backend.config import read_config

Many = Annotated[list[str], Parameter(consume_multiple=False)]


async def create(
    *,
    name: str,
    scopes: Many,
    accounts: Many | None = None,
    days: int | None = None,
    limit: Many | None = None,
    json: Json = False,
) -> None:
    """Make a token. It is shown this one time only.

    Parameters
    ----------
    name:
        The principal: who acts with it. Rotation keeps it.
    scopes:
        Among read, trade, approve, admin; trade and approve never on one token.
    accounts:
        Account ids it is bound to; left out: all.
    days:
        Until it expires; 90 when left out.
    limit:
        check=value, a limit of this token's own; several times for several.
    """
    body = {
        "name": name,
        "scopes": words(scopes),
        "accounts": words(accounts or []),
        "days": days,
        "limits": pairs(limit or [], "--limit"),
    }
    show(await ask("POST", "/tokens", body), json, _made)


def _made(token: Mapping[str, Any]) -> None:
    reach = text_of(token["accounts"]) if token["accounts"] else "all accounts"
    until = f"until {token['expires_at']}" if token["expires_at"] else "without end"
    say(f"{token['name']}: {text_of(token['scopes'])} on {reach}, {until}.")
    say("This is the only time that the token is shown:")
    say(token["token"])


async def listing(*, json: Json = False) -> None:
    """List tokens, without their secrets."""
    show(await ask("GET", "/tokens"), json, _listed)


def _listed(reply: Mapping[str, Any]) -> None:
    keys = ("name", "key_id", "scopes", "accounts", "limits", "expires_at", "revoked_at")
    rows = [[token[key] for key in keys] for token in reply["tokens"]]
    table(keys, rows, "There are no tokens.")


async def revoke(name: str, /, *, json: Json = False) -> None:
    """Revoke every token of a principal, at once.

    Parameters
    ----------
    name:
        As in `token list`.
    """
    missing = f"no live token is called {name!r}"
    reply = await ask("DELETE", f"/tokens/{segment(name)}", missing=missing)
    show(reply, json, lambda r: say(f"{r['name']}: {r['revoked']} revoked."))


async def remember() -> None:
    """Keep the operator's token in the OS keyring; it is typed unseen, or piped in."""
    from backend.services import os_keyring

    config = read_config()
    async with opened(config) as backend:
        token = typed_token(config.home)
        async with backend.http(token) as http:
            await request(http, "GET", "/tokens/self")
    try:
        os_keyring.write(KEYRING_SERVICE, str(config.home), token)
    except os_keyring.NoKeyring as error:
        raise Failed(str(error)) from error
    say("The OS keyring keeps the token for this home.")


async def recover() -> None:
    """Make an operator's token when none is alive. It is shown this one time only.

    For a home with live accounts whose vault.key was deleted.
    """
    from backend.domain.errors import Refused
    from backend.services.tokens import recover_operator

    async with opened(read_config()) as backend:
        try:
            token = await recover_operator(backend.desk, backend.key)
        except Refused as error:
            raise Failed(error.detail) from error
    say("This is the only time that the operator's token is shown:")
    say(token)
