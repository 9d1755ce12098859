"""API tokens."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.operator import ask, pairs, segment, words
from backend.cli.output import Json, say, show, table, text_of

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
