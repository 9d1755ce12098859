"""The exchange itself says whose key it is; what it does not say is not taken for granted."""

import asyncio
from decimal import Decimal

import pytest

from backend.services.tokens import ensure_first_tokens
from tests.api.routes import contents
from tests.services import real
from tests.services.fakes import install_real
from tests.services.real import (
    ACCOUNTS,
    DOWN,
    ONE,
    a_key,
    account_one,
    add,
    count,
    kept_key,
    plan_one,
    revealed,
)
from tests.services.spoken import (
    Reply,
    assert_whole,
    confirm,
    funds,
    look,
    plan,
    row,
    until,
)

pytestmark = pytest.mark.anyio
D = Decimal


async def test_an_account_is_added_as_the_exchange_describes_it(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")

    made = await add(exec_mcp, name="mine", settings={"speed": "fast"})
    shown = await real.show(exec_mcp)

    assert (made.http, made["account_id"], made["environment"]) == (201, ONE, "testnet")
    assert await funds(exec_mcp, ONE) == {"USD": ("100000", "0"), "BTC": ("10", "0")}
    assert revealed(await kept_key(exec_mcp)) == a_key()
    assert (shown["name"], shown["exchange_permissions"]) == ("mine", ["spot"])
    assert (shown["may_withdraw"], shown["settings"]) == (False, {"speed": "fast"})
    assert "operator_token" not in made
    assert (exec_mcp.home / "operator.token").exists()
    await assert_whole(exec_mcp)


async def test_who_is_no_admin_is_not_told_whether_the_key_may_withdraw(exec_mcp):
    install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)

    assert "may_withdraw" not in await real.show(exec_mcp, exec_mcp.http)


async def test_what_the_exchange_does_not_tell_of_withdrawals_is_not_shown(exec_mcp):
    install_real(exec_mcp).holds("key-one", may_withdraw=None)
    await add(exec_mcp)

    assert "may_withdraw" not in await real.show(exec_mcp)


REFUSED = {
    "another account": ({"identifier": "two"}, {}, "belongs to one, not to two"),
    "no trading": ({}, {"may_trade": False}, "this key may not trade"),
    "withdrawals on a testnet": ({}, {"may_withdraw": True}, "may withdraw"),
    "withdrawals": ({"environment": "live"}, {"may_withdraw": True}, "may withdraw"),
    "withdrawals unknown": (
        {"environment": "live"},
        {"may_withdraw": None},
        "does not tell whether a key may withdraw",
    ),
    "another account, insisted": (
        {"identifier": "two", "allow_withdrawals": True},
        {},
        "belongs to one, not to two",
    ),
    "no trading, insisted": ({"allow_withdrawals": True}, {"may_trade": False}, "may not trade"),
}


@pytest.mark.parametrize(("given", "says", "why"), REFUSED.values(), ids=list(REFUSED))
async def test_a_key_that_the_exchange_says_is_not_right_is_refused(exec_mcp, given, says, why):
    install_real(exec_mcp).holds("key-one", **says)

    refused = await add(exec_mcp, **given)

    assert (refused.http, refused.code) == (400, "invalid_request")
    assert why in refused["detail"]
    assert (await count(exec_mcp, "accounts"), await count(exec_mcp, "credentials")) == (1, 0)
    assert (exec_mcp.home / "operator.token").exists()


async def test_a_name_of_the_exchange_that_cannot_be_an_identifier_is_refused(exec_mcp):
    install_real(exec_mcp).holds("key-one", "one/../two")

    refused = await add(exec_mcp)

    assert refused.http == 400
    assert "identifier must match" in refused["detail"]


@pytest.mark.parametrize(
    ("environment", "may_withdraw", "insisted"),
    [
        ("testnet", None, False),
        ("testnet", True, True),
        ("live", False, False),
        ("live", None, True),
        ("live", True, True),
    ],
)
async def test_a_key_is_taken_when_it_cannot_withdraw_or_the_operator_insists(
    exec_mcp, environment, may_withdraw, insisted
):
    install_real(exec_mcp).holds("key-one", may_withdraw=may_withdraw)

    made = await add(exec_mcp, environment=environment, allow_withdrawals=insisted)

    assert made.http == 201
    written = await row(exec_mcp, "SELECT detail FROM audit WHERE event = 'account.added' AND"
                                  " detail LIKE '%real:one%'")  # fmt: skip
    word = {None: "null", True: "true", False: "false"}[may_withdraw]
    assert f'"may_withdraw":{word}' in written["detail"]


# --- twice, and again ---


async def test_the_same_account_is_not_added_twice_by_whatever_key(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    module.holds("key-two")
    await add(exec_mcp)
    asked = len(module.keys)

    named = await add(exec_mcp, identifier="one")
    unnamed = await add(exec_mcp, "key-two")
    elsewhere = await add(exec_mcp, "key-two", environment="live")

    assert [r.code for r in (named, unnamed, elsewhere)] == ["account_exists"] * 3
    assert len(module.keys) == asked + 2  # Where it is named, nobody needs to be asked.
    assert revealed(await kept_key(exec_mcp)) == a_key()


async def test_of_two_that_add_the_same_account_at_once_one_is_told_so(exec_mcp):
    exchange = install_real(exec_mcp).holds("key-one")
    exchange.slow = asyncio.Event()
    both = [asyncio.create_task(add(exec_mcp)) for _ in range(2)]
    await until(lambda: exchange.asked["identity"] == 2)
    exchange.slow.set()

    codes = sorted(reply.http for reply in await asyncio.gather(*both))

    assert codes == [201, 400]
    assert await count(exec_mcp, "credentials") == 1


async def traded_and_deleted(stack):
    """Return the exchange of `real:one`, which has traded and is deleted, and its trade."""
    module = install_real(stack)
    module.holds("key-one")
    await add(stack)
    made = await plan_one(stack)
    assert (await confirm(stack, made)).status == "executed"
    assert (await real.delete(stack)).http == 200
    return module, made


async def test_a_deleted_account_comes_back_as_itself_with_what_it_holds_now(exec_mcp):
    module, made = await traded_and_deleted(exec_mcp)
    before = await row(exec_mcp, "SELECT id FROM accounts WHERE identifier = 'one'")
    module.accounts["key-one"].totals = {"USD": D(7)}

    again = await add(exec_mcp, name="again")

    assert (again.http, again["name"], again["enabled"]) == (201, "again", True)
    assert (await account_one(exec_mcp)).number == before["id"]
    assert await funds(exec_mcp, ONE) == {"USD": ("7", "0"), "BTC": ("0", "0")}
    assert (await look(exec_mcp, made)).status == "executed"
    assert (await account_one(exec_mcp)).credential_version == 2
    await assert_whole(exec_mcp)


@pytest.mark.parametrize("change", [{"environment": "live"}, {"currency": "EUR"}])
async def test_a_deleted_account_comes_back_as_nothing_else(exec_mcp, change):
    await traded_and_deleted(exec_mcp)

    refused = await add(exec_mcp, **change)

    assert refused.code == "account_exists"
    assert "only come back as that" in refused["detail"]
    assert (await real.show(exec_mcp)).http == 404


# --- when it goes wrong ---


@pytest.mark.parametrize("where", ["market", "identity", "balances"])
@pytest.mark.parametrize("error", DOWN, ids=str)
async def test_while_the_exchange_is_down_nothing_is_added_or_changed(exec_mcp, where, error):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    if where == "market":
        module.market.trouble = error
    else:
        exchange.trouble[where] = error
    before = contents(exec_mcp.home)

    refused = await add(exec_mcp)

    assert (refused.http, refused.code) == (503, "exchange_unavailable")
    if where != "market":
        assert "nothing was changed" in refused["detail"]
        assert exchange.asked["close"] == 1
        assert (await count(exec_mcp, "accounts"), await count(exec_mcp, "credentials")) == (1, 0)
        return  # The rules were fetched, and are kept.
    assert contents(exec_mcp.home) == before


async def test_a_death_while_a_key_is_probed_leaves_nothing(exec_mcp):
    exchange = install_real(exec_mcp).holds("key-one")
    exchange.slow = asyncio.Event()
    adding = asyncio.create_task(add(exec_mcp))
    await until(lambda: exchange.asked["identity"])
    exec_mcp.backend.desk.database.failure = "the process died"
    exchange.slow.set()

    assert (await adding).code == "storage"
    await exec_mcp.restart()

    assert (await count(exec_mcp, "accounts"), await count(exec_mcp, "credentials")) == (1, 0)
    install_real(exec_mcp).holds("key-one")
    assert (await add(exec_mcp)).http == 201


SECRET = "s3cr3t-that-nobody-may-read"
MALFORMED = {
    "unknown part": {"api_key": "key-one", SECRET: "api_secret"},
    "a part that is missing": {"api_key": SECRET},
    "nothing": {},
    "a number": {"api_key": 7},
    "a list": [SECRET],
    "a text": SECRET,
    "a part of a part": {"api_key": {"value": SECRET}},
    "too long": {"api_key": SECRET * 400},
    "too many": {f"{SECRET}{i}": SECRET for i in range(11)},
    "an unprintable name": {f"{SECRET}\n": SECRET},
    "refused by the exchange": {"api_key": SECRET, "api_secret": SECRET},
}


@pytest.mark.parametrize("credentials", MALFORMED.values(), ids=list(MALFORMED))
async def test_a_malformed_key_is_refused_without_a_word_of_it(exec_mcp, credentials):
    install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)

    added = await add(exec_mcp, credentials=credentials, identifier="two")
    replaced = Reply(
        await exec_mcp.operator.post(
            f"{ACCOUNTS}/{ONE}/credentials", json={"credentials": credentials}
        )
    )

    for reply in (added, replaced):
        assert (reply.http, reply.code) == (400, "invalid_request")
        assert SECRET not in reply.text
    assert revealed(await kept_key(exec_mcp)) == a_key()


# --- real money apart from play money ---


async def test_with_the_first_live_account_the_operators_token_leaves_the_disk(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    module.holds("key-two", "two")
    old = (exec_mcp.home / "operator.token").read_text().strip()

    first = await add(exec_mcp, environment="live")
    token = first["operator_token"]
    dead = await exec_mcp.operator.get(ACCOUNTS)
    operator = exec_mcp.http_as(token)
    second = await add(exec_mcp, "key-two", operator, environment="live")
    await ensure_first_tokens(exec_mcp.backend.desk, exec_mcp.backend.key)  # As each start does.

    assert (first.http, dead.status_code, second.http) == (201, 401, 201)
    assert "shown only here" in first["next"]
    assert token != old
    assert not (exec_mcp.home / "operator.token").exists()
    assert "operator_token" not in second
    assert "next" not in second
    assert (await operator.get(ACCOUNTS)).status_code == 200
    await operator.aclose()


async def test_a_token_left_on_the_disk_by_a_death_goes_with_the_next_live_account(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    module.holds("key-two", "two")
    path = exec_mcp.home / "operator.token"
    token = (await add(exec_mcp, environment="live"))["operator_token"]
    path.write_text(token)  # As if we had died before it was retired.
    operator = exec_mcp.http_as(token)

    second = await add(exec_mcp, "key-two", operator, environment="live")

    assert second["operator_token"] != token
    assert not path.exists()
    assert (await operator.get(ACCOUNTS)).status_code == 401
    await operator.aclose()


@pytest.mark.parametrize("environment", [None, "demo", "paper", "Live", ""])
async def test_where_there_are_several_the_environment_is_named(exec_mcp, environment):
    module = install_real(exec_mcp)
    module.holds("key-one")

    refused = await add(exec_mcp, environment=environment)

    assert refused.http == 400
    assert "environment must be" in refused["detail"]
    assert module.keys == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"exchange": "paper", "identifier": "x", "environment": "live"}, "must be one of paper"),
        ({"exchange": "paper", "identifier": "x", "environment": "testnet"}, "one of paper"),
        ({"exchange": "paper", "identifier": "x", "credentials": a_key()}, "known: none"),
        ({"exchange": "paper", "environment": "paper", "credentials": {}}, "identifier must"),
        ({"exchange": "real", "balance": 100}, "balance is for paper accounts"),
        ({"exchange": "nowhere"}, "exchange must be one of"),
    ],
)
async def test_paper_and_real_money_are_not_mixed_up(exec_mcp, given, why):
    install_real(exec_mcp).holds("key-one")
    usual = {"environment": "testnet", "credentials": a_key()}
    if given["exchange"] == "paper":
        usual = {}

    refused = Reply(await exec_mcp.operator.post(ACCOUNTS, json={**usual, **given}))

    assert refused.http == 400
    assert why in refused["detail"]
    assert await count(exec_mcp, "accounts") == 1


@pytest.mark.exec_mcp(default_account="real:one")
async def test_what_names_no_account_never_falls_on_a_live_one(exec_mcp):
    install_real(exec_mcp).holds("key-one")
    await add(exec_mcp, environment="live")

    planned = await plan(exec_mcp, symbol="BTC/USD", quantity=1)
    looked = Reply(await exec_mcp.http.get("/api/v1/portfolio"))
    named = await plan(exec_mcp, symbol="BTC/USD", quantity=1, account_id=ONE)

    assert (planned.http, looked.http) == (400, 400)
    assert "name the account: account_id=real:one is live" in planned["detail"]
    assert (named.http, named["environment"]) == (201, "live")
    assert named["approval"]["required"] is True
