"""The vault: seals credentials with the home's keys, and gives them to adapters only (Law 9).

The key text's first line is the home's key, which keys the token hashes and is never rotated.
Each further line is a sealing key, newest last; without any, the sealing key is derived from
the home's key.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backend.database import Transaction, to_json
from backend.domain.errors import ExchangeUnavailable, Refused
from backend.domain.secret import Credentials, Secret
from backend.services import Desk
from backend.services.key_text import FILE, NAME, KeyText, open_text
from backend.store import accounts, audit, credentials
from backend.store.accounts import Account
from backend.store.credentials import SealedRow

_NONCE_BYTES = 12
_DAMAGED = (
    f"{NAME} is damaged: restore it, or delete it: every token is then replaced, and every"
    " credential must be set again"
)


class Owner(NamedTuple):
    """Whose credentials they are: bound into the seal, so that no row serves another account."""

    exchange: str
    identifier: str
    environment: str
    version: int


class Keys(NamedTuple):
    """The key text, read.

    Attributes:
        home: keys the token hashes.
        sealing: by key id, newest last; the first is derived from `home`.
    """

    home: bytes
    sealing: Mapping[str, bytes]

    @property
    def newest(self) -> str:
        """Return the id of the key to seal with."""
        return list(self.sealing)[-1]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Vault:
    """The keys of one home.

    Attributes:
        token_key: what token hashes are keyed with.
    """

    token_key: bytes
    _text: KeyText
    _known: dict[str, bytes]

    def __repr__(self) -> str:
        return "Vault(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault is never pickled or copied")

    @property
    def place(self) -> str:
        """Return where the keys lie, in words."""
        return self._text.place

    def seal(self, owner: Owner, given: Credentials) -> tuple[str, bytes]:
        """Return the key's id, and the credentials sealed with it.

        The text is read each time: inside a write no rotation can drop that key before
        this row is there to be seen.

        Raises:
            Refused: `storage`, when the text cannot be read.
        """
        key_id = self._read().newest
        plain = to_json({name: secret.reveal() for name, secret in given.items()})
        nonce = secrets.token_bytes(_NONCE_BYTES)
        key = AESGCM(self._known[key_id])
        return key_id, nonce + key.encrypt(nonce, plain.encode(), _bound_to(owner))

    def unseal(self, owner: Owner, key_id: str, sealed: bytes) -> Credentials:
        """Return the credentials.

        Raises:
            ExchangeUnavailable: another key, another account or version, or damaged.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            if key_id not in self._known:
                self._read()  # Another process has rotated.
            plain = AESGCM(self._known[key_id]).decrypt(nonce, rest, _bound_to(owner))
        except (InvalidTag, KeyError, Refused, ValueError):
            account_id = f"{owner.exchange}:{owner.identifier}"
            raise ExchangeUnavailable(
                f"the credentials of {account_id} do not unseal: nothing was sent; the operator"
                f" runs `exec-mcp account set-credentials {account_id}`"
            ) from None
        return {name: Secret(text) for name, text in json.loads(plain).items()}

    def add_key(self) -> str:
        """Append a fresh sealing key to the text and return its id. Inside a write only."""
        keys, key = self._read(), secrets.token_bytes(32)
        self._write(keys, {**keys.sealing, _key_id(key): key})
        return _key_id(key)

    def keep_keys(self, used: Collection[str]) -> int:
        """Drop the sealing keys but these and the newest. Inside a write only.

        Returns:
            how many were dropped.
        """
        keys = self._read()
        kept = {i: key for i, key in keys.sealing.items() if i in used or i == keys.newest}
        dropped = set(keys.sealing) - set(kept) - {_key_id(_derived(keys.home))}
        if dropped:
            self._write(keys, kept)
        return len(dropped)

    def _read(self) -> Keys:
        try:
            keys = _parse(self._text.read())
        except (OSError, ValueError) as error:
            raise Refused(f"the vault's keys cannot be read: {error}", "storage") from error
        if keys.home != self.token_key:
            raise Refused(f"{NAME} was replaced: restart every process of this home", "storage")
        self._known.clear()
        self._known.update(keys.sealing)
        return keys

    def _write(self, keys: Keys, sealing: Mapping[str, bytes]) -> None:
        try:
            self._text.write(_text_of(Keys(keys.home, sealing)))
        except (OSError, ValueError) as error:
            raise Refused(f"the vault's keys cannot be written: {error}", "storage") from error
        self._read()


def open_vault(home: Path, place: str = FILE) -> Vault:
    """Return the home's vault, its key made on first start.

    It keys the token hashes: with the database alone nobody can forge a token's row.

    Raises:
        SettingError: the keys lie in another place, or there is no OS keyring.
        ValueError: the text is damaged, or others may read it.
    """
    text = open_text(home, place)
    keys = _parse(text.read())
    return Vault(keys.home, text, dict(keys.sealing))


def put(tx: Transaction, vault: Vault, account: Account, given: Credentials) -> None:
    """Seal and store credentials for the account's credential version, which was raised before."""
    _store(tx, vault, account.number, _owner(account, account.credential_version), given)


def load(tx: Transaction, vault: Vault, account: Account) -> Credentials | None:
    """Return the account's credentials, or None: it has none.

    Raises:
        ExchangeUnavailable: they do not unseal.
    """
    row = credentials.find(tx, account.number)
    if row is None:
        return None
    owner = _owner(account, account.credential_version)
    return vault.unseal(owner, row.key_id, row.sealed)


def shred(tx: Transaction, account: Account) -> bool:
    """Delete the account's credentials for good. Says whether it had any."""
    return credentials.delete(tx, account.number)


def unreadable(tx: Transaction, vault: Vault) -> tuple[int, list[str]]:
    """Return how many accounts have credentials, and the ids of those whose do not unseal."""
    rows, wrong = credentials.all_rows(tx), []
    for row in rows:
        account = accounts.by_number(tx, row.account)
        try:
            load(tx, vault, account)
        except ExchangeUnavailable:
            wrong.append(account.id)
    return len(rows), wrong


async def rotate(desk: Desk, vault: Vault, actor: str) -> dict[str, Any]:
    """Seal every credential with a fresh key, then drop the old sealing keys.

    A death between any two steps leaves keys too many, never one too few.

    Raises:
        ExchangeUnavailable: some credentials do not unseal; nothing was changed.
        Refused: `storage`, when the keys or the database cannot be written.
    """
    made = await desk.database.write(lambda tx: renew(tx, vault, actor))
    dropped = await desk.database.write(lambda tx: drop_unused(tx, vault))
    return {**made, "dropped_keys": dropped}


def renew(tx: Transaction, vault: Vault, actor: str) -> dict[str, Any]:
    """Add a key and seal everything with it: the first half of a rotation."""
    opened = list(_unsealed(tx, vault))
    key_id = vault.add_key()  # On the disk before any row needs it.
    for account, owner, given in opened:
        _store(tx, vault, account, owner, given)
    audit.append(tx, "vault.rotated", actor, key_id=key_id, credentials=len(opened))
    return {"key_id": key_id, "credentials": len(opened)}


def drop_unused(tx: Transaction, vault: Vault) -> int:
    """Drop the keys that no row needs: the second half. Returns how many they were."""
    return vault.keep_keys({row.key_id for row in credentials.all_rows(tx)})


def _unsealed(tx: Transaction, vault: Vault) -> Iterator[tuple[int, Owner, Credentials]]:
    for row in credentials.all_rows(tx):
        owner = _owner(accounts.by_number(tx, row.account), row.version)
        yield row.account, owner, vault.unseal(owner, row.key_id, row.sealed)


def _store(tx: Transaction, vault: Vault, account: int, owner: Owner, given: Credentials) -> None:
    key_id, sealed = vault.seal(owner, given)
    credentials.put(tx, SealedRow(account, owner.version, key_id, sealed))


def _owner(account: Account, version: int) -> Owner:
    return Owner(account.exchange, account.identifier, account.environment, version)


def _bound_to(owner: Owner) -> bytes:
    return to_json({**owner._asdict(), "purpose": "credentials"}).encode()


def _parse(text: str) -> Keys:
    first, *lines = text.split("\n")
    home = _decoded(first.strip())
    keys = [_derived(home)]
    named = [line.strip().partition(" ") for line in lines if line.strip()]
    keys += [_decoded(coded) for _, _, coded in named]
    sealing = {_key_id(key): key for key in keys}
    if [key_id for key_id, _, _ in named] != list(sealing)[1:]:
        raise ValueError(_DAMAGED)
    return Keys(home, sealing)


def _text_of(keys: Keys) -> str:
    derived = _key_id(_derived(keys.home))
    named = [f"{key_id} {_coded(key)}" for key_id, key in keys.sealing.items() if key_id != derived]
    return "\n".join((_coded(keys.home), *named, ""))


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError(_DAMAGED)
    return key


def _coded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _key_id(key: bytes) -> str:
    return hmac.digest(key, b"exec-mcp key id", "sha256").hex()[:16]


def _derived(home: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"exec-mcp credentials").derive(home)
