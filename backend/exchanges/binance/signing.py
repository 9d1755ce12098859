"""Signing: HMAC-SHA256 or Ed25519 over the bytes as they go out.

REST: percent-encoded first, then signed. WebSocket API: parameters sorted by name, raw UTF-8.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from backend.domain.secret import Credentials, Secret

CREDENTIALS: Mapping[str, str] = {
    "api_key": "the API key",
    "api_secret": "the secret of an HMAC key; leave it out with private_key",
    "private_key": "the PKCS#8 PEM of an Ed25519 key; leave it out with api_secret",
}

Params = Mapping[str, str | int]


class Signer(Protocol):
    """One key of an account. Neither its repr nor its errors show anything of it."""

    key: Secret

    def sign(self, payload: bytes) -> str:
        """Return the signature as text: hexadecimal or base64."""
        ...


class HmacSigner:
    """Signs with a shared secret."""

    def __init__(self, key: Secret, secret: Secret) -> None:
        self.key = key
        self._secret = secret

    def sign(self, payload: bytes) -> str:
        """Return the hexadecimal HMAC-SHA256."""
        return hmac.digest(self._secret.reveal().encode(), payload, "sha256").hex()


class Ed25519Signer:
    """Signs with a private key."""

    def __init__(self, key: Secret, private_key: Secret) -> None:
        self.key = key
        self._private = _ed25519(private_key)

    def sign(self, payload: bytes) -> str:
        """Return the base64 of the signature."""
        return base64.b64encode(self._private.sign(payload)).decode()


def read_signer(credentials: Credentials) -> Signer:
    """Return the signer for a key's parts.

    Raises:
        ValueError: a part is missing, unknown or malformed; the sentence shows no secret.
    """
    unknown = set(credentials) - set(CREDENTIALS)
    if unknown:
        raise ValueError(f"unknown credentials {sorted(unknown)}; valid: {', '.join(CREDENTIALS)}")
    given = {name: part for name, part in credentials.items() if part.reveal().strip()}
    if "api_key" not in given or not _is_plain(given["api_key"]):
        raise ValueError("api_key is missing or malformed")
    if ("api_secret" in given) == ("private_key" in given):
        raise ValueError("give exactly one of api_secret (HMAC) and private_key (Ed25519)")
    key = Secret(given["api_key"].reveal().strip())
    if "api_secret" in given:
        if not _is_plain(given["api_secret"]):
            raise ValueError("api_secret is malformed")
        return HmacSigner(key, Secret(given["api_secret"].reveal().strip()))
    return Ed25519Signer(key, given["private_key"])


def rest_query(params: Params) -> str:
    """Return parameters as they stand in a URL or form, percent-encoded."""
    return urlencode(list(params.items()), quote_via=quote)


def signed_query(signer: Signer, params: Params) -> str:
    """Return the same with the signature as its last parameter."""
    query = rest_query(params)
    return f"{query}&signature={quote(signer.sign(query.encode('ascii')), safe='')}"


def signed_params(signer: Signer, params: Params) -> dict[str, str | int]:
    """Return the parameters of a WebSocket request, with key and signature."""
    full = {**params, "apiKey": signer.key.reveal()}
    full["signature"] = signer.sign(socket_payload(full.items()))
    return full


def socket_payload(params: Iterable[tuple[str, str | int]]) -> bytes:
    """Return what a WebSocket request signs."""
    return "&".join(f"{name}={value}" for name, value in sorted(params)).encode()


def _is_plain(part: Secret) -> bool:
    text = part.reveal().strip()
    return text.isascii() and text.isprintable()


def _ed25519(private_key: Secret) -> Ed25519PrivateKey:
    try:
        loaded = load_pem_private_key(private_key.reveal().strip().encode(), password=None)
    except (ValueError, TypeError):
        loaded = None
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError("private_key must be the PKCS#8 PEM of an Ed25519 key without a password")
    return loaded
