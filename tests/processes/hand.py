"""The operator's hand on the kill switch, in a process that does nothing else meanwhile.

It stamps with the machine's monotonic clock when the request left, when the flag could be
read from the database file, and when the answer had come.
"""

import asyncio
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backend.database import sqlite3
from tests.processes.zygote import Line

SWITCH = "/api/v1/risk/kill-switch"
_ENGAGED = "SELECT engaged FROM kill_switches WHERE scope = 'global'"
_GIVE_UP_NS = 10**10


async def obey(line: Line, home: str) -> None:
    """Engage or release as told, until the driver goes."""
    token = (Path(home) / "operator.token").read_text().strip()
    book = sqlite3.connect(f"file:{home}/exec-mcp.db?mode=ro", uri=True, isolation_level=None)
    line.say("ready")
    heard = await line.heard()
    while told := await heard.readline():
        command = json.loads(told)
        line.say(await _turn(book, command["url"], token, bool(command["engage"])))
    book.close()


async def _turn(book: Any, url: str, token: str, engage: bool) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.connect()
    body = json.dumps({"reason": "a test", "scope": "global"})
    path = SWITCH if engage else f"{SWITCH}/release"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent = time.monotonic_ns()
    connection.request("POST", path, body, headers)
    flag = await _seen(book, engage, sent)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    answered = time.monotonic_ns()
    connection.close()
    return {"sent": sent, "flag": flag, "answered": answered, "http": answer.status, "body": said}


async def _seen(book: Any, engage: bool, since: int) -> int:
    """Return when the flag was first seen committed."""
    while time.monotonic_ns() - since < _GIVE_UP_NS:
        row = book.execute(_ENGAGED).fetchone()
        if row is not None and bool(row[0]) == engage:
            return time.monotonic_ns()
        await asyncio.sleep(0.0005)  # Leave the processor to those that are watched.
    raise TimeoutError("the flag was not committed")
