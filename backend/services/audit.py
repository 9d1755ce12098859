"""The evidence: the audit's rows, its proof, and the invariants of the books."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from backend.database import Row, Transaction
from backend.domain import exact_json
from backend.domain.clock import from_row, to_et
from backend.services import Desk, agreement
from backend.services.invariants import RULES, Broken, Rule, Watch, check
from backend.store import accounts, audit

# A look may take so long before somebody must ask why.
_PATIENCE = timedelta(seconds=60)


def shown(tx: Transaction, row: Row) -> dict[str, Any]:
    """Return one audit row for reading."""
    # The account may be deleted since: its rows stay.
    account = accounts.find_number(tx, row["account"]) if row["account"] else None
    return {
        "seq": row["seq"],
        "at": to_et(from_row(row["at"])),
        "event": row["event"],
        "actor": row["actor"],
        "account_id": account.id if account else None,
        "trade_id": row["trade_id"],
        "detail": exact_json.loads(row["detail"]),
        "hash": row["hash"],
    }


async def events(
    desk: Desk, numbers: list[int] | None, before: int | None, limit: int
) -> dict[str, Any]:
    """Return a page of rows, newest first."""

    def body(tx: Transaction) -> dict[str, Any]:
        rows, following = audit.events(tx, numbers, before, limit)
        return {
            "events": [shown(tx, row) for row in rows],
            "next_cursor": None if following is None else str(following),
        }

    return await desk.database.read(body)


async def verify(desk: Desk) -> dict[str, Any]:
    """Walk the hash chain from its start."""

    def body(tx: Transaction) -> dict[str, Any]:
        count, wrong, head = audit.first_break(tx)
        return {"whole": wrong is None, "rows": count, "broken": wrong, "head": head}

    return await desk.database.read_apart(body, one_snapshot=False)


async def export(desk: Desk) -> str:
    """Return the whole chain as JSON lines, as stored, so that it can be verified elsewhere."""

    def lines(tx: Transaction) -> Iterator[str]:
        for row in audit.chain(tx):
            yield exact_json.dumps(dict(row)) + "\n"

    return await desk.database.read_apart(lambda tx: "".join(lines(tx)), one_snapshot=False)


async def invariants(desk: Desk, exchange: bool = False) -> dict[str, Any]:
    """Check the books against themselves, and on demand against every account's exchange.

    Returns:
        `whole`: nothing is broken; `broken`: every sentence; the verdict of each invariant
        and, with `exchange`, of each account. Nothing is changed anywhere.
    """
    watch = await _watch(desk)
    wrong = await desk.database.read_apart(lambda tx: check(tx, desk.journal.each(), watch))
    chain = await verify(desk)
    if not chain["whole"]:
        wrong.append(Broken("I-9", f"the chain of the audit: {chain['broken']}"))
    compared = await agreement.with_all(desk) if exchange else None
    told = [f"{one.invariant}: {one.text}" for one in wrong]
    told += [f"{one.account_id}: {text}" for one in compared or () for text in one.broken]
    return {
        "whole": not told,
        "broken": told,
        "audit_rows": chain["rows"],
        "invariants": [_verdict(rule, wrong) for rule in RULES],
        "exchanges": None if compared is None else [agreement.shown(one) for one in compared],
    }


def _verdict(rule: Rule, wrong: Sequence[Broken]) -> dict[str, Any]:
    broken = [one.text for one in wrong if one.invariant == rule.number]
    return {"invariant": rule.number, "title": rule.title, "holds": not broken, "broken": broken}


async def _watch(desk: Desk) -> Watch:
    """Return what this server knows of its own looking; whose exchange is silent is excused."""
    known = await desk.database.read(accounts.all_accounts)
    patience = {}
    for account in known:
        if account.id not in desk.silent:
            rules = desk.exchanges[account.exchange].CAPABILITIES
            patience[account.number] = 3 * max(rules.poll_every, rules.look_up_every) + _PATIENCE
    failing = {a.number: desk.trouble[a.id] for a in known if a.id in desk.trouble}
    return Watch(desk.process, dict(desk.polled), patience, failing)
