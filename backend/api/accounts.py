"""Accounts and tokens over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Answer, Call, Route, whole_reach
from backend.domain.errors import Refused
from backend.services import accounts, onboarding, risk, tokens
from backend.services import reset as resets
from backend.services.onboarding import NewAccount
from backend.services.tokens import NewToken
from backend.store.accounts import Account

_READ = ("read", "trade", "approve", "admin")
_ADMIN = ("admin",)
_RESUME = (
    Field("reason", "text", "for the audit", required=True),
    Field("accept_exchange", "flag", "post what the exchange holds as adjustments", default=False),
)

_SECRETS = (
    Field("credentials", "secrets", "the parts of the key, as the exchange names them", default={}),
    Field("allow_withdrawals", "flag", "insist on a key that may withdraw", default=False),
)
NEW_ACCOUNT = (
    Field("exchange", "text", "such as paper", required=True),
    Field("identifier", "text", "the exchange's own name for it; left out: as the exchange says"),
    Field("name", "text", "a label of yours"),
    Field("environment", "text", "paper, testnet, demo or live, where the exchange has several"),
    Field("currency", "text", "of balance, limits and equity; left out: USD or what is next to it"),
    Field("balance", "number", "opening balance of a paper account; left out: 100000"),
    Field("settings", "map", "the exchange's own options", default={}),
    Field("limits", "map", "limit by check name", default={}),
    *_SECRETS,
)
NEW_TOKEN = (
    Field("name", "text", "the principal; rotation keeps it", required=True),
    Field("scopes", "texts", "among read, trade, approve, admin", required=True),
    Field("accounts", "texts", "account ids it is bound to; empty: all", default=[]),
    Field("limits", "map", "limit by check name", default={}),
    Field("days", "whole", "until it expires", default=90, most=3650),
)


async def _account(call: Call) -> Account:
    return await accounts.find(call.desk, call.caller, call.path["account_id"])


async def list_accounts(call: Call) -> Any:
    found = await accounts.reachable(call.desk, call.caller, call.fields["exchange"])
    return accounts.shown_list(found)


async def get_account(call: Call) -> Any:
    return await accounts.info(call.desk, call.caller, await _account(call), call.fields["symbol"])


async def add_account(call: Call) -> Answer:
    whole_reach(call)
    given = dict(call.fields)
    given |= {"identifier": given["identifier"] or "", "name": given["name"] or ""}
    if None in {**given["settings"], **given["limits"]}.values():
        raise Refused("settings and limits must be texts")
    return Answer(201, await onboarding.add(call.desk, call.caller.principal, NewAccount(**given)))


async def set_credentials(call: Call) -> Any:
    whole_reach(call)
    return await onboarding.set_credentials(
        call.desk,
        call.caller.principal,
        await _account(call),
        call.fields["credentials"],
        call.fields["allow_withdrawals"],
    )


async def rename(call: Call) -> Any:
    account = await _account(call)
    return await accounts.rename(call.desk, call.caller.principal, account, call.fields["name"])


async def enable(call: Call) -> Any:
    account = await _account(call)
    return await accounts.set_enabled(call.desk, call.caller.principal, account, True)


async def disable(call: Call) -> Any:
    account = await _account(call)
    return await accounts.set_enabled(call.desk, call.caller.principal, account, False)


async def set_limits(call: Call) -> Any:
    account = await _account(call)
    return await accounts.set_limits(
        call.desk, call.caller.principal, account, call.fields["limits"]
    )


async def reset(call: Call) -> Any:
    return await resets.reset(call.desk, call.caller.principal, await _account(call))


async def resume(call: Call) -> Any:
    return await risk.clear_break(
        call.desk,
        call.caller,
        await _account(call),
        call.fields["reason"],
        call.fields["accept_exchange"],
    )


async def delete(call: Call) -> Any:
    return await accounts.delete(call.desk, call.caller.principal, await _account(call))


async def snapshots(call: Call) -> Any:
    return await accounts.snapshots(call.desk, await _account(call), call.fields["limit"])


async def who_am_i(call: Call) -> Any:
    return tokens.shown(call.caller)


async def list_tokens(call: Call) -> Any:
    whole_reach(call)
    return await tokens.listing(call.desk)


async def create_token(call: Call) -> Answer:
    whole_reach(call)
    new = NewToken(**call.fields)
    return Answer(201, await tokens.create(call.desk, call.key, call.caller, new))


async def revoke_token(call: Call) -> Any:
    whole_reach(call)
    return await tokens.revoke(call.desk, call.caller.principal, call.path["name"])


_ONE = "/accounts/{account_id}"
_EXCHANGE = (Field("exchange", "text", "only of this exchange"),)
_SYMBOL = (Field("symbol", "text", "the rules of this instrument"),)
_LIMITS = (Field("limits", "map", "limit by check name; null removes one", required=True),)
_LABEL = (Field("name", "text", "a label of yours", required=True),)
_NEWEST = (Field("limit", "whole", "how many rows at most", default=100, most=1000),)

ROUTES = (
    Route("GET", "/accounts", _READ, list_accounts, "List accounts", query=_EXCHANGE),
    Route("GET", _ONE, _READ, get_account, "Get account, fees and rules", query=_SYMBOL),
    Route(
        "POST",
        "/accounts",
        _ADMIN,
        add_account,
        "Add an account",
        body=NEW_ACCOUNT,
        statuses=(201,),
    ),
    Route("POST", _ONE + "/credentials", _ADMIN, set_credentials, "Replace the key", body=_SECRETS),
    Route("POST", _ONE + "/name", _ADMIN, rename, "Change the label", body=_LABEL),
    Route("POST", _ONE + "/enable", _ADMIN, enable, "Enable an account"),
    Route(
        "POST", _ONE + "/disable", _ADMIN, disable, "Disable an account; its plans are cancelled"
    ),
    Route("POST", _ONE + "/limits", _ADMIN, set_limits, "Change limits", body=_LIMITS),
    Route("POST", _ONE + "/reset", _ADMIN, reset, "Reset a paper or test account"),
    Route("POST", _ONE + "/resume", _ADMIN, resume, "Take new risk again", body=_RESUME),
    Route("DELETE", _ONE, _ADMIN, delete, "Delete an account and its credentials"),
    Route("GET", _ONE + "/snapshots", _READ, snapshots, "Balance snapshots", query=_NEWEST),
    Route("GET", "/tokens/self", _READ, who_am_i, "Tell what this token may do"),
    Route("GET", "/tokens", _ADMIN, list_tokens, "List tokens, without secrets"),
    Route("POST", "/tokens", _ADMIN, create_token, "Make a token", body=NEW_TOKEN, statuses=(201,)),
    Route("DELETE", "/tokens/{name}", _ADMIN, revoke_token, "Revoke a principal's tokens at once"),
)
