"""API keys and the check of what they signed."""

import base64
import binascii
import hashlib
import hmac
import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_LETTERS = string.ascii_letters + string.digits


@dataclass(slots=True)
class Key:
    """One API key of an account: `secret` for HMAC, `private_key` (PKCS#8 PEM) for Ed25519."""

    name: str
    uid: int
    secret: str = ""
    private_key: str = ""
    public: Ed25519PublicKey | None = None
    can_trade: bool = True
    can_withdraw: bool = False
    ip_restricted: bool = False
    ip_allowed: bool = True
    revoked: bool = False

    @property
    def kind(self) -> str:
        return "hmac" if self.public is None else "ed25519"

    def verifies(self, payload: bytes, signature: str) -> bool:
        """Whether this key signed these bytes; `signature` is hex (HMAC) or base64 (Ed25519)."""
        if self.public is None:
            expected = hmac.new(self.secret.encode(), payload, hashlib.sha256).hexdigest()
            return hmac.compare_digest(expected, signature.lower())
        try:
            self.public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def make_key(uid: int, kind: str, dice: random.Random, **options: Any) -> Key:
    """A key of `kind` "hmac" or "ed25519", the same for the same seed."""
    name = "".join(dice.choices(_LETTERS, k=64))
    if kind == "hmac":
        return Key(name, uid, secret="".join(dice.choices(_LETTERS, k=64)), **options)
    if kind != "ed25519":
        raise ValueError(f"kind of key is 'hmac' or 'ed25519', was {kind!r}")
    private = Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Key(name, uid, private_key=pem, public=private.public_key(), **options)


def rest_payload(query: str, body: bytes) -> tuple[bytes, str | None]:
    """What a REST request signed, and its signature.

    Signed is the query as sent followed at once by the body as sent, less the signature.
    """
    signed_query, in_query = _without_signature(query.encode("latin-1"))
    signed_body, in_body = _without_signature(body)
    signature = in_query if in_query is not None else in_body
    if signature is None:
        return signed_query + signed_body, None
    return signed_query + signed_body, unquote_to_bytes(signature).decode("latin-1")


def ws_payload(params: Mapping[str, Any]) -> bytes:
    """What a WebSocket request signed: its parameters sorted by name, raw UTF-8."""
    pairs = sorted((name, value) for name, value in params.items() if name != "signature")
    return "&".join(f"{name}={plain(value)}" for name, value in pairs).encode()


def plain(value: Any) -> str:
    """A JSON value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _without_signature(part: bytes) -> tuple[bytes, bytes | None]:
    found: bytes | None = None
    kept = []
    for piece in part.split(b"&"):
        if piece.startswith(b"signature="):
            found = piece[len(b"signature=") :]
        else:
            kept.append(piece)
    return b"&".join(kept), found
