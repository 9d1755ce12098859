"""API tokens: `xmcp_<key id>_<secret>_<checksum>`, shown once, stored as a keyed hash."""

import base64
import binascii
import hmac
import os
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.errors import Forbidden, NotFound, Refused, Unauthorised
from backend.services import Desk
from backend.services.accounts import check_limits
from backend.store import accounts, audit, tokens
from backend.store.tokens import Token

SCOPES = ("read", "trade", "approve", "admin")
_TOKEN = re.compile(r"xmcp_([a-z0-9]{10})_([A-Za-z0-9]{43})_([0-9a-f]{8})", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DAYS_MOST = 3650

_FIRST = (("agent", ("read", "trade")), ("operator", ("read", "approve", "admin")))


def read_key(home: Path) -> bytes:
    """Return the home's 32-byte key, made on first start.

    It keys the token hashes: with the database alone nobody can forge a token's row.

    Raises:
        ValueError: the file is damaged.
    """
    path = home / "vault.key"
    if not path.exists():
        fresh = home / f"vault.key.{secrets.token_hex(4)}"
        _write_private(fresh, base64.b64encode(secrets.token_bytes(32)) + b"\n")
        try:
            os.link(fresh, path)  # The first of several processes wins; nobody sees half a key.
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    try:
        key = base64.b64decode(path.read_bytes(), validate=False)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError(
            f"{path.name} is damaged: restore it, or delete it: every token is then replaced"
        )
    return key


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def new_token() -> tuple[str, str]:
    """Return a fresh token with 256 random bits, and its key id."""
    kid = base64.b32encode(secrets.token_bytes(7)).decode()[:10].lower()
    number = int.from_bytes(secrets.token_bytes(32))
    secret = "".join(_ALPHABET[number // 62**i % 62] for i in range(43))
    body = f"xmcp_{kid}_{secret}"
    return f"{body}_{zlib.crc32(body.encode()):08x}", kid


def hashed(key: bytes, token: str) -> str:
    """Return what is stored instead of the token."""
    return hmac.digest(key, token.encode(), "sha256").hex()


async def authenticate(desk: Desk, key: bytes, presented: str | None) -> Token:
    """Return whose token this is.

    Raises:
        Unauthorised: none, malformed, unknown, expired or revoked: all told alike.
    """
    match = _TOKEN.fullmatch(presented) if presented else None
    if match is None:
        raise Unauthorised("a valid API token is needed")
    kid = match[1]

    def body(tx: Transaction) -> Token | None:
        token = tokens.find(tx, kid)
        return token if token is not None and token.usable(tx.now) else None

    found = await desk.database.read(body)
    right = hmac.compare_digest(hashed(key, match[0]), found.hash if found else "0" * 64)
    if found is None or not right:
        raise Unauthorised("a valid API token is needed")
    return found


@dataclass(frozen=True, slots=True)
class NewToken:
    """What `token create` asks for. `accounts` empty means all; `days` None means for ever."""

    name: str
    scopes: Sequence[str]
    accounts: Sequence[str] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    days: int | None = 90


async def create(desk: Desk, key: bytes, caller: Token, new: NewToken) -> dict[str, Any]:
    """Make a token. The answer is the only place where it is ever shown.

    Raises:
        Refused: a malformed name, unknown scopes or accounts, or `trade` with `approve`.
        Forbidden: who may trade cannot make an approver: it would approve itself (Law 10).
    """
    _check(desk, new)
    if "trade" in caller.scopes and {"approve", "admin"} & set(new.scopes):
        raise Forbidden("a token that may trade makes no token that may approve or administer")
    token, kid = new_token()

    def body(tx: Transaction) -> Token:
        for account_id in new.accounts:
            if accounts.find(tx, account_id) is None:
                raise Refused(f"there is no account {account_id[:80]}")
        expires = tx.now + timedelta(days=new.days) if new.days else None
        tokens.insert(
            tx,
            kid=kid,
            principal=new.name,
            hash=hashed(key, token),
            scopes=new.scopes,
            accounts=new.accounts,
            limits=new.limits,
            expires_at=expires,
        )
        audit.append(
            tx,
            "token.created",
            caller.principal,
            kid=kid,
            principal=new.name,
            scopes=sorted(new.scopes),
            accounts=list(new.accounts),
        )
        made = tokens.find(tx, kid)
        assert made is not None
        return made

    return {**shown(await desk.database.write(body)), "token": token}


def _check(desk: Desk, new: NewToken) -> None:
    if not _NAME.fullmatch(new.name):
        raise Refused(f"a token's name must match {_NAME.pattern}")
    unknown = [scope for scope in new.scopes if scope not in SCOPES]
    if unknown or not new.scopes:
        raise Refused(f"scopes must be among {', '.join(SCOPES)}")
    if {"trade", "approve"} <= set(new.scopes):
        raise Refused("trade and approve never stand on one token: an agent cannot approve itself")
    if new.days is not None and not 1 <= new.days <= _DAYS_MOST:
        raise Refused(f"days must be from 1 to {_DAYS_MOST}")
    check_limits(desk, new.limits)


async def revoke(desk: Desk, actor: str, name: str) -> dict[str, Any]:
    """Revoke every token of a principal, at once.

    Raises:
        NotFound: it has no token that is alive.
    """

    def body(tx: Transaction) -> int:
        count = tokens.revoke(tx, name)
        if not count:
            raise NotFound(f"no live token is called {name[:40]!r}")
        audit.append(tx, "token.revoked", actor, principal=name, count=count)
        return count

    return {"name": name, "revoked": await desk.database.write(body)}


async def listing(desk: Desk) -> dict[str, Any]:
    """Return every token, without secrets."""
    found = await desk.database.read(tokens.all_tokens)
    return {"tokens": [shown(token) for token in found]}


def shown(token: Token) -> dict[str, Any]:
    """Return what may be shown of a token."""
    return {
        "name": token.principal,
        "key_id": token.kid,
        "scopes": sorted(token.scopes),
        "accounts": list(token.accounts),
        "limits": dict(token.limits),
        "created_at": to_et(token.created_at),
        "expires_at": to_et(token.expires_at) if token.expires_at else None,
        "revoked_at": to_et(token.revoked_at) if token.revoked_at else None,
    }


async def ensure_first_tokens(desk: Desk, key: bytes) -> None:
    """Make `agent.token` (read, trade) and `operator.token` (read, approve, admin) once.

    The database remembers which key its tokens were made with: of several processes that
    start at once, and after a start that died, the first one replaces them, once. Another
    key knows no token that was made before: they are revoked, and these two are
    made again. That is the way back for an operator who lost theirs: whoever may delete
    `vault.key` is the operator.
    """
    key_id = hashed(key, "vault.key")

    def body(tx: Transaction) -> None:
        other_key = tokens.key_id(tx) != key_id
        if other_key:
            _revoke_all(tx)
            tokens.set_key_id(tx, key_id)
        for name, scopes in _FIRST:
            _first(tx, desk, key, name, scopes, other_key)

    def complete(tx: Transaction) -> bool:
        known = all(tokens.of_principal(tx, name) for name, _ in _FIRST)
        return known and tokens.key_id(tx) == key_id

    if not await desk.database.read(complete):
        await desk.database.write(body)


def _revoke_all(tx: Transaction) -> None:
    count = sum(tokens.revoke(tx, name) for name in {t.principal for t in tokens.all_tokens(tx)})
    if count:
        audit.append(tx, "tokens.replaced", "system", count=count, why="a new vault.key")


def _first(
    tx: Transaction, desk: Desk, key: bytes, name: str, scopes: Sequence[str], other_key: bool
) -> None:
    if tokens.of_principal(tx, name) and not other_key:
        return  # Another process was first, or the operator revoked it.
    token, kid = new_token()
    path = desk.config.home / f"{name}.token"
    path.unlink(missing_ok=True)  # Left by a start that died before its commit.
    _write_private(path, token.encode() + b"\n")
    tokens.insert(
        tx,
        kid=kid,
        principal=name,
        hash=hashed(key, token),
        scopes=scopes,
        accounts=(),
        limits={},
        expires_at=None,
    )
    audit.append(tx, "token.created", "system", kid=kid, principal=name, scopes=list(scopes))
