"""The two first tokens: once per key, whoever starts, however often, wherever it died."""

import asyncio

import pytest

from backend.services import tokens
from backend.services.tokens import ensure_first_tokens, new_token
from tests.services.spoken import row

pytestmark = pytest.mark.anyio
ALIVE = "SELECT COUNT(*) AS n FROM tokens WHERE revoked_at IS NULL"


async def test_processes_that_start_at_once_make_two_tokens_and_revoke_none(exec_mcp):
    second = await exec_mcp.second_server()

    await asyncio.gather(
        *(ensure_first_tokens(s.backend.desk, s.backend.key) for s in (exec_mcp, second) * 3)
    )

    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM tokens"))["n"] == 2
    assert (await row(exec_mcp, ALIVE))["n"] == 2


async def test_a_new_key_replaces_every_token_once_also_after_a_start_that_died(exec_mcp):
    await exec_mcp.token("other", "read")
    old = (exec_mcp.home / "operator.token").read_text().strip()
    desk = exec_mcp.backend.desk
    (exec_mcp.home / "vault.key").unlink()
    key = tokens.read_key(exec_mcp.home)  # The start that made it died here.

    assert tokens.read_key(exec_mcp.home) == key
    for _ in range(2):
        await ensure_first_tokens(desk, key)

    fresh = (exec_mcp.home / "operator.token").read_text().strip()
    assert (await row(exec_mcp, ALIVE))["n"] == 2
    assert (await tokens.authenticate(desk, key, fresh)).principal == "operator"
    for dead in (old, new_token()[0]):
        with pytest.raises(Exception, match="valid"):
            await tokens.authenticate(desk, key, dead)


async def test_a_first_token_that_the_operator_revoked_is_not_made_again(exec_mcp):
    await exec_mcp.operator.delete("/api/v1/tokens/agent")

    await exec_mcp.restart()

    assert (await row(exec_mcp, ALIVE))["n"] == 1
