"""Authentication v2: the string to sign, the checks of a request, the signature of a reply."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.simulators.bitstamp.wire import auth_refusal, milliseconds
from tests.simulators.http import Reply, Request

FORM_TYPE = "application/x-www-form-urlencoded"
VALIDITY_MS = 150_000
NONCE_MEMORY_MS = 300_000
URL_LIMIT = 2000
_NONCE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MISSING = {
    "x-auth": ("API0012", "Missing X-Auth header"),
    "x-auth-signature": ("API0013", "Missing X-Auth-Signature header"),
    "x-auth-nonce": ("API0014", "Missing X-Auth-Nonce header"),
    "x-auth-timestamp": ("API0015", "Missing X-Auth-Timestamp header"),
    "x-auth-version": ("API0016", "Missing X-Auth-Version header"),
}


@dataclass(slots=True)
class Key:
    """An API key: what it may do (`read`, `trade`, `withdraw`), or the code it is refused with."""

    key: str
    secret: str = field(repr=False)
    rights: frozenset[str]
    refused_with: str = ""


def string_to_sign(request: Request, host: str) -> str:
    """What the client must have signed; `host` is as it stands in the URL the client signs."""
    headers = request.headers
    query = f"?{request.query}" if request.query else ""
    return "".join(
        (
            headers["x-auth"],
            request.method,
            host,
            request.path,
            query,
            headers.get("content-type", ""),
            headers["x-auth-nonce"],
            headers["x-auth-timestamp"],
            headers["x-auth-version"],
            request.body.decode("utf-8", "replace"),
        )
    )


def signature(secret: str, text: str | bytes) -> str:
    """Lower-case hex HMAC-SHA256."""
    data = text.encode() if isinstance(text, str) else text
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def reply_signature(secret: str, nonce: str, timestamp: str, reply: Reply) -> str:
    """X-Server-Auth-Signature: over nonce, timestamp, content type and the body's bytes."""
    head = f"{nonce}{timestamp}{reply.headers.get('content-type', '')}"
    return signature(secret, head.encode() + reply.body)


class Gatekeeper:
    """Checks signed requests, in Bitstamp's order, and remembers nonces."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.keys: dict[str, Key] = {}
        self._clock = clock
        self._nonces: dict[tuple[str, str], int] = {}

    def check(self, request: Request, hosts: Collection[str]) -> Key:
        """The key that signed `request`.

        Raises:
            Refusal: HTTP 403 with an API00xx code.
        """
        headers = request.headers
        _check_form(request)
        key = self._key(headers["x-auth"])
        now = milliseconds(self._clock())
        if abs(now - int(headers["x-auth-timestamp"])) > VALIDITY_MS:
            raise auth_refusal("API0017", "Timestamp is out of bounds")
        given = headers["x-auth-signature"].lower()
        expected = [signature(key.secret, string_to_sign(request, host)) for host in hosts]
        if not any(hmac.compare_digest(given.encode(), one.encode()) for one in expected):
            raise auth_refusal("API0005", "Invalid signature")
        self._burn(key.key, headers["x-auth-nonce"], now)
        return key

    def _key(self, header: str) -> Key:
        scheme, _, name = header.partition(" ")
        if scheme != "BITSTAMP" or not name or " " in name:
            raise auth_refusal("API0011", "Wrong API key format")
        key = self.keys.get(name)
        if key is None:
            raise auth_refusal("API0001", "API key not found")
        if key.refused_with:
            raise auth_refusal(key.refused_with, "The key is no longer accepted")
        return key

    def _burn(self, key: str, nonce: str, now: int) -> None:
        used = self._nonces.get((key, nonce))
        if used is not None and now - used < NONCE_MEMORY_MS:
            raise auth_refusal("API0004", "Invalid nonce")
        self._nonces[key, nonce] = now


def _check_form(request: Request) -> None:
    headers = request.headers
    for name, (code, text) in _MISSING.items():
        if not headers.get(name):
            raise auth_refusal(code, text)
    if headers["x-auth-version"] != "v2":
        raise auth_refusal("API0010", "Wrong X-Auth-Version")
    if not _NONCE.fullmatch(headers["x-auth-nonce"]):
        raise auth_refusal("API0004", "Invalid nonce")
    if not re.fullmatch(r"[0-9]{1,16}", headers["x-auth-timestamp"]):
        raise auth_refusal("API0018", "Wrong timestamp format")
    if len(request.path) + len(request.query) > URL_LIMIT:
        raise auth_refusal("API0021", "URL is too long")
    _check_content_type(headers, request.body)


def _check_content_type(headers: Mapping[str, str], body: bytes) -> None:
    content_type = headers.get("content-type")
    if not body and content_type is not None:
        raise auth_refusal("API0020", "Content-Type must not be present without a body")
    if body and content_type not in (FORM_TYPE, "application/json"):
        raise auth_refusal("API0019", "Content-Type is not accepted")
