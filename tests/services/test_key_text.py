"""The text of the keys: private, whole, in one place, and never taken for a new one."""

import base64
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.config import SettingError
from backend.services import vault
from backend.services.key_text import open_text
from backend.services.vault import open_vault
from backend.testing import stack
from tests.services.keyrings import in_memory
from tests.services.vaults import assert_all_kept, keep_three

pytestmark = pytest.mark.anyio
LINE = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def keyring():
    with in_memory() as made:
        yield made


def test_the_first_start_makes_a_private_key_and_the_next_one_finds_it(tmp_path):
    key = open_vault(tmp_path).token_key

    assert len(key) == 32
    assert open_vault(tmp_path).token_key == key
    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]
    assert (tmp_path / "vault.key").stat().st_mode & 0o777 == 0o600


def test_a_key_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "vault.key").touch(0o600)
    (tmp_path / "vault.key").write_text(f"{LINE}\r\n")

    assert open_vault(tmp_path).token_key == b"k" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path, mode):
    open_vault(tmp_path)
    (tmp_path / "vault.key").chmod(mode)

    with pytest.raises(ValueError, match=rf"others may read .*mode {mode:o}.*chmod 600"):
        open_vault(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(tmp_path):
    open_vault(tmp_path)
    os.chown(tmp_path / "vault.key", 12345, -1)

    with pytest.raises(ValueError, match="belongs to another user"):
        open_vault(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "AAAA\n",
        LINE[:-2] + "\n",
        "é" * 44,
        f"{LINE}\n{LINE}\n",
        f"{LINE}\n{'0' * 16} {LINE}\n",
        f"{LINE}\n{'0' * 16}\n",
        f"{LINE}{LINE}\n",
    ],
)
def test_a_damaged_text_is_refused_and_not_shown(tmp_path, text):
    (tmp_path / "vault.key").touch(0o600)
    (tmp_path / "vault.key").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match="damaged: restore it, or delete it") as refused:
        open_vault(tmp_path)
    assert LINE not in str(refused.value)


def test_a_flipped_letter_in_a_sealing_key_is_found(tmp_path):
    open_vault(tmp_path).add_key()
    path = tmp_path / "vault.key"
    home, key_id, key = path.read_text().split()
    letter = "A" if key[0] != "A" else "B"
    path.write_text(f"{home}\n{key_id} {letter}{key[1:]}\n")

    with pytest.raises(ValueError, match="damaged"):
        open_vault(tmp_path)


def test_a_link_stays_a_link_when_the_text_changes(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "disk").mkdir()
    open_vault(tmp_path / "disk")
    (tmp_path / "home" / "vault.key").symlink_to(tmp_path / "disk" / "vault.key")

    open_vault(tmp_path / "home").add_key()

    assert (tmp_path / "home" / "vault.key").is_symlink()
    assert len((tmp_path / "disk" / "vault.key").read_text().splitlines()) == 2


def test_a_text_that_a_dead_process_left_half_done_is_no_hindrance(tmp_path):
    made = open_vault(tmp_path)
    (tmp_path / "vault.key.new").write_text("half")

    made.add_key()

    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]
    assert open_vault(tmp_path).token_key == made.token_key


# --- the OS keyring ---


def test_a_key_moves_to_the_keyring_and_the_file_only_says_so(tmp_path, keyring):
    key = open_vault(tmp_path).token_key
    text = (tmp_path / "vault.key").read_text()

    assert open_vault(tmp_path, "keyring").token_key == key
    assert open_vault(tmp_path, "keyring").token_key == key
    assert keyring.kept == {("exec-mcp", str(tmp_path)): text}
    assert (tmp_path / "vault.key").read_text() == "keyring\n"
    assert "the OS keyring" in open_vault(tmp_path, "keyring").place


def test_starts_at_once_agree_on_one_key(tmp_path, keyring):
    for place in ("file", "keyring") * 10:
        home = tmp_path / f"{place}-{len(list(tmp_path.iterdir()))}"
        home.mkdir()
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: open_vault(home, place), range(8)))  # noqa: B023

        assert len({vault.token_key for vault in made}) == 1
        assert [path.name for path in home.iterdir()] == ["vault.key"]


def test_a_start_without_the_setting_does_not_take_the_home_for_a_new_one(tmp_path, keyring):
    open_vault(tmp_path, "keyring")

    with pytest.raises(SettingError, match="set EXEC_MCP_VAULT=keyring"):
        open_vault(tmp_path)
    assert (tmp_path / "vault.key").read_text() == "keyring\n"


def test_a_keyring_that_lost_the_key_is_not_given_a_new_one(tmp_path, keyring):
    open_vault(tmp_path, "keyring")
    keyring.kept.clear()

    with pytest.raises(SettingError, match=r"no key of .*: restore it, or delete vault.key"):
        open_vault(tmp_path, "keyring")
    assert keyring.kept == {}


def test_a_start_that_died_in_the_move_ends_it_and_a_slow_one_undoes_no_rotation(tmp_path, keyring):
    text = open_text(tmp_path, "file").read()
    keyring.kept["exec-mcp", str(tmp_path)] = text
    open_vault(tmp_path, "keyring")
    rotated = open_vault(tmp_path, "keyring")
    rotated.add_key()
    (tmp_path / "vault.key").write_text(text)  # What a process saw that started earlier.

    slow = open_vault(tmp_path, "keyring")

    assert slow.token_key == rotated.token_key
    assert len(keyring.kept["exec-mcp", str(tmp_path)].splitlines()) == 2
    assert (tmp_path / "vault.key").read_text() == "keyring\n"


def test_a_deleted_file_is_the_way_to_a_new_key_also_with_a_keyring(tmp_path, keyring):
    old = open_vault(tmp_path, "keyring").token_key
    (tmp_path / "vault.key").unlink()

    fresh = open_vault(tmp_path, "keyring").token_key

    assert fresh != old
    assert open_vault(tmp_path, "keyring").token_key == fresh


@pytest.mark.parametrize("trouble", ["locked", "forgets"])
def test_a_keyring_that_does_not_keep_it_refuses_the_start_and_the_file_stays(
    tmp_path, keyring, trouble
):
    key = open_vault(tmp_path).token_key
    setattr(keyring, trouble, True)

    with pytest.raises(SettingError, match=r"EXEC_MCP_VAULT=keyring: the OS keyring (did|does)"):
        open_vault(tmp_path, "keyring")
    assert open_vault(tmp_path).token_key == key


def test_without_the_library_the_start_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(SettingError, match=r"pip install 'exec-mcp\[keyring\]'"):
        open_vault(tmp_path, "keyring")


async def test_a_server_with_its_key_in_the_keyring_rotates_and_restarts(tmp_path, keyring):
    async with stack(tmp_path / "home", vault="keyring") as opened:
        made = await keep_three(opened)
        await vault.rotate(opened.backend.desk, opened.backend.vault, "operator")
        await opened.restart()
        await assert_all_kept(opened, made)

        assert (await opened.http.get("/api/v1/tokens/self")).status_code == 200
    assert (tmp_path / "home" / "vault.key").read_text() == "keyring\n"
    assert len(next(iter(keyring.kept.values())).splitlines()) == 2
