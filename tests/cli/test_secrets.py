"""The vault's keys and the operator's token, from the command line."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.app import Backend, open_backend
from backend.config import read_config
from backend.services import tokens, vault
from backend.store import accounts, credentials
from backend.store.accounts import Account
from tests.cli.results import Result
from tests.services.keyrings import InMemory, in_memory
from tests.services.vaults import CANARY, CREDENTIALS

Command = Callable[..., Result]


@pytest.fixture
def keyring() -> Iterator[InMemory]:
    with in_memory() as made:
        yield made


def in_home(work: Callable[[Backend], Awaitable[Any]]) -> Any:
    """Do something to the home that no command does."""

    async def opened() -> Any:
        async with open_backend(read_config(), background=False) as backend:
            return await work(backend)

    return asyncio.run(opened())


def keep_credentials(environment: str = "testnet") -> None:
    """Add an account with credentials."""

    def body(tx: Any, using: vault.Vault) -> Account:
        named = {"exchange": "paper", "identifier": "one", "name": "one", "currency": "USD"}
        made = accounts.insert(tx, **named, environment=environment, settings={}, limits={})
        vault.put(tx, using, made, CREDENTIALS)
        return made

    in_home(lambda b: b.desk.database.write(lambda tx: body(tx, b.vault)))


def kept() -> Any:
    def body(tx: Any, using: vault.Vault) -> Any:
        account = accounts.find(tx, "paper:one")
        assert account is not None
        return vault.load(tx, using, account)

    return in_home(lambda b: b.desk.database.read(lambda tx: body(tx, b.vault)))


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


# --- vault rotate ---


def test_a_rotation_tells_what_it_did_and_shows_no_key(exec_mcp: Command, home: Path):
    keep_credentials()

    said = exec_mcp("vault", "rotate")
    told = exec_mcp("vault", "rotate", "--json")

    assert (said.code, told.code) == (0, 0)
    assert said.out.startswith("1 credentials are sealed with the fresh key ")
    assert (told.json["credentials"], told.json["dropped_keys"]) == (1, 1)
    keys = [word for word in (home / "vault.key").read_text().split() if len(word) > 16]
    assert not [key for key in (*keys, *CANARY) if key in said.out + told.out]
    assert kept() == CREDENTIALS
    assert exec_mcp("audit", "verify").code == 0


def test_only_an_operator_of_all_accounts_rotates(
    exec_mcp: Command, home: Path, monkeypatch: pytest.MonkeyPatch
):
    bound = exec_mcp(
        *("token", "create", "--name", "b", "--scopes", "admin", "--accounts", "paper:main"),
        "--json",
    ).json["token"]
    (home / "operator.token").unlink()
    text = (home / "vault.key").read_text()

    for token in (bound, (home / "agent.token").read_text(), "xmcp_wrong"):
        pipe(monkeypatch, token)
        refused = exec_mcp("vault", "rotate")
        assert refused.code == 1
        assert "operator" in refused.err
        assert token.strip() not in refused.err
    assert (home / "vault.key").read_text() == text


def test_a_rotation_with_a_damaged_row_is_refused_and_says_whose_it_is(exec_mcp: Command):
    keep_credentials()
    damage()

    refused = exec_mcp("vault", "rotate")

    assert refused.code == 1
    assert "account set-credentials paper:one" in refused.err


def damage() -> None:
    row = in_home(lambda b: b.desk.database.read(credentials.all_rows))[0]
    worse = credentials.SealedRow(row.account, row.version, row.key_id, row.sealed[:-1])
    in_home(lambda b: b.desk.database.write(lambda tx: credentials.put(tx, worse)))


# --- doctor ---


def findings(result: Result) -> dict[str, Any]:
    return {finding["what"]: finding for finding in result.json["findings"]}


def test_doctor_tells_where_the_key_is_and_that_all_unseal(exec_mcp: Command, home: Path):
    keep_credentials()

    result = exec_mcp("doctor", "--json")
    found = findings(result)

    assert found["vault"]["status"] == "ok"
    assert found["vault"]["found"] == f"{home / 'vault.key'}, 1 credentials, all unseal"
    assert found["setting vault"]["found"] == "file"
    keys = (home / "vault.key").read_text().split()
    assert not [key for key in (*keys, *CANARY) if key in result.out]


def test_doctor_finds_credentials_that_do_not_unseal(exec_mcp: Command):
    keep_credentials()
    damage()

    result = exec_mcp("doctor", "--json")

    assert result.code == 1
    assert findings(result)["vault"]["status"] == "wrong"
    assert "paper:one do not unseal" in findings(result)["vault"]["found"]


def test_doctor_finds_an_operators_token_beside_a_live_account(exec_mcp: Command, home: Path):
    keep_credentials("live")

    before = exec_mcp("doctor", "--json")
    (home / "operator.token").unlink()
    after = exec_mcp("doctor", "--json")

    assert findings(before)["operator.token"]["status"] == "wrong"
    assert before.code == 1
    assert "operator.token" not in findings(after)


def test_doctor_finds_a_keyring_that_is_missing(exec_mcp: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EXEC_MCP_VAULT", "keyring")
    monkeypatch.setitem(sys.modules, "keyring", None)

    result = exec_mcp("doctor")
    other = exec_mcp("trades")

    assert result.code == 1
    assert "pip install 'exec-mcp[keyring]'" in result.out
    assert (other.code, other.out) == (2, "")


# --- the operator's token ---


def retire() -> str:
    made: str = in_home(lambda b: tokens.retire_operator_file(b.desk, b.key))
    return made


def test_a_remembered_token_is_used_when_the_file_is_gone(
    exec_mcp: Command, keyring: InMemory, home: Path, monkeypatch: pytest.MonkeyPatch
):
    token = retire()
    pipe(monkeypatch, token + "\n")

    remembered = exec_mcp("token", "remember")
    pipe(monkeypatch, "")
    listed = exec_mcp("token", "list")

    assert (remembered.code, listed.code) == (0, 0)
    assert keyring.kept == {("exec-mcp operator", str(home)): token}
    assert token not in remembered.out + remembered.err + listed.out
    assert not [f for f in home.iterdir() if token.encode() in f.read_bytes()]


def test_the_file_comes_before_the_keyring(exec_mcp: Command, keyring: InMemory, home: Path):
    keyring.kept["exec-mcp operator", str(home)] = "xmcp_old"

    assert exec_mcp("trades").code == 0


def test_a_token_that_is_not_valid_is_not_remembered(
    exec_mcp: Command, keyring: InMemory, monkeypatch: pytest.MonkeyPatch
):
    for text in ("xmcp_wrong\n", ""):
        pipe(monkeypatch, text)
        refused = exec_mcp("token", "remember")
        assert refused.code == 1
        assert "xmcp_wrong" not in refused.err
    assert keyring.kept == {}


@pytest.mark.parametrize("trouble", ["not installed", "locked"])
def test_without_a_keyring_a_token_is_typed_each_time_and_never_remembered(
    exec_mcp: Command, keyring: InMemory, monkeypatch: pytest.MonkeyPatch, trouble: str
):
    token = retire()
    keyring.locked = trouble == "locked"
    if trouble == "not installed":
        monkeypatch.setitem(sys.modules, "keyring", None)

    pipe(monkeypatch, token)
    refused = exec_mcp("token", "remember")
    pipe(monkeypatch, token)
    piped = exec_mcp("trades")

    assert refused.code == 1
    assert ("pip install" if trouble == "not installed" else "unlock it") in refused.err
    assert piped.code == 0


def test_with_live_accounts_a_lost_operators_token_is_recovered_at_the_price_of_the_credentials(
    exec_mcp: Command, home: Path, monkeypatch: pytest.MonkeyPatch
):
    keep_credentials("live")
    lost = retire()
    pipe(monkeypatch, "")

    too_soon = exec_mcp("token", "recover")
    (home / "vault.key").unlink()
    recovered = exec_mcp("token", "recover")
    token = recovered.out.splitlines()[-1]
    pipe(monkeypatch, token)
    listed = exec_mcp("token", "list")
    pipe(monkeypatch, lost)
    dead = exec_mcp("token", "list")

    assert too_soon.code == 1
    assert "'operator' is alive" in too_soon.err
    assert (recovered.code, listed.code, dead.code) == (0, 0, 1)
    assert not (home / "operator.token").exists()
    assert "paper:one do not unseal" in exec_mcp("doctor").out
