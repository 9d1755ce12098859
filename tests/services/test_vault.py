"""What is sealed opens with its key, for its account, whole; and shows nowhere."""

import copy
import io
import logging
import pickle
import traceback
from itertools import pairwise

import pytest
import structlog

from backend import logs
from backend.database import sqlite3
from backend.domain.errors import ExchangeUnavailable, Refused
from backend.domain.secret import Secret
from backend.services import vault
from backend.services.vault import Owner, open_vault
from backend.store import credentials
from tests.services.spoken import change, row
from tests.services.vaults import (
    CANARY,
    CREDENTIALS,
    add_account,
    credentials_of,
    keep,
    keep_three,
    kept,
    of_version,
)

pytestmark = pytest.mark.anyio
OWNER = Owner("binance", "123", "live", 1)
SEALED = "SELECT key_id, sealed, version FROM credentials WHERE account = ?"


def checkpoint(home):
    connection = sqlite3.connect(str(home / "exec-mcp.db"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return (home / "exec-mcp.db").read_bytes() + (home / "exec-mcp.db-wal").read_bytes()


def test_what_was_sealed_unseals_and_no_nonce_comes_twice(tmp_path):
    vault = open_vault(tmp_path)

    seals = [vault.seal(OWNER, CREDENTIALS) for _ in range(3000)]

    assert len({sealed[:12] for _, sealed in seals}) == len(seals)
    assert len({key_id for key_id, _ in seals}) == 1
    assert vault.unseal(OWNER, *seals[-1]) == CREDENTIALS
    assert open_vault(tmp_path).unseal(OWNER, *seals[0]) == CREDENTIALS


@pytest.mark.parametrize("given", [{}, {"secret": Secret("")}, {"pem": Secret("é\n" * 2000)}])
def test_any_fields_come_back_as_they_were(tmp_path, given):
    vault = open_vault(tmp_path)

    assert vault.unseal(OWNER, *vault.seal(OWNER, given)) == given


def test_another_owner_key_or_a_changed_byte_ends_in_one_sentence(tmp_path):
    for name in ("home", "other"):
        (tmp_path / name).mkdir()
    vault, other = open_vault(tmp_path / "home"), open_vault(tmp_path / "other")
    key_id, sealed = vault.seal(OWNER, CREDENTIALS)
    wrong = [(owner, key_id, sealed) for owner in other_owners()]
    wrong += [(OWNER, key_id, sealed[:length]) for length in range(len(sealed))]
    wrong += [(OWNER, key_id, flipped(sealed, bit)) for bit in range(len(sealed) * 8)]
    wrong += [(OWNER, key_id, sealed + b"\0"), (OWNER, "0" * 16, sealed), (OWNER, "", sealed)]
    keys = (tmp_path / "home" / "vault.key").read_text().split()
    told = set()
    for opener, case in [*((vault, case) for case in wrong), (other, (OWNER, key_id, sealed))]:
        with pytest.raises(ExchangeUnavailable) as refused:
            opener.unseal(*case)
        told.add(refused.value.detail.replace("124", "123").replace("bitstamp", "binance"))
        assert not [s for s in (*CANARY, *keys) if s in everything_told(refused.value)]

    assert told == {
        "the credentials of binance:123 do not unseal: nothing was sent; the operator runs"
        " `exec-mcp account set-credentials binance:123`"
    }


def other_owners():
    yield OWNER._replace(exchange="bitstamp")
    yield OWNER._replace(identifier="124")
    yield OWNER._replace(environment="testnet")
    yield OWNER._replace(version=2)


def flipped(sealed, bit):
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def everything_told(error):
    lines = traceback.TracebackException.from_exception(error).format()
    return "".join(lines) + repr(error) + repr(error.facts) + repr(error.__context__)


def test_no_way_of_writing_a_vault_shows_a_key(tmp_path):
    vault = open_vault(tmp_path)
    vault.add_key()
    keys = (tmp_path / "vault.key").read_text().split()

    shown = repr(vault) + str(vault) + f"{vault}" + repr([vault])

    assert len(keys) == 3
    assert not [key for key in keys if key in shown]
    assert repr(vault.token_key) not in shown
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            leave(vault)


async def test_an_account_has_its_own_credentials_and_one_without_has_none(exec_mcp):
    made = await keep_three(exec_mcp)
    bare = await add_account(exec_mcp, "bare")

    assert await kept(exec_mcp, made["two"]) == credentials_of("two")
    assert await kept(exec_mcp, bare) is None


async def test_swapped_rows_open_for_nobody(exec_mcp):
    made = await keep_three(exec_mcp)
    one, two = made["one"].number, made["two"].number
    rows = {number: await row(exec_mcp, SEALED, number) for number in (one, two)}
    for number, other in ((one, two), (two, one)):
        sealed = rows[other]["sealed"]
        await change(
            exec_mcp, "UPDATE credentials SET sealed = ? WHERE account = ?", sealed, number
        )

    for name in ("one", "two"):
        with pytest.raises(ExchangeUnavailable, match=f"paper:{name} do not unseal"):
            await kept(exec_mcp, made[name])
    assert await kept(exec_mcp, made["three"]) == credentials_of("three")


async def test_credentials_of_another_version_do_not_open(exec_mcp):
    account = await add_account(exec_mcp, "one")
    await keep(exec_mcp, account)

    with pytest.raises(ExchangeUnavailable):
        await kept(exec_mcp, of_version(account, 2))

    await keep(exec_mcp, of_version(account, 2), credentials_of("new"))
    assert await kept(exec_mcp, of_version(account, 2)) == credentials_of("new")
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM credentials"))["n"] == 1


async def test_what_cannot_be_opened_is_told_by_its_account(exec_mcp):
    made = await keep_three(exec_mcp)
    number = made["two"].number
    await change(exec_mcp, "UPDATE credentials SET sealed = x'00' WHERE account = ?", number)

    found = await exec_mcp.backend.desk.database.read(
        lambda tx: vault.unreadable(tx, exec_mcp.backend.vault)
    )

    assert found == (3, ["paper:two"])


@pytest.mark.parametrize("how", ["shredded", "replaced"])
async def test_what_is_deleted_leaves_no_bytes_in_the_file(exec_mcp, how):
    account = await add_account(exec_mcp, "one")
    long = {f"field{i}": Secret(f"{i}" * 900) for i in range(9)}  # Pages of its own.
    await keep(exec_mcp, account, long)
    sealed = (await row(exec_mcp, SEALED, account.number))["sealed"]
    parts = [sealed[i:j] for i, j in pairwise(range(0, len(sealed), 64))]
    before = checkpoint(exec_mcp.home)

    if how == "shredded":
        shredded = [
            await exec_mcp.backend.desk.database.write(lambda tx: vault.shred(tx, account))
            for _ in range(2)
        ]
        assert shredded == [True, False]
        assert await kept(exec_mcp, account) is None
    else:
        await keep(exec_mcp, account)

    after = checkpoint(exec_mcp.home)
    assert sum(part in before for part in parts) > len(parts) * 0.9
    assert [part for part in parts if part in after] == []


async def test_planted_secrets_are_in_no_file_no_backup_and_no_log(
    exec_mcp, tmp_path, caplog, capfd
):
    lines = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(lines), [logs.redact, structlog.processors.JSONRenderer()]
    )
    with caplog.at_level(logging.DEBUG):
        account = await add_account(exec_mcp, "one")
        await keep(exec_mcp, account)
        found = await kept(exec_mcp, account)
        log.debug("found", found=found, all=[found], why=str(found), backend=exec_mcp.backend)
        logging.debug("found %s %r", found, exec_mcp.backend)
        await vault.rotate(exec_mcp.backend.desk, exec_mcp.backend.vault, "operator")
        exec_mcp.backend.desk.database.backup(tmp_path / "copy.db")
    said = lines.getvalue() + caplog.text + "".join(capfd.readouterr())
    said += (await exec_mcp.operator.get("/api/v1/audit/export")).text
    files = [tmp_path / "copy.db", *exec_mcp.home.iterdir()]

    assert found == CREDENTIALS
    assert said.count("***") > 2
    assert "vault.rotated" in said
    assert {"exec-mcp.db", "exec-mcp.db-wal", "vault.key", "copy.db"} <= {f.name for f in files}
    for text in CANARY:
        assert text not in said
        assert [file.name for file in files if text.encode() in file.read_bytes()] == []
    keys = [word for word in (exec_mcp.home / "vault.key").read_text().split() if len(word) > 16]
    assert len(keys) == 2
    for key in keys:
        assert key not in said
        assert [f.name for f in files if key.encode() in f.read_bytes()] == ["vault.key"]


async def test_without_its_key_text_a_running_vault_seals_nothing(exec_mcp):
    account = await add_account(exec_mcp, "one")
    await keep(exec_mcp, account)
    path = exec_mcp.home / "vault.key"
    text = path.read_text()
    path.unlink()

    with pytest.raises(Refused, match="cannot be read") as missing:
        await keep(exec_mcp, account, credentials_of("new"))
    open_vault(exec_mcp.home)
    with pytest.raises(Refused, match="restart every process") as replaced:
        await keep(exec_mcp, account, credentials_of("new"))
    path.write_text(text)

    assert (missing.value.code, replaced.value.code) == ("storage", "storage")
    assert await kept(exec_mcp, account) == CREDENTIALS
    assert len(await exec_mcp.backend.desk.database.read(credentials.all_rows)) == 1
