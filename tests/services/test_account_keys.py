"""Another key proves the same account; so does every connection."""

import asyncio
from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable
from backend.exchanges import Identity
from backend.services import reconcile
from tests.api.routes import contents
from tests.services import real
from tests.services.fakes import a_report, install_real
from tests.services.real import (
    ACCOUNTS,
    DOWN,
    a_key,
    account_one,
    add,
    count,
    kept_key,
    lost,
    plan_one,
    revealed,
    set_key,
)
from tests.services.spoken import (
    Reply,
    confirm,
    look,
    until,
)

pytestmark = pytest.mark.anyio
D = Decimal


# --- another key ---


@pytest.mark.parametrize("lives", ["working", "unknown"])
async def test_with_an_order_alive_another_key_of_the_same_account_is_taken(exec_mcp, lives):
    module = install_real(exec_mcp)
    module.holds("key-one")
    await add(exec_mcp)
    order = (
        await real.rest(exec_mcp, module) if lives == "working" else await lost(exec_mcp, module)
    )
    waiting = await plan_one(exec_mcp)
    module.accounts["key-two"] = module.accounts["key-one"]
    module.holds("key-one", "nobody")  # The old key is dead.

    changed = await set_key(exec_mcp, "key-two")
    late = await confirm(exec_mcp, waiting)
    module.accounts["key-two"].told[order.trade_id] = a_report(order.trade_id, "cancelled")
    await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp), whole=True)

    assert (changed.http, changed["credential_version"]) == (200, 2)
    assert revealed(await kept_key(exec_mcp)) == a_key("key-two")
    assert late.code == "plan_changed"
    assert (await plan_one(exec_mcp)).http == 201
    assert (await look(exec_mcp, order)).status == "failed"


@pytest.mark.parametrize("lives", ["working", "unknown", "nothing"])
async def test_a_key_of_another_account_is_refused_and_the_old_one_stays_in_use(exec_mcp, lives):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    module.holds("key-two", "two")
    await add(exec_mcp)
    if lives != "nothing":
        await (real.rest if lives == "working" else lost)(exec_mcp, module)
    waiting = await plan_one(exec_mcp)

    refused = await set_key(exec_mcp, "key-two")
    done = await confirm(exec_mcp, waiting)

    assert (refused.http, "belongs to two" in refused["detail"]) == (400, True)
    assert revealed(await kept_key(exec_mcp)) == a_key()
    assert done.status == "executed"
    assert exchange.sent[-1].client_order_id == waiting.trade_id


@pytest.mark.parametrize(
    ("says", "insist", "status"),
    [
        ({"may_trade": False}, False, 400),
        ({"may_withdraw": True}, False, 400),
        ({"may_withdraw": True}, True, 200),
    ],
)
async def test_a_new_key_must_be_as_good_as_the_first(exec_mcp, says, insist, status):
    module = install_real(exec_mcp)
    module.holds("key-one")
    module.holds("key-two", **says)
    await add(exec_mcp)

    reply = await set_key(exec_mcp, "key-two", allow_withdrawals=insist)

    assert reply.http == status
    assert (await real.show(exec_mcp))["may_withdraw"] is (status == 200)


async def test_a_paper_account_has_no_credentials(exec_mcp):
    path = f"{ACCOUNTS}/paper:main/credentials"

    bare = Reply(await exec_mcp.operator.post(path, json={}))
    given = Reply(await exec_mcp.operator.post(path, json={"credentials": a_key()}))

    assert (bare.http, "no credentials" in bare["detail"]) == (400, True)
    assert (given.http, "known: none" in given["detail"]) == (400, True)


async def test_a_key_that_comes_for_an_account_deleted_meanwhile_is_not_kept(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    await add(exec_mcp)
    await confirm(exec_mcp, await plan_one(exec_mcp))
    slow = module.holds("key-two")
    slow.slow = asyncio.Event()
    setting = asyncio.create_task(set_key(exec_mcp, "key-two"))
    await until(lambda: slow.asked["identity"])

    assert (await real.delete(exec_mcp)).http == 200
    slow.slow.set()

    assert (await setting).http == 404
    assert await count(exec_mcp, "credentials") == 0


# --- every connection proves it again ---


@pytest.mark.parametrize("answer", ["another", *DOWN, ExchangeRejected("no", "401")], ids=str)
async def test_a_connection_that_does_not_prove_its_account_is_neither_used_nor_evidence(
    exec_mcp, answer
):
    module = install_real(exec_mcp)
    exchange = module.holds("key-one")
    await add(exec_mcp)
    order = await lost(exec_mcp, module)
    waiting = await plan_one(exec_mcp)
    sent, looked = len(exchange.sent), exchange.asked["find"]
    await exec_mcp.backend.desk.connections.drop((await account_one(exec_mcp)).number)
    if answer == "another":
        exchange.says = Identity("two", may_trade=True, may_withdraw=False)
    else:
        exchange.trouble["identity"] = answer

    refused = await confirm(exec_mcp, waiting)
    for _ in range(5):
        exec_mcp.clock.advance(30)
        with pytest.raises(ExchangeUnavailable, match="nothing was sent"):
            await reconcile.reconcile(exec_mcp.backend.desk, await account_one(exec_mcp))

    assert (refused.http, refused.code) == (503, "exchange_unavailable")
    assert (len(exchange.sent), exchange.asked["find"]) == (sent, looked)
    assert (await look(exec_mcp, order))["order"]["state"] == "unknown"
    assert exchange.asked["close"] >= 7  # The probe's, the first one's, and each refused one.


async def test_once_it_is_proven_again_the_connection_is_used(exec_mcp):
    exchange = install_real(exec_mcp).holds("key-one")
    await add(exec_mcp)
    exchange.trouble["identity"] = DOWN[0]
    assert (await plan_one(exec_mcp)).http == 503
    exchange.trouble.clear()
    exec_mcp.clock.advance(1)  # A failed attempt is not repeated at once.
    before = exchange.asked["identity"]

    first, second = await plan_one(exec_mcp), await plan_one(exec_mcp, **real.RESTING)

    assert (first.http, second.http) == (201, 201)
    assert exchange.asked["identity"] == before + 1


async def test_while_the_exchange_is_down_the_old_key_stays(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    await add(exec_mcp)
    module.holds("key-two").trouble["identity"] = DOWN[1]
    before = contents(exec_mcp.home)

    assert (await set_key(exec_mcp, "key-two")).http == 503

    assert contents(exec_mcp.home) == before


async def test_a_death_before_another_key_is_kept_leaves_the_old_one(exec_mcp):
    module = install_real(exec_mcp)
    module.holds("key-one")
    await add(exec_mcp)
    exchange = module.holds("key-two")
    exchange.slow = asyncio.Event()
    setting = asyncio.create_task(set_key(exec_mcp, "key-two"))
    await until(lambda: exchange.asked["identity"])
    exec_mcp.backend.desk.database.failure = "the process died"
    exchange.slow.set()

    assert (await setting).code == "storage"
    assert revealed(await kept_key(exec_mcp)) == a_key()
    assert (await account_one(exec_mcp)).credential_version == 1


async def test_a_key_set_twice_leaves_the_newer(exec_mcp):
    module = install_real(exec_mcp)
    for api_key in ("key-one", "key-two", "key-three"):
        module.holds(api_key)
    await add(exec_mcp)
    await plan_one(exec_mcp)

    versions = [
        (await set_key(exec_mcp, k))["credential_version"] for k in ("key-two", "key-three")
    ]

    assert versions == [2, 3]
    assert module.accounts["key-one"].asked["close"] == 2  # The probe's, and the one in use.
    assert revealed(await kept_key(exec_mcp)) == a_key("key-three")
