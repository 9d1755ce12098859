"""Evidence: the audit's chain, and the books against themselves."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.cli.exits import FAILED, OK, Failed
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


async def verify(*, json: Json = False) -> int:
    """Check the books and the audit; exit code 1 when broken."""
    reply = await ask("GET", "/audit/invariants")
    show(reply, json, _books)
    return OK if exact_json.loads(reply)["whole"] else FAILED


def _books(reply: Mapping[str, Any]) -> None:
    for rule in reply["broken"]:
        say(f"Broken: {rule}")
    if reply["whole"]:
        say(f"The invariants hold, and the audit is whole: {reply['audit_rows']} rows.")


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
