"""`account add`: its help tells the options that each exchange found here declares."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from cyclopts import Parameter

import backend.exchanges
from backend import plugins
from backend.cli.operator import ask, pairs
from backend.cli.output import Json, say, show
from backend.cli.tokens import Many


def _options() -> Iterator[str]:
    for exchange, module in plugins.load(backend.exchanges).items():
        for name, (default, help_text) in module.SETTINGS.items():
            yield f"{exchange}: {name} ({default or 'empty'}): {help_text}"


_SET = "option=value, several times for several. " + "; ".join(_options()) + "."


async def add(
    exchange: str,
    identifier: str,
    /,
    *,
    name: str | None = None,
    balance: str | None = None,
    currency: str | None = None,
    settings: Annotated[Many | None, Parameter(name="--set", help=_SET)] = None,
    limit: Many | None = None,
    json: Json = False,
) -> None:
    """Add an account, with its balances as the exchange tells them.

    Parameters
    ----------
    exchange:
        Such as paper.
    identifier:
        The exchange's own name for it.
    name:
        A label of yours.
    balance:
        Opening balance of a paper account; 100000 when left out.
    currency:
        Of balance, limits and equity; USD when left out.
    limit:
        name=value, several times for several: a risk check, approval_threshold or band_bps.
    """
    body = {
        "exchange": exchange,
        "identifier": identifier,
        "name": name,
        "balance": balance,
        "currency": currency,
        "settings": pairs(settings or [], "--set"),
        "limits": pairs(limit or [], "--limit"),
    }
    show(await ask("POST", "/accounts", body), json, _added)


def _added(account: Mapping[str, Any]) -> None:
    say(f"Added {account['account_id']} ({account['environment']}, {account['currency']}).")
