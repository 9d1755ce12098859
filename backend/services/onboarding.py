"""Adding an account, and setting its credentials: the exchange itself must say whose key it is.

| step                 | durable before | if we die here                       | twice            |
|----------------------|----------------|--------------------------------------|------------------|
| probe the key        | nothing        | nothing happened                     | asks again       |
| add, with its secret | nothing        | before COMMIT: nothing happened      | `account_exists` |
| replace a secret     | the old one    | before COMMIT: the old one is used   | the newer wins   |
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from backend.database import Transaction, to_json
from backend.domain.errors import NO_ANSWER, ExchangeRejected, ExchangeUnavailable, Refused
from backend.domain.money import ZERO
from backend.domain.secret import Credentials
from backend.exchanges import AccountKey, Balance, ExchangeModule, Identity, is_real
from backend.services import Desk, account_key, tokens, vault
from backend.services.accounts import NAME, check_limits
from backend.store import accounts, audit, ledger
from backend.store.accounts import Account

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)

# Of a paper account, where nothing else is said; in its currency.
OPENING_BALANCE = Decimal(100_000)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What `account add` asks for.

    Attributes:
        identifier: the exchange's own name for it; "" takes what the exchange says.
        name: a label; "" takes the identifier.
        environment: None where the exchange has only one.
        balance: opening balance of a paper account, in `currency`.
        settings: the exchange's own options, as text.
        limits: limit by check name, as text; or `approval_threshold`, `band_bps`.
        credentials: by the names that the exchange declares.
        allow_withdrawals: the operator insists on a key that may withdraw.
    """

    exchange: str
    identifier: str = ""
    name: str = ""
    environment: str | None = None
    currency: str = "USD"
    balance: Decimal = OPENING_BALANCE
    settings: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=dict, repr=False)
    allow_withdrawals: bool = False


async def add(desk: Desk, actor: str, new: NewAccount) -> dict[str, Any]:
    """Add an account, with its balances as the exchange tells them.

    Returns:
        the account; with the first live one also `operator_token`, shown only here.

    Raises:
        Refused: a malformed value, an unknown exchange, `account_exists`, a key of another
            account, or one that may withdraw.
        ExchangeUnavailable: the exchange did not say whose key it is.
    """
    module = _checked(desk, new)
    key = AccountKey(
        new.exchange,
        new.identifier,
        _environment(new, module),
        new.currency,
        new.settings,
        new.credentials,
    )
    # Before the exchange is asked: it may open anew what never traded there.
    await desk.database.read(lambda tx: _refuse_known(tx, key))
    if not is_real(module):
        try:
            await module.open_account(key, desk.context, balance=new.balance)
        except ValueError as error:
            raise Refused(str(error)) from None
    identity, opening = await _probe(desk, key)
    if is_real(module):
        key = replace(key, identifier=key.identifier or identity.identifier)
        _refuse_identity(key, identity, new.allow_withdrawals)
    made = await desk.database.write(
        lambda tx: _write(tx, desk, actor, new, key, identity, opening)
    )
    shown = accounts.public(made)
    if made.environment == "live":
        fresh = await tokens.retire_operator_file(desk, desk.vault.token_key)
        if fresh is not None:
            shown["operator_token"] = fresh
    return shown


def _write(
    tx: Transaction,
    desk: Desk,
    actor: str,
    new: NewAccount,
    key: AccountKey,
    identity: Identity,
    opening: Sequence[Balance],
) -> Account:
    _refuse_known(tx, key)
    made = _insert(tx, new, key)
    accounts.set_identity(tx, made.number, asdict(identity))
    if key.credentials:
        vault.put(tx, desk.vault, made, key.credentials)
    told = {balance.currency: balance.total for balance in opening}
    for currency in {*told, *(one.currency for one in ledger.all_funds(tx, made.number))}:
        change = told.get(currency, ZERO) - ledger.funds(tx, made.number, currency).total
        if change:
            ledger.adjust(tx, made.number, currency, change, "opening")
    audit.append(
        tx,
        "account.added",
        actor,
        account=made.number,
        account_id=made.id,
        environment=made.environment,
        opening={b.currency: format(b.total, "f") for b in opening},
        limits=dict(new.limits),
        may_withdraw=identity.may_withdraw,
    )
    return accounts.by_number(tx, made.number)


def _insert(tx: Transaction, new: NewAccount, key: AccountKey) -> Account:
    name = new.name or key.identifier
    deleted = accounts.find_deleted(tx, f"{key.exchange}:{key.identifier}")
    if deleted is None:
        return accounts.insert(
            tx,
            exchange=key.exchange,
            identifier=key.identifier,
            name=name,
            environment=key.environment,
            currency=key.currency,
            settings=new.settings,
            limits=new.limits,
        )
    if (deleted.environment, deleted.currency) != (key.environment, key.currency):
        raise Refused(
            f"{deleted.id} was deleted and is in the record as {deleted.environment} in "
            f"{deleted.currency}: it can only come back as that",
            "account_exists",
        )
    return accounts.revive(
        tx,
        deleted.number,
        name=name,
        settings=to_json(dict(new.settings)),
        limits=to_json(dict(new.limits)),
    )


async def set_credentials(
    desk: Desk,
    actor: str,
    account: Account,
    credentials: Credentials,
    allow_withdrawals: bool = False,
) -> dict[str, Any]:
    """Replace an account's key by another of the same account; plans must be made again.

    Whether or not an order lives: the new key must prove the same identity.

    Raises:
        Refused: the exchange needs none, or as in `add`.
        ExchangeUnavailable: the exchange did not say whose key it is.
    """
    module = desk.exchanges[account.exchange]
    _check_credentials(module, credentials)
    if not is_real(module):
        raise Refused(f"{account.exchange} accounts have no credentials")
    key = account_key(account, credentials)
    identity, _ = await _probe(desk, key)
    _refuse_identity(key, identity, allow_withdrawals)

    def body(tx: Transaction) -> dict[str, Any]:
        changed = accounts.next_credentials(tx, account.number)
        accounts.set_identity(tx, account.number, asdict(identity))
        vault.put(tx, desk.vault, changed, credentials)
        audit.append(
            tx,
            "account.credentials",
            actor,
            account=account.number,
            version=changed.credential_version,
            may_withdraw=identity.may_withdraw,
        )
        return {**accounts.public(changed), "credential_version": changed.credential_version}

    shown = await desk.database.write(body)
    await desk.disconnect(account)
    return shown


async def _probe(desk: Desk, key: AccountKey) -> tuple[Identity, Sequence[Balance]]:
    """Ask the exchange whose key this is, and what the account holds."""
    try:
        connected = await desk.connect(key)
    except ValueError as error:
        raise Refused(str(error)) from None
    try:
        return await connected.identity(), await connected.balances()
    except ExchangeRejected as error:
        raise Refused(
            f"{key.exchange} refused this key ({error.exchange_code}): {error.detail}"
        ) from error
    except NO_ANSWER as error:
        raise ExchangeUnavailable(
            f"{key.exchange} did not say whose key this is: {error.detail}; nothing was changed"
        ) from error
    finally:
        await connected.close()


def _refuse_identity(key: AccountKey, identity: Identity, allow_withdrawals: bool) -> None:
    if identity.identifier != key.identifier:
        raise Refused(
            f"{key.exchange} says that this key belongs to {identity.identifier}, "
            f"not to {key.identifier}"
        )
    if not identity.may_trade:
        raise Refused(f"{key.exchange} says that this key may not trade")
    if identity.may_withdraw is False or allow_withdrawals:
        return
    if identity.may_withdraw:
        raise Refused(
            "this key may withdraw: make one that may only trade, "
            "or insist with allow_withdrawals (--allow-withdrawals)"
        )
    if key.environment != "live":
        return
    raise Refused(
        f"{key.exchange} does not tell whether a key may withdraw: make sure that this one may "
        "not, then insist with allow_withdrawals (--allow-withdrawals)"
    )


def _refuse_known(tx: Transaction, key: AccountKey) -> None:
    account_id = f"{key.exchange}:{key.identifier}"
    if accounts.find(tx, account_id) is not None:
        raise Refused(f"account {account_id} is already configured", "account_exists")


def _checked(desk: Desk, new: NewAccount) -> ExchangeModule:
    if new.exchange not in desk.exchanges:
        known = ", ".join(desk.exchanges)
        raise Refused(f"exchange must be one of {known}, was {new.exchange[:40]!r}")
    module = desk.exchanges[new.exchange]
    for label, text, pattern in (
        ("identifier", new.identifier, _IDENTIFIER),
        ("name", new.name, NAME),
        ("currency", new.currency, _CURRENCY),
    ):
        optional = label == "name" or (label == "identifier" and is_real(module))
        if not pattern.fullmatch(text) and (text or not optional):
            raise Refused(f"{label} must match {pattern.pattern}")
    check_limits(desk, new.limits)
    _check_credentials(module, new.credentials)
    return module


def _check_credentials(module: ExchangeModule, given: Credentials) -> None:
    known = ", ".join(module.CREDENTIALS) or "none"
    if unknown := sorted(set(given) - set(module.CREDENTIALS)):
        raise Refused(f"there is no credential called {unknown[0][:40]!r}; known: {known}")
    if module.CREDENTIALS and not given:
        raise Refused(f"credentials are missing; this exchange takes: {known}")


def _environment(new: NewAccount, module: ExchangeModule) -> str:
    offered = sorted(module.CAPABILITIES.environments)
    if new.environment is None and len(offered) == 1:
        return offered[0]
    if new.environment not in offered:
        raise Refused(f"environment must be one of {', '.join(offered)}")
    return new.environment


async def ensure_paper_main(desk: Desk, opening: Decimal = OPENING_BALANCE) -> None:
    """Make `paper:main` on first start: `opening` USD, no fees."""
    found = await desk.database.read(lambda tx: accounts.find(tx, "paper:main"))
    if found is None and "paper" in desk.exchanges:
        try:
            await add(desk, "system", NewAccount("paper", "main", "main", balance=opening))
        except Refused as error:
            if error.code != "account_exists":  # Another process was first.
                raise
