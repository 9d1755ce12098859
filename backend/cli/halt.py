"""The kill switch."""

from collections.abc import Mapping
from typing import Any, Literal

from backend.cli.operator import ask
from backend.cli.output import Json, say, show, text_of

Scope = Literal["global", "account", "symbol"]


async def halt(
    *,
    reason: str,
    scope: Scope | None = None,
    account: str | None = None,
    symbol: str | None = None,
    keep_orders: bool = False,
    json: Json = False,
) -> None:
    """Stop new orders at once; cancel plans and live orders.

    Parameters
    ----------
    reason:
        For the audit.
    scope:
        Left out: symbol or account if one is named, else global.
    account:
        For scope account; with a symbol, only there.
    symbol:
        For scope symbol.
    keep_orders:
        Leave live orders alone.
    """
    body = _body(scope, account, symbol, reason) | {"cancel_orders": not keep_orders}
    show(await ask("POST", "/risk/kill-switch", body), json, _halted)


async def resume(
    *,
    reason: str,
    scope: Scope | None = None,
    account: str | None = None,
    symbol: str | None = None,
    quarantine: bool = False,
    json: Json = False,
) -> None:
    """Release a kill switch, named by its scope, or lift the quarantine.

    Parameters
    ----------
    reason:
        For the audit.
    scope:
        Left out: symbol or account if one is named, else global.
    account:
        For scope account; with a symbol, only there.
    symbol:
        For scope symbol.
    quarantine:
        Lift the quarantine instead, after you have looked at what `doctor` says.
    """
    if quarantine:
        none = "the server is not quarantined"
        reply = await ask("POST", "/risk/quarantine/lift", {"reason": reason}, missing=none)
        show(reply, json, lambda r: say(f"Quarantine lifted; it was: {r['was']}."))
        return
    body = _body(scope, account, symbol, reason)
    missing = "no kill switch is engaged for this scope; `exec-mcp doctor` lists the engaged ones"
    reply = await ask("POST", "/risk/kill-switch/release", body, missing=missing)
    show(reply, json, lambda r: say(f"Released: {r['scope']}. New orders pass again."))


def _body(
    scope: Scope | None, account: str | None, symbol: str | None, reason: str
) -> dict[str, Any]:
    implied = "symbol" if symbol else "account" if account else "global"
    return {
        "reason": reason,
        "scope": scope or implied,
        "account_id": account,
        "symbol": symbol,
    }


def _halted(reply: Mapping[str, Any]) -> None:
    where = " ".join(str(reply[key]) for key in ("account_id", "symbol") if reply[key])
    say(f"Halted since {reply['engaged_at']}: {reply['scope']}{where and f' {where}'}.")
    say(f"Plans cancelled: {text_of(reply['cancelled_trades'])}.")
    asked = {order["trade_id"]: order for order in reply["cancel_requested"]}
    for trade_id in reply["live_orders"]:
        order = asked.get(trade_id)
        say(f"Order {trade_id}: " + (f"cancel asked, {order['state']}" if order else "kept") + ".")
    if not reply["live_orders"]:
        say("No order was live.")
