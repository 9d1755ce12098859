"""Secrets: values that no log, repr, reply or pickle shows (Law 9)."""

import hmac
from collections.abc import Mapping
from typing import NoReturn


class Secret:
    """A text that only `reveal` gives away.

    `repr`, `str` and `format` show stars; it is neither hashed nor pickled, and compares
    in constant time.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself: for signing and sealing, and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled or copied")


# What an exchange's key consists of, by the names the exchange declares.
Credentials = Mapping[str, Secret]
