"""Typed reading of a request's parameters, with the exchange's own complaints."""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from urllib.parse import unquote_plus

from .errors import ApiError, illegal, mandatory

DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER = r"^[0-9]{1,20}$"
CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
_PATTERNS = {pattern: re.compile(pattern) for pattern in (DECIMAL, INTEGER, CLIENT_ID)}
_SIGNING = frozenset({"timestamp", "recvWindow", "signature", "apiKey"})
_WINDOW_LIMIT_MS = 60000


def parse(query: str, body: bytes) -> dict[str, str]:
    """Parameters of a REST request; the query wins over the body. Raises ApiError -1101."""
    return {**_pairs(body.decode("latin-1")), **_pairs(query)}


def _pairs(encoded: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in filter(None, encoded.split("&")):
        name, _, value = piece.partition("=")
        name = unquote_plus(name)
        if name in found:
            raise ApiError(-1101, "Duplicate values for a parameter detected.")
        found[name] = unquote_plus(value)
    return found


class Params:
    """The parameters of one request, read by name and type. Raises ApiError for a wrong one."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        self.raw = raw

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def only(self, allowed: Collection[str]) -> None:
        """Refuse parameters that nobody reads."""
        sent = [name for name in self.raw if name not in _SIGNING]
        extra = [name for name in sent if name not in allowed]
        if not extra:
            return
        if not allowed:
            raise ApiError(-1101, f"Too many parameters; expected '0' and received '{len(sent)}'.")
        read = len(self.raw) - len(extra)
        text = f"read '{read}' parameter(s) but was sent '{len(self.raw)}'."
        raise ApiError(-1104, f"Not all sent parameters were read; {text}")

    def optional(self, name: str) -> str | None:
        value = self.raw.get(name)
        if value == "":
            raise ApiError(-1105, f"Parameter '{name}' was empty.")
        return value

    def required(self, name: str) -> str:
        if not self.raw.get(name):
            raise mandatory(name)
        return self.raw[name]

    def decimal(self, name: str, places: int = 20) -> Decimal | None:
        """A plain decimal of at most `places` decimals."""
        value = self._matching(name, DECIMAL)
        if value is None:
            return None
        if len(value.partition(".")[2]) > places:
            raise ApiError(-1111, f"Parameter '{name}' has too much precision.")
        return Decimal(value)

    def integer(self, name: str) -> int | None:
        value = self._matching(name, INTEGER)
        return None if value is None else int(value)

    def time(self, name: str) -> int | None:
        """A time in ms; microseconds are told by their size."""
        value = self.integer(name)
        return value // 1000 if value is not None and value >= 10**14 else value

    def client_id(self, name: str) -> str | None:
        return self._matching(name, CLIENT_ID)

    def flag(self, name: str, default: bool) -> bool:
        value = self.optional(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise illegal(name, "true|false")
        return value.lower() == "true"

    def choice(self, name: str, allowed: Collection[str], error: ApiError) -> str:
        value = self.required(name)
        if value not in allowed:
            raise error
        return value

    def limit(self, default: int, maximum: int) -> int:
        value = self.integer("limit")
        if value == 0:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(default if value is None else value, maximum)

    def window_ms(self) -> Decimal:
        """recvWindow: 5000 unless sent, at most 60000, up to three decimals."""
        value = self.decimal("recvWindow", places=3)
        if value is None:
            return Decimal(5000)
        if value > _WINDOW_LIMIT_MS:
            raise ApiError(-1131, "recvWindow must be less than 60000.")
        return value

    def timestamp_ms(self) -> Decimal:
        """The mandatory timestamp in ms, with microseconds as decimals."""
        self.required("timestamp")
        value = self.integer("timestamp") or 0
        return Decimal(value) / 1000 if value >= 10**14 else Decimal(value)

    def _matching(self, name: str, pattern: str) -> str | None:
        value = self.optional(name)
        if value is not None and not _PATTERNS[pattern].match(value):
            raise illegal(name, pattern)
        return value
