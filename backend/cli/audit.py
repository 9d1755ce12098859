"""Evidence: the audit's chain, and the books against themselves."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.exits import FAILED, NOT_CHECKED, OK, Failed
from backend.cli.operator import ask
from backend.cli.output import Json, say, show
from backend.domain import exact_json


async def verify_chain(*, json: Json = False) -> int:
    """Walk the audit's hash chain; exit code 1 when it is broken."""
    reply = await ask("GET", "/audit/verify")
    show(reply, json, _chain)
    return OK if exact_json.loads(reply)["whole"] else FAILED


def _chain(reply: Mapping[str, Any]) -> None:
    if reply["whole"]:
        say(f"The audit is whole: {reply['rows']} rows, head {reply['head']}.")
    else:
        say(f"The audit is broken after {reply['rows']} rows: {reply['broken']}.")


async def verify(
    *,
    exchange: Annotated[bool, Parameter(name="--exchange")] = False,
    json: Json = False,
) -> int:
    """Check the books and the audit; exit code 1 when broken, 4 when not all was checked.

    Parameters
    ----------
    exchange:
        Compare orders, fills and balances with every account's exchange as well.
    """
    reply = await ask("GET", "/audit/invariants", params={"exchange": "true"} if exchange else None)
    show(reply, json, _books)
    found = exact_json.loads(reply)
    if not found["whole"]:
        return FAILED
    verdicts = [account["verdict"] for account in found["exchanges"] or ()]
    return OK if set(verdicts) <= {"agrees"} else NOT_CHECKED


def _books(reply: Mapping[str, Any]) -> None:
    for rule in reply["invariants"]:
        say(f"{rule['invariant']:<5} {'holds ' if rule['holds'] else 'BROKEN'}  {rule['title']}")
        for text in rule["broken"]:
            say(f"      {text}")
    for account in reply["exchanges"] or ():
        verdict = account["verdict"].replace("_", " ")
        say(f"{account['account_id']}: {verdict}, {account['orders_compared']} orders compared")
        for text in (*account["broken"], *account["notes"]):
            say(f"      {text}")
    if reply["whole"]:
        say(f"The invariants hold, and the audit is whole: {reply['audit_rows']} rows.")
    else:
        say(f"Broken: {len(reply['broken'])} findings.")


async def export(file: Path | None = None, /) -> None:
    """Write the whole audit as JSON lines, to be verified elsewhere.

    Parameters
    ----------
    file:
        A new file; left out: standard output.
    """
    lines = exact_json.loads(await ask("GET", "/audit/export"))["lines"]
    if file is None:
        sys.stdout.write(lines)
        return
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise Failed(f"cannot write {file}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        written.write(lines)
    say(f"Wrote {lines.count(chr(10))} rows to {file}.")
