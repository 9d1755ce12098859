"""Accounts, once they are there. Adding one is `account_add`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import output
from backend.cli.operator import ask, pairs, segment
from backend.cli.output import Json, say, table, text_of

AccountId = Annotated[str, Parameter(help="exchange:identifier, such as paper:main.")]

_SHOWN = ("account_id", "name", "environment", "currency", "enabled", "stopped")
_BALANCE = ("currency", "total", "available", "reserved")


async def listing(*, exchange: str | None = None, json: Json = False) -> None:
    """List accounts.

    Parameters
    ----------
    exchange:
        Only of this exchange.
    """
    output.show(await ask("GET", "/accounts", params={"exchange": exchange}), json, _listed)


def _listed(reply: Mapping[str, Any]) -> None:
    rows = [[account[key] for key in _SHOWN] for account in reply["accounts"]]
    table(_SHOWN, rows, "There are no accounts.")


async def show(account: AccountId, /, *, json: Json = False) -> None:
    """Show an account: balances, fees, limits and settings."""
    output.show(await _ask("GET", account), json, _shown)


def _shown(account: Mapping[str, Any]) -> None:
    facts = {key: account[key] for key in (*_SHOWN, "created_at", "limits", "settings")}
    facts["maker fee"] = f"{account['fees']['maker_bps']:f} bps"
    facts["taker fee"] = f"{account['fees']['taker_bps']:f} bps"
    table(("account", ""), list(facts.items()), "")
    say()
    rows = [[balance[key] for key in _BALANCE] for balance in account["balances"]]
    table(_BALANCE, rows, "It holds nothing.")


async def enable(account: AccountId, /, *, json: Json = False) -> None:
    """Let an account trade again."""
    await _change(account, "enable", json, lambda r: say(f"{r['account_id']} is enabled."))


async def disable(account: AccountId, /, *, json: Json = False) -> None:
    """Stop an account: plans are cancelled, live orders followed."""
    await _change(account, "disable", json, _disabled)


def _disabled(reply: Mapping[str, Any]) -> None:
    say(f"{reply['account_id']} is disabled.")
    say(f"Plans cancelled: {text_of(reply['cancelled_plans'])}.")
    say(f"Orders that are still live: {text_of(reply['live_orders'])}.")


async def rename(account: AccountId, name: str, /, *, json: Json = False) -> None:
    """Change the label of an account.

    Parameters
    ----------
    name:
        The new label.
    """
    reply = await _ask("POST", account, "/name", {"name": name})
    output.show(reply, json, lambda r: say(f"{r['account_id']} is called {r['name']} now."))


async def delete(account: AccountId, /, *, json: Json = False) -> None:
    """Delete an account and shred its key; refused while an order of it lives."""
    reply = await _ask("DELETE", account)
    output.show(reply, json, lambda r: say(f"{r['account_id']} is deleted."))


async def reset(account: AccountId, /, *, json: Json = False) -> None:
    """Put a paper account back to its opening; begin a test account anew after a reset there."""
    await _change(account, "reset", json, _was_reset)


def _was_reset(reply: Mapping[str, Any]) -> None:
    say(f"{reply['account_id']} begins anew and holds: {text_of(reply['balances'])}.")
    if reply.get("ended"):
        say(f"Orders that went with the exchange: {text_of(reply['ended'])}.")


async def limit(account: AccountId, /, *limits: str, json: Json = False) -> None:
    """Set limits of an account, or remove them.

    Parameters
    ----------
    limits:
        name=value sets one, name= removes it. Names: the risk checks, approval_threshold, band_bps.
    """
    given = {name: value or None for name, value in pairs(limits, "a limit").items()}
    reply = await _ask("POST", account, "/limits", {"limits": given})
    output.show(reply, json, lambda r: say(f"Limits of {r['account_id']}: {text_of(r['limits'])}."))


async def resume(
    account: AccountId, /, *, reason: str, accept_exchange: bool = False, json: Json = False
) -> None:
    """Let a stopped account take new risk again.

    Parameters
    ----------
    reason:
        For the audit: what the incident was.
    accept_exchange:
        The exchange is right: post the difference of each total as an adjustment.
    """
    body = {"reason": reason, "accept_exchange": accept_exchange}
    reply = await _ask("POST", account, "/resume", body)
    output.show(reply, json, _resumed)


def _resumed(reply: Mapping[str, Any]) -> None:
    posted = text_of(reply["adjustments"]) if reply["adjustments"] else "none"
    say(f"{reply['account_id']} takes new risk again; adjustments: {posted}.")


async def _change(
    account: str, verb: str, json: bool, in_words: Callable[[Mapping[str, Any]], None]
) -> None:
    output.show(await _ask("POST", account, f"/{verb}"), json, in_words)


async def _ask(
    method: str, account: str, below: str = "", body: Mapping[str, Any] | None = None
) -> str:
    path = f"/accounts/{segment(account)}{below}"
    return await ask(method, path, body, missing=f"there is no account {account!r}")
