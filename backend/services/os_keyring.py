"""The operating system's keyring, through the optional library `keyring`."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NoKeyring(ValueError):
    """There is none, or it is locked; the message says what to do."""


def read(service: str, user: str) -> str | None:
    """Return what is kept under this name, or None.

    Raises:
        NoKeyring: the library is not installed, or the keyring does not answer.
    """
    found: str | None = _asked(lambda keyring: keyring.get_password(service, user))
    return found


def write(service: str, user: str, text: str) -> None:
    """Keep `text` under this name, and make sure that it is kept.

    Raises:
        NoKeyring: the library is not installed, or the keyring did not keep it.
    """
    _asked(lambda keyring: keyring.set_password(service, user, text))
    if read(service, user) != text:
        raise NoKeyring("the OS keyring did not keep what it was given: see `keyring diagnose`")


def _asked(question: Callable[[Any], T]) -> T:
    try:
        import keyring
        import keyring.errors
    except ImportError as error:
        raise NoKeyring(
            "the library for the OS keyring is missing: pip install 'exec-mcp[keyring]'"
        ) from error
    try:
        return question(keyring)
    except (keyring.errors.KeyringError, RuntimeError, OSError) as error:
        raise NoKeyring(
            f"the OS keyring does not answer ({type(error).__name__}): unlock it, and see"
            " `keyring diagnose`"
        ) from error
