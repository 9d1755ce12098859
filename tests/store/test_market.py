"""The exchanges' documents: the last good set of each, whole."""

from datetime import timedelta

import pytest

from backend.database import Database, choose_durability
from backend.store import market
from backend.store.market import Documents
from backend.store.migrations import migrations
from tests.exchanges.scripted import START, FrozenClock

pytestmark = pytest.mark.anyio
WHOLE = '{"币安人生": [1.10, 1e-8], "rest": "'.encode() + b"x" * 1_000_000 + b'"}\n'


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
async def database(tmp_path, clock):
    opened = Database(tmp_path / "exec-mcp.db", clock, migrations, choose_durability())
    yield opened
    opened.close()


async def found(database, exchange="binance", environment="live"):
    return await database.read(lambda tx: market.find(tx, exchange, environment))


async def put(database, version, content, exchange="binance", environment="live"):
    await database.write(lambda tx: market.put(tx, exchange, environment, version, content))


async def test_a_set_comes_back_byte_for_byte_with_the_time_it_was_kept(database):
    await put(database, "v1", WHOLE)

    assert await found(database) == Documents("v1", WHOLE, START)
    assert await database.read(lambda tx: market.version(tx, "binance", "live")) == "v1"


async def test_a_newer_set_takes_the_place_of_the_older_one_only(database, clock):
    await put(database, "v1", b"1")
    await put(database, "t1", b"t", environment="testnet")
    clock.advance(5)
    await put(database, "v2", b"2")

    assert await found(database) == Documents("v2", b"2", START + timedelta(seconds=5))
    assert await found(database, environment="testnet") == Documents("t1", b"t", START)


async def test_of_an_exchange_that_was_never_asked_there_is_nothing(database):
    await put(database, "v1", b"1")

    assert await found(database, "bitstamp") is None
    assert await database.read(lambda tx: market.version(tx, "bitstamp", "live")) is None


async def test_another_connection_sees_either_the_old_set_or_the_new_one(database, clock, tmp_path):
    other = Database(tmp_path / "exec-mcp.db", clock, migrations, choose_durability())
    await put(database, "v1", b"1" * 100_000)
    seen = []

    def replace_and_fail(tx):
        market.put(tx, "binance", "live", "v2", b"2" * 100_000)
        raise RuntimeError("the process has a bug")

    with pytest.raises(RuntimeError):
        await database.write(replace_and_fail)
    seen.append(await found(other))
    await put(database, "v2", b"2" * 100_000)
    seen.append(await found(other))
    other.close()

    assert [(one.version, one.content[:1], len(one.content)) for one in seen] == [
        ("v1", b"1", 100_000),
        ("v2", b"2", 100_000),
    ]
