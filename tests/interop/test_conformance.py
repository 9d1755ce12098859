"""The MCP conformance suite against a real `serve`, in both protocol eras.

The suite cannot send a token: it goes through `proxy.py`.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.interop.programs import MODULES, needs_node, run_node, served
from tests.interop.proxy import token_proxy
from tests.interop.suites import SUITES

pytestmark = [pytest.mark.anyio, needs_node]

_RESULT = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
_FAULTS = ("FAILURE", "WARNING")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
async def test_a_served_exec_mcp_conforms(suite, tmp_path):
    results = tmp_path / "results"

    async with (
        served(tmp_path / "exec-mcp") as server,
        token_proxy(server.port, server.token) as port,
    ):
        ran = await run_node(
            MODULES / suite.module / "dist" / "index.js",
            *("server", "--url", f"http://127.0.0.1:{port}/mcp"),
            *("--expected-failures", suite.excused, "--output-dir", results),
            *suite.arguments,
            home=tmp_path,
        )

    assert ran.code == 0, ran.stdout[-4000:] + ran.stderr
    verdicts = _verdicts(results)
    for scenario in suite.applies:
        # A scenario that proved nothing is reported as passed as well.
        assert "SUCCESS" in verdicts[scenario].values(), scenario
        assert _faults(verdicts[scenario], scenario) <= set(suite.excuses()), scenario


def _verdicts(results: Path) -> dict[str, dict[str, str]]:
    """Return the status of each check of each scenario that was run."""
    verdicts: dict[str, dict[str, str]] = defaultdict(dict)
    for file in results.glob("*/checks.json"):
        name = _RESULT.fullmatch(file.parent.name)
        assert name is not None, file.parent.name
        for check in json.loads(file.read_text()):
            verdicts[name[1]][check["id"]] = check["status"]
    return verdicts


def _faults(checks: dict[str, str], scenario: str) -> set[str]:
    return {f"{scenario}:{check}" for check, status in checks.items() if status in _FAULTS}
