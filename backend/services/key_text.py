"""Where the text of the home's keys lies: in `vault.key`, or in the OS keyring.

With the keyring, `vault.key` says so in one word: a process that was started without the
setting must not take the home for a new one.
"""

import base64
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.config import PREFIX, SettingError
from backend.disk import sync_folder
from backend.services import os_keyring
from backend.services.os_keyring import NoKeyring

FILE, KEYRING = "file", "keyring"
NAME = "vault.key"
_SERVICE = "exec-mcp"
_MOVED = "keyring"


class KeyText(Protocol):
    """The text's place.

    Attributes:
        place: in words, for `doctor`.
    """

    @property
    def place(self) -> str: ...

    def read(self) -> str:
        """Return the text.

        Raises:
            OSError, ValueError: it cannot be had; the message says what to do.
        """
        ...

    def write(self, text: str) -> None:
        """Replace the text: whoever reads sees the old one or the new one, whole."""
        ...


@dataclass(frozen=True, slots=True)
class InFile:
    """The text in a private file."""

    path: Path

    @property
    def place(self) -> str:
        return str(self.path)

    def read(self) -> str:
        with self.path.open(encoding="ascii", errors="replace") as file:
            _refuse_shared(self.path, os.fstat(file.fileno()))
            return file.read()

    def write(self, text: str) -> None:
        # One writer at a time: the name is the same, so that no copy is ever left behind.
        fresh = self.path.resolve().with_name(f"{NAME}.new")
        fresh.unlink(missing_ok=True)  # Left by a process that died here.
        self._replace(text, fresh)

    def say_moved(self) -> None:
        """Put the word that the text is in the keyring in its place. Several may, at once."""
        fresh = self.path.resolve().with_name(f"{NAME}.{secrets.token_hex(4)}")
        self._replace(f"{_MOVED}\n", fresh)

    def _replace(self, text: str, fresh: Path) -> None:
        write_private(fresh, text.encode())
        os.replace(fresh, self.path.resolve())  # It may be a link to another disk.
        sync_folder(fresh.parent)


@dataclass(frozen=True, slots=True)
class InKeyring:
    """The text in the OS keyring, under the home's path."""

    home: Path

    @property
    def place(self) -> str:
        return f"the OS keyring ({_SERVICE}, {self.home})"

    def read(self) -> str:
        text = os_keyring.read(_SERVICE, str(self.home))
        if text is None:
            raise NoKeyring(
                f"the OS keyring has no key of {self.home}: restore it, or delete {NAME}: every"
                " token is then replaced, and every credential must be set again"
            )
        return text

    def write(self, text: str) -> None:
        os_keyring.write(_SERVICE, str(self.home), text)


def open_text(home: Path, place: str) -> KeyText:
    """Return the place of the home's text, made on first start.

    Args:
        place: `file` or `keyring`; a text in the file moves to the keyring.

    Raises:
        SettingError: the text lies elsewhere, or there is no keyring to hold it.
        ValueError: others may read the file.
    """
    file = InFile(home / NAME)
    if not file.path.exists():
        _make(file.path)
    moved = (text := file.read()).strip() == _MOVED
    if place == FILE:
        if moved:
            raise SettingError(f"this home's key is in the OS keyring: set {PREFIX}VAULT=keyring")
        return file
    keyring = InKeyring(home)
    try:
        if not moved:
            _move(text, file, keyring)
        keyring.read()
    except NoKeyring as error:
        raise SettingError(f"{PREFIX}VAULT=keyring: {error}") from error
    return keyring


def _make(path: Path) -> None:
    fresh = path.with_name(f"{NAME}.{secrets.token_hex(4)}")
    write_private(fresh, base64.b64encode(secrets.token_bytes(32)) + b"\n")
    try:
        os.link(fresh, path)  # The first of several processes wins; nobody sees half a key.
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def _move(text: str, file: InFile, keyring: InKeyring) -> None:
    kept = os_keyring.read(_SERVICE, str(keyring.home))
    # Another process that starts may have moved it, and rotated it since.
    if kept is None or kept.split("\n")[0].strip() != text.split("\n")[0].strip():
        keyring.write(text)
    file.say_moved()


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read, and see it on the disk."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _refuse_shared(path: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise ValueError(f"others may read {path.name} (mode {mode:o}): chmod 600 {path}")
    if found.st_uid != os.geteuid():
        raise ValueError(f"{path.name} belongs to another user: chown it, or run as that user")
