"""Accounts with credentials, and keyrings, for the tests of the vault."""

from collections.abc import Mapping
from dataclasses import replace

from backend.domain.secret import Credentials, Secret
from backend.services import vault
from backend.services.vault import Vault
from backend.store import accounts
from backend.store.accounts import Account
from backend.testing import Stack

CANARY = "canary-7f3a91-key", "canary-55d0c2-secret"
CREDENTIALS: Credentials = {"key": Secret(CANARY[0]), "secret": Secret(CANARY[1])}


def credentials_of(name: str) -> Credentials:
    """Return credentials that tell whose they are."""
    return {"key": Secret(f"{CANARY[0]}-{name}"), "secret": Secret(f"{CANARY[1]}-{name}")}


async def add_account(stack: Stack, identifier: str, environment: str = "testnet") -> Account:
    """Add an account's row."""
    return await stack.backend.desk.database.write(
        lambda tx: accounts.insert(
            tx,
            exchange="paper",
            identifier=identifier,
            name=identifier,
            environment=environment,
            currency="USD",
            settings={},
            limits={},
        )
    )


async def keep(stack: Stack, account: Account, given: Credentials = CREDENTIALS) -> None:
    """Store credentials as the account's."""
    using = stack.backend.vault
    await stack.backend.desk.database.write(lambda tx: vault.put(tx, using, account, given))


async def keep_three(stack: Stack) -> dict[str, Account]:
    """Add three accounts with credentials of their own."""
    made = {name: await add_account(stack, name) for name in ("one", "two", "three")}
    for name, account in made.items():
        await keep(stack, account, credentials_of(name))
    return made


async def kept(stack: Stack, account: Account, using: Vault | None = None) -> Credentials | None:
    """Load an account's credentials."""
    opener = using or stack.backend.vault
    return await stack.backend.desk.database.read(lambda tx: vault.load(tx, opener, account))


async def assert_all_kept(
    stack: Stack, made: Mapping[str, Account], using: Vault | None = None
) -> None:
    """Every account's credentials are there and its own."""
    for name, account in made.items():
        assert await kept(stack, account, using) == credentials_of(name)


def of_version(account: Account, version: int) -> Account:
    """Return the account as it is after its credential version changed."""
    return replace(account, credential_version=version)
