"""The operator's hands on single trades."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from backend.cli.operator import ask, segment
from backend.cli.output import Json, say, show, table, text_of

_HEADINGS = ("trade_id", "status", "account_id", "order", "price", "filled", "created_at", "note")


async def trades(
    *,
    status: str | None = None,
    symbol: str | None = None,
    account: str | None = None,
    limit: int = 20,
    json: Json = False,
) -> None:
    """List trades, newest first.

    Parameters
    ----------
    status:
        pending, executing, working, executed, cancelled, expired or failed.
    symbol:
        Only of this instrument.
    account:
        Only of this account.
    limit:
        How many at most, up to 100.
    """
    params = {"status": status, "symbol": symbol, "account_id": account, "limit": limit}
    show(await ask("GET", "/trading/trades", params=params), json, _listed)


def _listed(reply: Mapping[str, Any]) -> None:
    rows = [
        (
            trade["trade_id"],
            trade["status"],
            trade["account_id"],
            _order(trade),
            trade["executed_price"] or trade["price"],
            trade["filled_quantity"],
            trade["created_at"],
            _note(trade),
        )
        for trade in reply["trades"]
    ]
    table(_HEADINGS, rows, "There are no such trades.")
    if reply["next_cursor"]:
        say("There are older ones: --limit shows more.")


def _order(trade: Mapping[str, Any]) -> str:
    side, order_type = trade["side"], trade["order_type"]
    return f"{side} {text_of(trade['quantity'])} {trade['symbol']} {order_type}"


def _note(trade: Mapping[str, Any]) -> str:
    approval = trade["approval"]
    if trade["status"] != "pending":
        return str(trade.get("incident") or trade["reason"] or "")
    if approval["required"] and not approval["approved"]:
        return f"waits for approval, until {trade['expires_at']}"
    return f"until {trade['expires_at']}"


async def approve(trade_id: str, /, *, json: Json = False) -> None:
    """Approve exactly this plan; its planner must still confirm.

    Parameters
    ----------
    trade_id:
        As the plan told it, such as trd-7k3m….
    """
    show(await _ask(trade_id, "approve"), json, _approved)


def _approved(trade: Mapping[str, Any]) -> None:
    say(
        f"Approved: {_order(trade)} at {text_of(trade['price'])}, at worst "
        f"{text_of(trade['worst_price'])}, on {trade['account_id']} ({trade['environment']})."
    )
    say(f"It waits for its planner's confirm until {trade['expires_at']}.")


async def reject(trade_id: str, /, *, json: Json = False) -> None:
    """Cancel a pending plan; its reservation is released.

    Parameters
    ----------
    trade_id:
        As the plan told it.
    """
    show(await _ask(trade_id, "reject"), json, _rejected)


def _rejected(trade: Mapping[str, Any]) -> None:
    released = text_of(trade["released_buying_power"])
    say(f"Rejected {trade['trade_id']}: {released} of buying power is free again.")


async def settle(
    trade_id: str,
    /,
    *,
    outcome: Annotated[Literal["absent"], Parameter(name="--as")],
    reason: str,
    json: Json = False,
) -> None:
    """End an order of unknown outcome on your word.

    Parameters
    ----------
    trade_id:
        Of a trade that is executing.
    outcome:
        absent: the exchange has no such order. What was filled is never typed in.
    reason:
        For the audit: what you saw at the exchange.
    """
    body = {"outcome": outcome, "reason": reason}
    show(await _ask(trade_id, "settle", body), json, _settled)


def _settled(trade: Mapping[str, Any]) -> None:
    say(f"{trade['trade_id']} is {trade['status']}: {text_of(trade['reason'])}.")


async def _ask(trade_id: str, verb: str, body: Mapping[str, Any] | None = None) -> str:
    path = f"/trading/trades/{segment(trade_id)}/{verb}"
    return await ask("POST", path, body, missing=f"there is no trade {trade_id!r}")
