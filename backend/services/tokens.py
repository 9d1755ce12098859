"""API tokens: `xmcp_<key id>_<secret>_<checksum>`, shown once, stored as a keyed hash."""

import base64
import hmac
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.errors import Forbidden, NotFound, Refused, Unauthorised
from backend.services import Desk
from backend.services.accounts import check_limits
from backend.services.key_text import write_private
from backend.store import accounts, audit, tokens
from backend.store.tokens import Token

SCOPES = ("read", "trade", "approve", "admin")
_TOKEN = re.compile(r"xmcp_([a-z0-9]{10})_([A-Za-z0-9]{43})_([0-9a-f]{8})", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DAYS_MOST = 3650

_OPERATOR = "operator"
_FIRST = {"agent": ("read", "trade"), _OPERATOR: ("read", "approve", "admin")}


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
    `vault.key` is the operator. With a live account no operator's token is written to the
    disk: see `recover_operator`.
    """
    key_id = hashed(key, "vault.key")

    def body(tx: Transaction) -> None:
        other_key = tokens.key_id(tx) != key_id
        if other_key:
            _revoke_all(tx)
            tokens.set_key_id(tx, key_id)
        for name in _FIRST:
            if other_key or not tokens.of_principal(tx, name):
                _first(tx, desk, key, name)  # Else another was first, or it was revoked.

    def complete(tx: Transaction) -> bool:
        known = all(tokens.of_principal(tx, name) for name in _FIRST)
        return known and tokens.key_id(tx) == key_id

    if not await desk.database.read(complete):
        await desk.database.write(body)


def _revoke_all(tx: Transaction) -> None:
    count = sum(tokens.revoke(tx, name) for name in {t.principal for t in tokens.all_tokens(tx)})
    if count:
        audit.append(tx, "tokens.replaced", "system", count=count, why="a new vault.key")


def _first(tx: Transaction, desk: Desk, key: bytes, name: str) -> None:
    path = desk.config.home / f"{name}.token"
    path.unlink(missing_ok=True)  # Left by a start that died before its commit, or revoked.
    if name == _OPERATOR and accounts.any_live(tx):
        return
    token, kid = new_token()
    write_private(path, token.encode() + b"\n")
    _insert_first(tx, key, name, token, kid)
    audit.append(tx, "token.created", "system", kid=kid, principal=name, scopes=_FIRST[name])


def _insert_first(tx: Transaction, key: bytes, name: str, token: str, kid: str) -> None:
    tokens.insert(
        tx,
        kid=kid,
        principal=name,
        hash=hashed(key, token),
        scopes=_FIRST[name],
        accounts=(),
        limits={},
        expires_at=None,
    )


async def retire_operator_file(desk: Desk, key: bytes) -> str | None:
    """Replace the operator's token that lies in `operator.token`, and delete the file.

    For the first live account: what may approve real money does not lie on the disk.

    Returns:
        the new token, to be shown once; None when the file is gone or its token dead.
    """
    path = desk.config.home / f"{_OPERATOR}.token"
    try:
        match = _TOKEN.fullmatch(path.read_text().strip())
    except FileNotFoundError:
        return None
    token, kid = new_token()

    def body(tx: Transaction) -> bool:
        old = tokens.find(tx, match[1]) if match else None
        if old is None or not old.usable(tx.now):
            return False
        tokens.revoke_one(tx, old.kid)
        tokens.insert(
            tx,
            kid=kid,
            principal=old.principal,
            hash=hashed(key, token),
            scopes=sorted(old.scopes),
            accounts=old.accounts,
            limits=old.limits,
            expires_at=old.expires_at,
        )
        audit.append(
            tx, "token.replaced", "system", principal=old.principal, old_kid=old.kid, kid=kid
        )
        return True

    replaced = await desk.database.write(body)
    path.unlink(missing_ok=True)
    return token if replaced else None


async def recover_operator(desk: Desk, key: bytes) -> str:
    """Make an operator's token and return it, to be shown once.

    For a home with live accounts whose `vault.key` was deleted: no operator's token is
    left, and none is written to the disk. The credentials went with the key.

    Raises:
        Refused: some operator's token is alive.
    """
    token, kid = new_token()

    def body(tx: Transaction) -> None:
        for other in tokens.all_tokens(tx):
            if other.usable(tx.now) and "admin" in other.scopes and not other.accounts:
                raise Refused(
                    f"the token {other.principal!r} is alive and an operator's: use that one; if"
                    " it is lost, stop every process of this home and delete vault.key first"
                )
        _insert_first(tx, key, _OPERATOR, token, kid)
        audit.append(tx, "token.recovered", "system", kid=kid, principal=_OPERATOR)

    await desk.database.write(body)
    return token
