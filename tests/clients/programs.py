"""Other people's exchange clients, run by an interpreter of their own.

They pin packages that we share, so they never live beside us: `EXEC_CLIENTS_PYTHON` names
the Python of an environment made from `requirements.lock` of this folder (`make clients`).
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

_PYTHON = os.environ.get("EXEC_CLIENTS_PYTHON")
_SCRIPTS = Path(__file__).with_name("scripts")
_LONGEST_S = 60

needs_clients = pytest.mark.skipif(
    _PYTHON is None, reason="EXEC_CLIENTS_PYTHON names no Python with the clients: `make clients`"
)


async def run_client(script: str, url: str, key: str, secret: str) -> Any:
    """Run a script of this folder to its end and return the JSON that it printed.

    The script is given `{"url", "key", "secret"}` on its standard input, and no proxy.
    """
    assert _PYTHON is not None
    process = await asyncio.create_subprocess_exec(
        _PYTHON,
        *("-I", str(_SCRIPTS / f"{script}.py")),
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    given = json.dumps({"url": url, "key": key, "secret": secret}).encode()
    try:
        async with asyncio.timeout(_LONGEST_S):
            stdout, stderr = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, stderr.decode()[-4000:]
    return json.loads(stdout)
