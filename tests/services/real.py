"""Accounts of a real exchange, as the operator makes and changes them over HTTP."""

from typing import Any

import httpx

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.secret import Credentials
from backend.services import vault
from backend.store import accounts
from backend.store.accounts import Account
from backend.testing import Stack
from tests.services.fakes import RealModule, a_report
from tests.services.spoken import Reply, confirm, plan, row

ACCOUNTS = "/api/v1/accounts"
ONE = "real:one"
DOWN = [ExchangeUnavailable("no route"), OutcomeUnknown("no answer"), RateLimited("too many")]
RESTING = {"order_type": "limit", "limit_price": "990.00"}


def a_key(api_key: str = "key-one") -> dict[str, str]:
    """Return the parts of a key."""
    return {"api_key": api_key, "api_secret": f"secret of {api_key}"}


async def add(
    stack: Stack, api_key: str = "key-one", http: httpx.AsyncClient | None = None, **more: Any
) -> Reply:
    """Add the account that this key belongs to, on the testnet unless told otherwise."""
    body = {
        "exchange": "real",
        "environment": "testnet",
        "credentials": a_key(api_key),
        **more,
    }
    return Reply(await (http or stack.operator).post(ACCOUNTS, json=body))


async def set_key(stack: Stack, api_key: str, **more: Any) -> Reply:
    """Set another key of `real:one`."""
    body = {"credentials": a_key(api_key), **more}
    return Reply(await stack.operator.post(f"{ACCOUNTS}/{ONE}/credentials", json=body))


async def change(stack: Stack, word: str, **body: Any) -> Reply:
    """Enable, disable, reset, ... `real:one`."""
    return Reply(await stack.operator.post(f"{ACCOUNTS}/{ONE}/{word}", json=body))


async def delete(stack: Stack) -> Reply:
    return Reply(await stack.operator.delete(f"{ACCOUNTS}/{ONE}"))


async def show(stack: Stack, http: httpx.AsyncClient | None = None) -> Reply:
    return Reply(await (http or stack.operator).get(f"{ACCOUNTS}/{ONE}"))


async def plan_one(stack: Stack, **terms: Any) -> Reply:
    """Plan a buy of 2 BTC on `real:one`."""
    return await plan(stack, account_id=ONE, symbol="BTC/USD", quantity=2, **terms)


async def rest(stack: Stack, module: RealModule, api_key: str = "key-one") -> Reply:
    """Return a trade whose order rests at the exchange."""
    exchange = module.accounts[api_key]
    exchange.answers = [a_report("", "open")]
    made = await plan_one(stack, **RESTING)
    assert (await confirm(stack, made)).status == "working"
    exchange.told[made.trade_id] = a_report(made.trade_id, "open")
    return made


async def lost(stack: Stack, module: RealModule, api_key: str = "key-one") -> Reply:
    """Return a trade whose answer was lost."""
    module.accounts[api_key].answers = [OutcomeUnknown("no answer")]
    made = await plan_one(stack)
    assert (await confirm(stack, made)).http == 202
    return made


async def account_one(stack: Stack) -> Account:
    """Return `real:one` as it is now."""
    found = await stack.backend.desk.database.read(lambda tx: accounts.find(tx, ONE))
    assert found is not None
    return found


async def kept_key(stack: Stack) -> Credentials | None:
    """Return the credentials that are stored for `real:one`."""
    account = await account_one(stack)
    using = stack.backend.vault
    return await stack.backend.desk.database.read(lambda tx: vault.load(tx, using, account))


def revealed(credentials: Credentials | None) -> dict[str, str]:
    """Return credentials as the texts that they are."""
    return {name: part.reveal() for name, part in (credentials or {}).items()}


async def count(stack: Stack, table: str) -> int:
    """Return how many rows a table has."""
    return int((await row(stack, f"SELECT COUNT(*) AS n FROM {table}"))["n"])
