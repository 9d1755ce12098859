"""The two first tokens: once per key, whoever starts, however often, wherever it died."""

import asyncio

import pytest

from backend.domain.errors import Refused, Unauthorised
from backend.services import tokens
from backend.services.tokens import (
    ensure_first_tokens,
    new_token,
    recover_operator,
    retire_operator_file,
)
from backend.services.vault import open_vault
from tests.services.spoken import change, row
from tests.services.vaults import add_account

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
    key = open_vault(exec_mcp.home).token_key  # The start that made it died here.

    assert open_vault(exec_mcp.home).token_key == key
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


# --- with real money, no operator's token lies on the disk ---


def operator_file(exec_mcp):
    return exec_mcp.home / "operator.token"


async def test_the_operators_file_is_replaced_by_a_token_that_is_shown_once(exec_mcp):
    old = operator_file(exec_mcp).read_text().strip()
    other = await exec_mcp.token("other", "admin")
    desk, key = exec_mcp.backend.desk, exec_mcp.backend.key

    fresh = await retire_operator_file(desk, key)
    again = await retire_operator_file(desk, key)

    assert fresh is not None
    assert again is None
    assert not operator_file(exec_mcp).exists()
    found = await tokens.authenticate(desk, key, fresh)
    assert (found.principal, sorted(found.scopes)) == ("operator", ["admin", "approve", "read"])
    assert (await tokens.authenticate(desk, key, other)).principal == "other"
    with pytest.raises(Unauthorised):
        await tokens.authenticate(desk, key, old)
    files = [file for file in exec_mcp.home.iterdir() if fresh.encode() in file.read_bytes()]
    assert files == []
    last = await row(exec_mcp, "SELECT event FROM audit ORDER BY seq DESC")
    assert last["event"] == "token.replaced"


async def test_processes_that_retire_at_once_make_one_token(exec_mcp):
    second = await exec_mcp.second_server()

    made = await asyncio.gather(
        *(retire_operator_file(s.backend.desk, s.backend.key) for s in (exec_mcp, second) * 3)
    )

    assert len([token for token in made if token]) == 1
    assert (await row(exec_mcp, ALIVE))["n"] == 2


@pytest.mark.parametrize("text", ["", "nonsense", "revoked"])
async def test_a_file_without_a_living_token_is_deleted_and_makes_none(exec_mcp, text):
    if text == "revoked":
        await exec_mcp.operator.delete("/api/v1/tokens/operator")
    else:
        operator_file(exec_mcp).write_text(text)
    alive = (await row(exec_mcp, ALIVE))["n"]

    assert await retire_operator_file(exec_mcp.backend.desk, exec_mcp.backend.key) is None
    assert not operator_file(exec_mcp).exists()
    assert (await row(exec_mcp, ALIVE))["n"] == alive


async def test_beside_a_live_account_a_new_key_puts_no_operators_token_on_the_disk(exec_mcp):
    await add_account(exec_mcp, "real", "live")
    desk = exec_mcp.backend.desk
    (exec_mcp.home / "vault.key").unlink()
    key = open_vault(exec_mcp.home).token_key

    for _ in range(2):
        await ensure_first_tokens(desk, key)

    assert not operator_file(exec_mcp).exists()
    assert (exec_mcp.home / "agent.token").exists()
    assert (await row(exec_mcp, ALIVE))["n"] == 1

    recovered = await recover_operator(desk, key)

    assert "approve" in (await tokens.authenticate(desk, key, recovered)).scopes
    assert not operator_file(exec_mcp).exists()
    with pytest.raises(Refused, match="'operator' is alive"):
        await recover_operator(desk, key)


async def test_once_the_live_account_is_deleted_a_new_key_makes_the_file_again(exec_mcp):
    await add_account(exec_mcp, "real", "live")
    await change(exec_mcp, "UPDATE accounts SET deleted_at = created_at WHERE identifier = 'real'")
    (exec_mcp.home / "vault.key").unlink()
    key = open_vault(exec_mcp.home).token_key

    await ensure_first_tokens(exec_mcp.backend.desk, key)

    token = operator_file(exec_mcp).read_text().strip()
    assert (await tokens.authenticate(exec_mcp.backend.desk, key, token)).principal == "operator"


async def test_no_operators_token_is_recovered_while_any_is_alive(exec_mcp):
    await exec_mcp.token("chief", "admin")
    await exec_mcp.token("clerk", "admin", accounts=["paper:main"])
    desk, key = exec_mcp.backend.desk, exec_mcp.backend.key
    operator = exec_mcp.operator
    await operator.delete("/api/v1/tokens/operator")

    with pytest.raises(Refused, match="'chief' is alive"):
        await recover_operator(desk, key)
    await tokens.revoke(desk, "operator", "chief")

    assert (await tokens.authenticate(desk, key, await recover_operator(desk, key))).accounts == ()
