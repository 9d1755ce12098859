"""Keyrings of the operating system, in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

keyring = pytest.importorskip("keyring", reason="the extra `keyring` is not installed")
backend = pytest.importorskip("keyring.backend")
errors = pytest.importorskip("keyring.errors")


class InMemory(backend.KeyringBackend):  # type: ignore[misc, name-defined]
    """A keyring that works, until it is `locked` or `forgets`."""

    priority = 1

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False
        self.forgets = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise errors.KeyringLocked("locked")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise errors.KeyringLocked("locked")
        if not self.forgets:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self.kept.pop((service, username), None)


@contextmanager
def in_memory() -> Iterator[InMemory]:
    """Let this process's keyring be one in memory."""
    before, made = keyring.get_keyring(), InMemory()
    keyring.set_keyring(made)
    try:
        yield made
    finally:
        keyring.set_keyring(before)
