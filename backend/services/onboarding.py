"""Adding an account, and setting its credentials: the exchange itself must say whose key it is.

| step                  | durable before | if we die here                     | twice            |
|-----------------------|----------------|------------------------------------|------------------|
| probe the key         | nothing        | nothing happened                   | asks again       |
| add, with its secret  | nothing        | before COMMIT: nothing happened    | `account_exists` |
| retire operator.token | a live account | the file stays, `doctor` says so   | it is gone       |
| replace a secret      | the old one    | before COMMIT: the old one is used | the newer wins   |
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from backend.database import Transaction, to_json
from backend.domain.clock import to_row
from backend.domain.errors import (
    NO_ANSWER,
    ExchangeRejected,
    ExchangeUnavailable,
    NotFound,
    Refused,
)
from backend.domain.money import ZERO
from backend.domain.secret import Credentials
from backend.exchanges import AccountKey, Balance, ExchangeModule, Identity, is_real
from backend.services import Desk, common_settings, metadata, tokens, vault
from backend.services.accounts import NAME, check_limits, keep_balances
from backend.services.connections import account_key
from backend.store import accounts, audit, ledger
from backend.store.accounts import Account

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)

_KEEP_TOKEN = (
    "operator.token was deleted, because this home has a live account now, and the token in it "
    "replaced. operator_token is the new one and is shown only here: keep it where you keep "
    "passwords, or let the OS keyring keep it (exec-mcp token remember)"
)

# Of an account for which none is named: the first in which its exchange deals.
_CURRENCIES = ("USD", "USDT", "USDC", "EUR")

# Of a paper account, where nothing else is said; in its currency.
OPENING_BALANCE = Decimal(100_000)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What `account add` asks for.

    Attributes:
        identifier: the exchange's own name for it; "" takes what the exchange says.
        name: a label; "" takes the identifier.
        environment: None where the exchange has only one.
        currency: of balance, limits and equity; None: USD where the exchange deals in it,
            else the first of USDT, USDC and EUR in which it does.
        balance: opening balance of a paper account, in `currency`; None: `OPENING_BALANCE`.
        settings: the exchange's own options, as text.
        limits: limit by check name, as text; or `approval_threshold`, `band_bps`.
        credentials: by the names that the exchange declares.
        allow_withdrawals: the operator insists on a key that may withdraw.
    """

    exchange: str
    identifier: str = ""
    name: str = ""
    environment: str | None = None
    currency: str | None = None
    balance: Decimal | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=dict, repr=False)
    allow_withdrawals: bool = False


async def add(desk: Desk, actor: str, new: NewAccount) -> dict[str, Any]:
    """Add an account, with its balances as the exchange tells them.

    Returns:
        the account; with the first live one also `operator_token`, shown only here, and
        what to do with it.

    Raises:
        Refused: a malformed value, an unknown exchange, `account_exists`, a key of another
            account, or one that may withdraw.
        ExchangeUnavailable: the exchange did not say whose key it is.
    """
    module = _checked(desk, new)
    key = await _key(desk, new, module)
    # Before the exchange is asked: it may open anew what never traded there.
    await desk.database.read(lambda tx: _refuse_known(tx, key))
    if not is_real(module):
        try:
            balance = OPENING_BALANCE if new.balance is None else new.balance
            await module.open_account(key, desk.context, balance=balance)
        except ValueError as error:
            raise Refused(str(error)) from None
    asked_at = to_row(desk.clock())
    identity, opening = await _probe(desk, key)
    if is_real(module):
        key = replace(key, identifier=key.identifier or identity.identifier)
        _refuse_identity(key, identity, new.allow_withdrawals)
    made = await desk.database.write(
        lambda tx: _write(tx, desk, actor, new, key, identity, opening, asked_at)
    )
    shown = accounts.public(made)
    if made.environment == "live":
        fresh = await tokens.retire_operator_file(desk, desk.vault.token_key)
        if fresh is not None:
            shown |= {"operator_token": fresh, "next": _KEEP_TOKEN}
    return shown


async def _key(desk: Desk, new: NewAccount, module: ExchangeModule) -> AccountKey:
    key = AccountKey(
        new.exchange,
        new.identifier,
        _environment(new, module),
        new.currency or _CURRENCIES[0],
        new.settings,
        new.credentials,
    )
    if new.currency is None and (wanted := metadata.source(key, module)):
        try:
            dealt_in = (await desk.markets.require(*wanted)).currencies
        except ExchangeUnavailable:
            return key  # Whoever connects says it in better words.
        usual = [currency for currency in _CURRENCIES if currency in dealt_in]
        key = replace(key, currency=next(iter(usual), key.currency))
    return key


def _write(
    tx: Transaction,
    desk: Desk,
    actor: str,
    new: NewAccount,
    key: AccountKey,
    identity: Identity,
    opening: Sequence[Balance],
    asked_at: str,
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
    if made.environment != "paper":
        keep_balances(tx, made, opening, asked_at)
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
        NotFound: the account was deleted meanwhile.
    """
    module = desk.exchanges[account.exchange]
    _check_credentials(module, credentials)
    if not is_real(module):
        raise Refused(f"{account.exchange} accounts have no credentials")
    key = account_key(account, credentials)
    identity, _ = await _probe(desk, key)
    _refuse_identity(key, identity, allow_withdrawals)

    def body(tx: Transaction) -> dict[str, Any]:
        if accounts.find(tx, account.id) is None:
            raise NotFound()  # Deleted meanwhile: nothing is kept for it any more.
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
    await desk.connections.drop(account.number)
    return shown


async def _probe(desk: Desk, key: AccountKey) -> tuple[Identity, Sequence[Balance]]:
    """Ask the exchange whose key this is, and what the account holds."""
    try:
        connected = await desk.connections.connect(key)
    except ValueError as error:
        raise Refused(_without_secrets(str(error), key.credentials)) from None
    try:
        return await connected.identity(), await connected.balances()
    except ExchangeRejected as error:
        why = _without_secrets(f"({error.exchange_code}): {error.detail}", key.credentials)
        raise Refused(f"{key.exchange} refused this key {why}") from None
    except NO_ANSWER as error:
        why = _without_secrets(error.detail, key.credentials)
        raise ExchangeUnavailable(
            f"{key.exchange} did not say whose key this is: {why}; nothing was changed"
        ) from None
    finally:
        await connected.close()


def _without_secrets(text: str, credentials: Credentials) -> str:
    """Return what the exchange said, without what it may repeat of the key."""
    for secret in credentials.values():
        if revealed := secret.reveal():
            text = text.replace(revealed, "***")
    return text


def _refuse_identity(key: AccountKey, identity: Identity, allow_withdrawals: bool) -> None:
    if identity.identifier != key.identifier:
        raise Refused(
            f"{key.exchange} says that this key belongs to {identity.identifier}, "
            f"not to {key.identifier}"
        )
    if not _IDENTIFIER.fullmatch(key.identifier):
        raise Refused(f"the exchange's identifier must match {_IDENTIFIER.pattern}")
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
        ("currency", new.currency or _CURRENCIES[0], _CURRENCY),
    ):
        optional = label == "name" or (label == "identifier" and is_real(module))
        if not pattern.fullmatch(text) and (text or not optional):
            raise Refused(f"{label} must match {pattern.pattern}")
    check_limits(desk, new.limits)
    _check_credentials(module, new.credentials)
    if is_real(module):
        common_settings.check(new.settings)
        if new.balance is not None:
            raise Refused("balance is for paper accounts: this one holds what the exchange says")
    return module


def _check_credentials(module: ExchangeModule, given: Credentials) -> None:
    known = ", ".join(module.CREDENTIALS) or "none"
    if not set(given) <= set(module.CREDENTIALS):
        # Not by its name: a secret may have been put in its place.
        raise Refused(f"there is a credential that this exchange does not take; known: {known}")
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
