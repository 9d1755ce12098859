"""Limits and the kill switch over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Call, Route, whole_reach
from backend.domain.errors import Refused
from backend.domain.instrument import normalise_symbol
from backend.services import accounts, lookup, risk
from backend.store.accounts import Account

_READ = ("read", "trade", "approve", "admin")
_ACCOUNT = Field("account_id", "text", "exchange:identifier")
_SCOPE = (
    Field("reason", "text", "for the audit", required=True),
    Field("scope", "choice", "default account", default="account", choices=risk.SCOPES),
    _ACCOUNT,
    Field("symbol", "text", "for scope symbol"),
)
_CANCEL = Field("cancel_orders", "flag", "ask for the cancel of live orders too", default=True)


async def get_status(call: Call) -> Any:
    account = await lookup.resolve_account(call.desk, call.caller, call.fields["account_id"])
    return await risk.status(call.desk, call.caller, account)


async def engage(call: Call) -> Any:
    account, symbol = await _scope(call)
    return await risk.engage(
        call.desk,
        call.caller,
        reason=call.fields["reason"],
        scope=call.fields["scope"],
        account=account,
        symbol=symbol,
        cancel_orders=call.fields["cancel_orders"],
    )


async def release(call: Call) -> Any:
    account, symbol = await _scope(call)
    return await risk.release(
        call.desk,
        call.caller,
        reason=call.fields["reason"],
        scope=call.fields["scope"],
        account=account,
        symbol=symbol,
    )


async def _scope(call: Call) -> tuple[Account | None, str | None]:
    """Return the account and the symbol that a scope needs, and no other."""
    scope, account_id = call.fields["scope"], call.fields["account_id"]
    symbol = normalise_symbol(call.fields["symbol"]) if call.fields["symbol"] else None
    if (scope == "symbol") != (symbol is not None):
        raise Refused("symbol goes with scope=symbol, and only with it")
    if scope == "global":
        if account_id:
            raise Refused("scope=global takes no account_id")
        whole_reach(call)
        return None, None
    everywhere = {"approve", "admin"} & call.caller.scopes and not call.caller.accounts
    if scope == "symbol" and account_id is None and everywhere:
        return None, symbol
    if account_id is None:
        return await lookup.resolve_account(call.desk, call.caller, None), symbol
    return await accounts.find(call.desk, call.caller, account_id), symbol


async def lift_quarantine(call: Call) -> Any:
    return await risk.lift_quarantine(call.desk, call.caller, call.fields["reason"])


_ENGAGE = ("trade", "approve", "admin")

ROUTES = (
    Route(
        "GET", "/risk/status", _READ, get_status, "Limits and what they leave", query=(_ACCOUNT,)
    ),
    Route(
        "POST",
        "/risk/kill-switch",
        _ENGAGE,
        engage,
        "Stop new orders at once",
        body=(*_SCOPE, _CANCEL),
        urgent=True,
    ),
    Route(
        "POST", "/risk/kill-switch/release", ("admin",), release, "Let orders through", body=_SCOPE
    ),
    Route(
        "POST",
        "/risk/quarantine/lift",
        ("admin",),
        lift_quarantine,
        "Take new risk again",
        body=_SCOPE[:1],
    ),
)
