"""Regressions R53-R56: accounts are conflated, balances are overdrawn, rows come twice."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from backend.database import Transaction, sqlite3
from backend.store import accounts, ledger
from backend.testing.answers import Answer
from tests.matrix.acts import booked, cancel, held, lose, rest, state
from tests.matrix.sides import BinanceSide, BitstampSide
from tests.matrix.world import LIMITS, World, each_exchange, world

pytestmark = pytest.mark.anyio
D = Decimal


class Second:
    """Another account of ours at the same exchange."""

    def __init__(self, w: World) -> None:
        side = w.side
        if isinstance(side, BinanceSide):
            self.theirs: Any = side.sim.add_account({"USDT": D(500_000), "BTC": D(5)})
            self.identifier = str(self.theirs.uid)
        else:
            assert isinstance(side, BitstampSide)
            self.theirs = side.sim.add_account({"usd": D(500_000), "btc": D(5)})
            self.identifier = str(self.theirs.user_id)
        self.w, self.account_id = w, f"{side.name}:{self.identifier}"

    async def add(self) -> None:
        """Let the server know it."""
        keys = {"api_key": self.theirs.key, "api_secret": self.theirs.secret}
        body = _as_made(self.w) | {"identifier": self.identifier, "credentials": keys}
        made = await self.w.stack.operator.post("/api/v1/accounts", json=body)
        assert made.status_code == 201, made.text
        await self.w.advance(1)

    async def do(self, side: str, quantity: str, **more: Any) -> Answer:
        """Plan and confirm on it."""
        symbol = self.w.side.symbol
        made = await self.w.stack.plan(symbol, side, quantity, account_id=self.account_id, **more)
        return await self.w.confirm(made)

    async def totals(self) -> dict[str, Decimal]:
        """Return its totals by our books."""
        desk = self.w.desk
        account = await desk.database.read(lambda tx: accounts.find(tx, self.account_id))
        found = await desk.database.read(lambda tx: ledger.all_funds(tx, account.number))
        return {f.currency: f.total for f in found}

    def balances(self) -> dict[str, Decimal]:
        """Return its totals by the exchange's books."""
        if isinstance(self.w.side, BinanceSide):
            return {a: b.free + b.locked for a, b in self.theirs.balances.items()}
        return {c.upper(): total for c, total in self.theirs.balances.items()}


def _as_made(w: World) -> dict[str, Any]:
    """Return the request that makes the world's own account."""
    return {
        "exchange": w.side.name,
        "identifier": w.side.identifier,
        "environment": "testnet",
        "currency": w.side.payment,
        "credentials": w.side.credentials,
        "limits": LIMITS,
    }


async def quantity_held(w: World, account_id: str) -> Decimal:
    """Return all of the symbol's base that the account shows, bought by us or not."""
    shown = await w.stack.portfolio(account_id)
    return sum((p["quantity"] for p in shown["positions"] if p["symbol"] == w.side.symbol), D(0))


@each_exchange
async def test_r53_two_accounts_at_one_exchange_are_two(tmp_path, exchange):
    """nautilus_trader#4029, #3067: positions of two accounts on one symbol become one."""
    async with world(tmp_path / "home", exchange) as w:
        second = Second(w)
        await second.add()
        ids = (w.account_id, second.account_id)
        before = [await quantity_held(w, one) for one in ids]
        mine, theirs = await w.do("buy", "0.02"), await second.do("sell", "0.03")
        lost, resting = await lose(w, quantity="0.005"), await rest(w)
        w.side.next_submit("lose_answer")
        also = await second.do("buy", "0.007")
        await w.advance(31, 1)

        after = [await quantity_held(w, one) for one in ids]
        moved = [a - b for a, b in zip(after, before, strict=True)]
        fees = D("0.0001")  # Taken in base by one of the exchanges.
        assert D("0.025") - fees <= moved[0] <= D("0.025")
        assert D("-0.023") - fees <= moved[1] <= D("-0.023")
        filled = [await state(w, one) for one in (mine, lost, theirs, also)]
        assert filled == ["filled"] * 4
        assert await second.totals() == second.balances()
        for one, account_id in zip((resting, also), ids, strict=True):
            assert (await w.look(one))["account_id"] == account_id
        listed = await w.stack.call("list_orders", status="all", account_id=ids[1])
        assert {o["trade_id"] for o in listed["orders"]} == {theirs.trade_id, also.trade_id}
        assert await w.stopped() is None


@each_exchange
async def test_r54_what_is_free_follows_each_placement_and_cancel(tmp_path, exchange):
    """hummingbot#2012, #2416, #5476, #2820: the available balance is wrong after a cancel."""
    async with world(tmp_path / "home", exchange) as w:
        start = (await w.stack.portfolio(w.account_id))["buying_power"]
        lost = 0
        for number in range(4):
            made = await rest(w, "0.5")
            reserved = (await w.look(made))["reserved_buying_power"]
            shown = await w.stack.portfolio(w.account_id)
            assert shown["buying_power"] == start - reserved
            if number % 2:
                w.side.next_cancel("lose_answer")
                lost += 1
            done = await cancel(w, made)
            await w.advance(1)
            assert done["state"] == "cancelled"
            assert (await w.stack.portfolio(w.account_id))["buying_power"] == start
        assert (lost, await held(w)) == (2, D(0))
        await w.advance(31, 1)
        assert (await w.stack.portfolio(w.account_id))["buying_power"] == start
        await w.agrees()


@each_exchange
async def test_r55_plans_at_once_never_reserve_more_than_there_is(tmp_path, exchange):
    """hummingbot#855: orders placed at the same time overdraw one balance."""
    async with world(tmp_path / "home", exchange) as w:
        buys = [w.plan("buy", "4", limit_price="49000") for _ in range(10)]
        sells = [w.plan("sell", "3", limit_price="51000") for _ in range(8)]
        made = await asyncio.gather(*buys, *sells)
        good = [one for one in made if not one.refused]
        refused = [one for one in made if one.refused]

        assert {one.code for one in refused} == {"buying_power"}
        assert (sum(o["side"] == "buy" for o in good), len(good)) == (5, 8)
        done = await asyncio.gather(*(w.confirm(one) for one in good for _ in range(3)))
        assert sum(not one.refused for one in done) == len(good)
        assert len(w.side.orders_received()) == len(good)
        for total, reserved in (await w.funds()).values():
            assert D(reserved) <= D(total)
        assert (await w.plan("buy", "4", limit_price="49000")).code == "buying_power"

        w.side.touch("48980", "48990", "100")
        w.side.touch("51010", "51020", "100")
        await w.advance(31, 1)
        assert {(await w.look(one)).status for one in good} == {"executed"}
        assert await held(w) == 0
        await w.agrees()
        assert await w.stopped() is None


def _twin(tx: Transaction, identifier: str) -> dict[str, Any]:
    """Return the account's row once more, under another number."""
    row = tx.row("SELECT * FROM accounts WHERE identifier = ?", (identifier,))
    assert row is not None
    return {name: row[name] for name in row.keys()} | {"id": 99}  # noqa: SIM118


@each_exchange
async def test_r56_the_tables_themselves_take_no_order_and_no_fill_twice(tmp_path, exchange):
    """cassandre-trading-bot#623: no unique constraint on order and trade ids."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do()
        before = await booked(w, made)
        for table in ("trades", "orders", "fills", "holds"):
            with pytest.raises(sqlite3.IntegrityError):
                await w.desk.database.write(
                    lambda tx, name=table: tx.execute(f"INSERT INTO {name} SELECT * FROM {name}")
                )
        with pytest.raises(
            sqlite3.IntegrityError, match=r"accounts\.exchange, accounts\.identifier"
        ):
            await w.desk.database.write(
                lambda tx: tx.insert("accounts", _twin(tx, w.account_id.partition(":")[2]))
            )
        twin = await w.stack.operator.post("/api/v1/accounts", json=_as_made(w))
        assert twin.status_code == 400
        assert await booked(w, made) == before != []
        await w.advance(31, 1)
        await w.agrees()
