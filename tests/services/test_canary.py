"""I-13: what is planted as a key goes to the exchange and turns up nowhere else."""

import base64
import io
import logging

import pytest
import structlog

from backend import logs
from backend.domain.errors import ExchangeRejected, ExchangeUnavailable
from backend.services import reconcile, vault
from backend.services.connections import account_key
from tests.services import real
from tests.services.canary import ALL_FORMS, API_KEY, KEY, found_in, found_in_files
from tests.services.fakes import install_real
from tests.services.real import ACCOUNTS, ONE, account_one, add, kept_key, plan_one, revealed
from tests.services.spoken import Reply, confirm

pytestmark = pytest.mark.anyio
ROUTES = ("", f"/{ONE}", f"/{ONE}/snapshots")


@pytest.mark.parametrize("written", [repr, lambda text: base64.b64encode(b"x" + text.encode())])
def test_the_forms_find_what_is_written_in_them(written):
    assert found_in(str(written(API_KEY)))
    assert found_in(f"GET /?key={ALL_FORMS[0]}&x")
    assert not found_in("nothing")


async def through_its_life(stack, module, tmp_path) -> list[str]:
    """Add, refuse, trade, replace, rotate, fail and delete; return everything that was said."""
    said = [
        (await add(stack, credentials=KEY, identifier="two")).text,
        (await add(stack, credentials=KEY)).text,
        (await add(stack, credentials=KEY)).text,
        (await add(stack, credentials={**KEY, API_KEY: "x"}, identifier="two")).text,
        (await add(stack, credentials=KEY, settings={"x": "y"}, identifier="two")).text,
        (await real.change(stack, "credentials", credentials=KEY)).text,
    ]
    made = await plan_one(stack)
    said += [made.text, (await confirm(stack, made)).text]
    account = await account_one(stack)
    desk = stack.backend.desk
    await reconcile.reconcile(desk, account)
    for route in ROUTES:
        said.append((await stack.operator.get(ACCOUNTS + route)).text)
    given = await kept_key(stack)
    key = account_key(account, given)
    said += [repr(x) for x in (key, given, account, desk, stack.backend, module.keys, made)]
    said += [str(key), f"{key}", repr(await desk.exchange(account))]
    await vault.rotate(desk, desk.vault, "operator")
    desk.database.backup(tmp_path / "copies.db")
    exchange = module.accounts[API_KEY]
    await desk.connections.drop(account.number)
    for error in (ExchangeRejected, ExchangeUnavailable):
        exchange.trouble["identity"] = error(f"the key {API_KEY} is no good")
        said.append((await real.change(stack, "credentials", credentials=KEY)).text)
        assert revealed(await kept_key(stack)) == KEY
    exchange.trouble.clear()
    said.append((await real.delete(stack)).text)
    said.append((await add(stack, credentials=KEY)).text)
    for path in ("/audit/export", "/audit/events", "/audit/invariants"):
        said.append((await stack.operator.get(f"/api/v1{path}")).text)
    said.append((await stack.http.get("/metrics")).text)
    return said


async def test_a_planted_key_turns_up_nowhere(exec_mcp, tmp_path, caplog, capfd):
    lines = io.StringIO()
    module = install_real(exec_mcp)
    module.holds(API_KEY)
    before = structlog.get_config()
    structlog.configure(
        processors=[logs.redact, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(lines),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    try:
        with caplog.at_level(logging.DEBUG):
            said = await through_its_life(exec_mcp, module, tmp_path)
    finally:
        structlog.configure(**before)

    assert {name: part.reveal() for name, part in module.keys[0].credentials.items()} == KEY
    told = "\n".join([*said, lines.getvalue(), caplog.text, *capfd.readouterr()])
    assert "account.credentials" in told
    assert "trade.claimed" in told
    assert found_in(told) == []
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"exec-mcp.db", "exec-mcp.db-wal", "paper.db", "vault.key", "copies.db"} <= names
    assert found_in_files(tmp_path) == []


async def test_a_request_that_is_refused_before_it_is_read_repeats_nothing(exec_mcp):
    install_real(exec_mcp).holds(API_KEY)
    await add(exec_mcp, credentials=KEY)
    path = f"{ACCOUNTS}/{ONE}/credentials"
    replies = [
        await exec_mcp.http.post(path, json={"credentials": KEY}),
        await exec_mcp.operator.post(path, json={"credentials": list(KEY.values())}),
        await exec_mcp.operator.post(path, json={"credentials": KEY, **KEY}),
        await exec_mcp.operator.post(path, json={API_KEY: KEY}),
        await exec_mcp.operator.post(path, content=API_KEY),
        await exec_mcp.operator.post(path, content=f'{{"credentials": {{"{API_KEY}": 1'),
        await exec_mcp.operator.post(path, data=KEY),
    ]

    assert all(reply.is_error for reply in replies)
    assert [found_in(reply.text) for reply in replies] == [[]] * len(replies)
    assert Reply(replies[0]).code == "forbidden"
