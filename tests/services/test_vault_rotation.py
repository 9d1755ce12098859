"""A rotation leaves every row readable, whatever happens between two steps."""

import asyncio

import pytest

from backend.domain.errors import ExchangeUnavailable, Refused
from backend.services import vault
from backend.services.vault import open_vault
from backend.store import credentials
from tests.services.spoken import change, row
from tests.services.vaults import (
    assert_all_kept,
    credentials_of,
    keep,
    keep_three,
    of_version,
)

pytestmark = pytest.mark.anyio


def text_of(stack):
    return (stack.home / "vault.key").read_text()


async def key_ids(stack):
    return {r.key_id for r in await stack.backend.desk.database.read(credentials.all_rows)}


async def write(stack, step, *more):
    using = stack.backend.vault
    return await stack.backend.desk.database.write(lambda tx: step(tx, using, *more))


async def test_a_rotation_seals_everything_anew_and_drops_the_old_keys(exec_mcp):
    made = await keep_three(exec_mcp)
    first_line, old = text_of(exec_mcp), await key_ids(exec_mcp)

    told = [
        await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")
        for _ in range(2)
    ]

    assert [t["credentials"] for t in told] == [3, 3]
    assert [t["dropped_keys"] for t in told] == [0, 1]
    assert await key_ids(exec_mcp) == {told[1]["key_id"]} != old
    home_key, sealing, end = text_of(exec_mcp).split("\n")
    assert (home_key + "\n", sealing.split()[0], end) == (first_line, told[1]["key_id"], "")
    assert (exec_mcp.home / "vault.key").stat().st_mode & 0o777 == 0o600
    await assert_all_kept(exec_mcp, made)
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))
    last = await row(exec_mcp, "SELECT * FROM audit ORDER BY seq DESC")
    assert (last["event"], last["actor"]) == ("vault.rotated", "operator")


async def test_no_token_is_lost_by_a_rotation(exec_mcp):
    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")
    await exec_mcp.restart()

    assert (await exec_mcp.http.get("/api/v1/tokens/self")).status_code == 200
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM tokens"))["n"] == 2


async def test_another_process_reads_the_keys_again_when_it_meets_a_new_one(exec_mcp):
    made = await keep_three(exec_mcp)
    second = await exec_mcp.second_server()
    await assert_all_kept(second, made)

    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")
    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")

    await assert_all_kept(second, made)


async def test_another_process_seals_with_the_newest_key(exec_mcp):
    made = await keep_three(exec_mcp)
    second = await exec_mcp.second_server()
    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")

    await keep(second, made["one"], credentials_of("one"))

    assert len(await key_ids(exec_mcp)) == 1
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))


async def test_rotations_and_seals_at_once_leave_everything_readable(exec_mcp):
    made = await keep_three(exec_mcp)
    servers = [exec_mcp, await exec_mcp.second_server(), await exec_mcp.second_server()]

    await asyncio.gather(
        *(vault.rotate(s.backend.desk, s.backend.vault, "operator") for s in servers * 3),
        *(keep(s, made[n], credentials_of(n)) for s in servers for n in made),
    )

    for server in servers:
        await assert_all_kept(server, made)
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))
    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")
    assert len(text_of(exec_mcp).splitlines()) == 2


async def test_a_rotation_that_is_not_committed_leaves_every_row_readable(exec_mcp):
    made = await keep_three(exec_mcp)
    before = await key_ids(exec_mcp)

    def aborted(tx, using):
        vault.renew(tx, using, "operator")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write(exec_mcp, aborted)

    assert await key_ids(exec_mcp) == before
    await assert_all_kept(exec_mcp, made)
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))
    await keep(exec_mcp, made["one"], credentials_of("one"))
    assert await write(exec_mcp, vault.drop_unused) == 0
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))


async def test_only_keys_that_no_row_needs_are_dropped(exec_mcp):
    made = await keep_three(exec_mcp)
    await write(exec_mcp, vault.renew, "operator")
    used = await key_ids(exec_mcp)
    for _ in range(3):
        exec_mcp.backend.vault.add_key()

    dropped = await write(exec_mcp, vault.drop_unused)

    assert dropped == 2
    assert used < {line.split()[0] for line in text_of(exec_mcp).splitlines()}
    await assert_all_kept(exec_mcp, made, open_vault(exec_mcp.home))


async def test_a_row_that_does_not_open_stops_the_rotation_before_anything_changed(exec_mcp):
    made = await keep_three(exec_mcp)
    number = made["three"].number
    await change(exec_mcp, "UPDATE credentials SET sealed = x'00' WHERE account = ?", number)
    text, before = text_of(exec_mcp), await key_ids(exec_mcp)

    with pytest.raises(ExchangeUnavailable, match="paper:three do not unseal"):
        await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")

    assert (text_of(exec_mcp), await key_ids(exec_mcp)) == (text, before)


async def test_a_rotation_keeps_each_rows_own_version(exec_mcp):
    account = of_version((await keep_three(exec_mcp))["one"], 7)
    await keep(exec_mcp, account, credentials_of("one"))

    await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")

    await assert_all_kept(exec_mcp, {"one": account})


async def test_a_key_text_that_cannot_be_written_stops_the_rotation(exec_mcp):
    made = await keep_three(exec_mcp)
    (exec_mcp.home / "vault.key.new").mkdir()  # Where the fresh text would go.
    text = text_of(exec_mcp)

    with pytest.raises(Refused, match="cannot be written") as refused:
        await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")

    assert (refused.value.code, text_of(exec_mcp)) == ("storage", text)
    await assert_all_kept(exec_mcp, made)
