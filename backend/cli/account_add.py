"""`account add` and `account set-credentials`: their help tells what each exchange declares."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from backend import exchanges, plugins
from backend.cli.accounts import AccountId
from backend.cli.operator import opened, operator_token, pairs, request, segment
from backend.cli.output import Json, say, show
from backend.cli.parts import read_parts
from backend.cli.tokens import Many
from backend.config import read_config
from backend.services import common_settings

_EXCHANGES = plugins.load(exchanges)


def _options() -> Iterator[str]:
    declared = {name: module.SETTINGS for name, module in _EXCHANGES.items()}
    for owner, options in {**declared, "every real exchange": common_settings.SETTINGS}.items():
        for name, (default, help_text) in options.items():
            yield f"{owner}: {name} ({default or 'empty'}): {help_text}"


def _parts() -> Iterator[str]:
    for exchange, module in _EXCHANGES.items():
        if module.CREDENTIALS:
            yield f"{exchange}: {', '.join(module.CREDENTIALS)}"


def _environments() -> Iterator[str]:
    for exchange, module in _EXCHANGES.items():
        yield f"{exchange}: {', '.join(sorted(module.CAPABILITIES.environments))}"


_SET = "option=value, several times for several. " + "; ".join(_options()) + "."
_EXCHANGE = (
    "Such as paper. The parts of a key are typed unseen, one after the other, or piped in as one "
    "JSON object: " + "; ".join(_parts()) + "."
)
_ENVIRONMENT = "Named where the exchange has several. " + "; ".join(_environments()) + "."
Insist = Annotated[
    bool,
    Parameter(
        name="--allow-withdrawals",
        help="Take a key that may withdraw, or whose exchange does not tell.",
    ),
]


async def add(
    exchange: Annotated[str, Parameter(help=_EXCHANGE)],
    identifier: str | None = None,
    /,
    *,
    environment: Annotated[str | None, Parameter(help=_ENVIRONMENT)] = None,
    name: str | None = None,
    balance: str | None = None,
    currency: str | None = None,
    settings: Annotated[Many | None, Parameter(name="--set", help=_SET)] = None,
    limit: Many | None = None,
    allow_withdrawals: Insist = False,
    json: Json = False,
) -> None:
    """Add an account, with its balances as the exchange tells them.

    Parameters
    ----------
    identifier:
        The exchange's own name for it; left out: what the exchange says.
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
        "environment": environment,
        "balance": balance,
        "currency": currency,
        "settings": pairs(settings or [], "--set"),
        "limits": pairs(limit or [], "--limit"),
        "allow_withdrawals": allow_withdrawals,
    }
    show(await _ask_with_key("/accounts", body, exchange), json, _added)


def _added(account: Mapping[str, Any]) -> None:
    say(f"Added {account['account_id']} ({account['environment']}, {account['currency']}).")
    if "operator_token" in account:
        say(f"{account['next']}:")
        say(account["operator_token"])


async def set_credentials(
    account: AccountId, /, *, allow_withdrawals: Insist = False, json: Json = False
) -> None:
    """Replace an account's key by another of the same account; its plans must be made again."""
    path = f"/accounts/{segment(account)}/credentials"
    body = {"allow_withdrawals": allow_withdrawals}
    missing = f"there is no account {account!r}"
    reply = await _ask_with_key(path, body, account.partition(":")[0], missing)
    show(reply, json, lambda r: say(f"{r['account_id']} uses the new key; the old one is gone."))


async def _ask_with_key(
    path: str, body: Mapping[str, Any], exchange: str, missing: str | None = None
) -> str:
    """Ask the API with the key's parts in the body: they follow the operator's token.

    Where that is piped as well, it is the first line.
    """
    config = read_config()
    found = plugins.load(exchanges)
    known = found[exchange].CREDENTIALS if exchange in found else {}
    async with opened(config) as backend, backend.http(operator_token(config.home)) as http:
        parts = read_parts(known) if known else {}
        return await request(http, "POST", path, {**body, "credentials": parts}, missing=missing)
