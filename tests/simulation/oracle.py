"""What must be true of every world: what clients were told, and what the books say at rest.

Nothing here asks the product whether it did well: the exchange's own books, the answers as they
came, and the rows as they stand are compared with each other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from backend.database import Transaction
from backend.domain.order import FINAL, ORDER_EDGES, OrderState
from backend.domain.trade import FINISHED, TRADE_EDGES, TradeStatus
from backend.services import audit
from backend.services.execution import ANSWER_WITHIN_S
from tests.simulation.exchanges import Theirs

if TYPE_CHECKING:
    from tests.simulation.world import Reply, World

D = Decimal
_NEVER_LEFT = frozenset({"cancelled", "expired"})
# Told by the product only when it does not do what it was written for.
BUGS = frozenset(
    {"task.failed", "keeper.failed", "stream.failed", "reconcile.failed", "http.internal_error"}
)


@dataclass(slots=True)
class Known:
    """A trade that a client heard of.

    Attributes:
        final: the status that can change no more, once somebody was told of one.
        final_at: the world's count of questions then.
        won: how many confirms were answered as the one that executed it.
    """

    trade_id: str
    account_id: str
    planner: str
    terms: dict[str, Any]
    final: str | None = None
    final_at: int = 0
    won: int = 0
    working: bool = False


@dataclass(slots=True)
class Stopped:
    """A kill switch that answered: from here on nothing in its scope may leave."""

    account_ids: frozenset[str]
    under_way: frozenset[str]
    seen: dict[str, int]


@dataclass(slots=True)
class Oracle:
    """Remembers what was told, and judges.

    Attributes:
        violations: what must never be, in words; empty is the verdict "good".
        edges: which state went to which, over trades and orders.
    """

    world: World
    known: dict[str, Known] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    edges: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    restored: bool = False
    _asked: int = 0
    _asked_at: dict[int, float] = field(default_factory=dict)
    _stops: dict[str, Stopped] = field(default_factory=dict)

    def wrong(self, what: str) -> None:
        """Note a violation."""
        self.world.note(f"VIOLATION {what}")
        self.violations.append(what)

    # --- what clients are told ---

    def asking(self) -> int:
        """Count a question; what it is answered may not contradict what was told before."""
        self._asked += 1
        self._asked_at[self._asked] = self.world.sim.loop.time()
        return self._asked

    def planned(self, who: str, account_id: str, terms: dict[str, Any], reply: Reply) -> str:
        """Remember a plan that was answered. Returns its id."""
        trade_id = str(reply.data["trade_id"])
        if trade_id not in self.known:
            self.known[trade_id] = Known(trade_id, account_id, who, terms)
        return trade_id

    def heard(self, trade_id: str, asked: int, what: str, reply: Reply | None) -> str | None:
        """Take what a client was told of a trade. Returns the status told, if one was."""
        one = self.known.get(trade_id)
        if reply is None or one is None:
            return None
        status = _status(reply)
        if reply.status == 404 and what != "cancel order" and not self.restored:
            self.wrong(f"{trade_id} is not known to {what}")
        if status is None:
            return None
        # After so long a confirm tells what is known of the trade by then, whoever claimed it.
        late = self.world.sim.loop.time() - self._asked_at[asked] >= ANSWER_WITHIN_S
        if what == "confirm" and reply.status in (200, 422) and not late:
            one.won += 1
            if one.won > 1:
                self.wrong(f"{trade_id}: two confirms were told that they executed it")
        contradicted = one.final is not None and asked > one.final_at and status != one.final
        if contradicted and not self._may_change(str(one.final), status):
            self.wrong(f"{trade_id}: {what} told {status} after {one.final} had been told")
        if status in FINISHED and (one.final is None or self.restored):
            one.final, one.final_at = status, self._asked
        one.working = status == TradeStatus.WORKING
        return status

    def _may_change(self, before: str, after: str) -> bool:
        """A failed trade comes back on evidence only; a restored copy may know less."""
        if self.restored and before != TradeStatus.EXECUTED:
            return True
        return (before, after) == (TradeStatus.FAILED, TradeStatus.EXECUTED)

    # --- kill switches ---

    def stopped(self, scope: str, account_ids: list[str], reply: Reply) -> None:
        """A kill switch answered that it is engaged."""
        if scope not in self._stops:
            seen = {t.name: len(t.received()) for t in self.world.traded}
            under_way = frozenset(reply.data["live_orders"])
            self._stops[scope] = Stopped(frozenset(account_ids), under_way, seen)

    def releasing(self, scope: str) -> None:
        """A release is about to be asked for: until here nothing may have left."""
        if (stop := self._stops.pop(scope, None)) is not None:
            self._judge_stop(scope, stop)

    def _judge_stop(self, scope: str, stop: Stopped) -> None:
        for traded in self.world.traded:
            for trade_id in traded.received()[stop.seen[traded.name] :]:
                one = self.known.get(trade_id)
                # A request takes its time over a network: it may have left before the answer.
                on_its_way = traded.name != "paper" and trade_id in stop.under_way
                if one is not None and one.account_id in stop.account_ids and not on_its_way:
                    self.wrong(f"{trade_id} was sent after the kill switch of {scope} answered")

    def forget_switches(self) -> None:
        """A copy was restored: it may not know of them."""
        self.restored = True
        self._stops.clear()

    # --- at rest ---

    async def unrest(self) -> list[str]:
        """Return what is not at its end yet."""
        return list(await self._read(_unrest))

    async def judge(self) -> None:
        """Compare everything with everything, at rest."""
        for scope in list(self._stops):
            self.releasing(scope)
        for left in await self._read(_unrest):
            self.wrong(f"never ended: {left}")
        rows = await self._read(_rows)
        self._judge_requests(rows)
        theirs = {o.trade_id: o for t in self.world.traded for o in t.theirs()}
        self._judge_orders(rows, theirs)
        self._judge_told(rows)
        self._judge_edges(rows)
        await self._judge_books(rows)

    def _judge_requests(self, rows: dict[str, Any]) -> None:
        received = Counter(i for t in self.world.traded for i in t.received())
        for trade_id, times in sorted(received.items()):
            if times > 1:
                self.wrong(f"{trade_id} was sent {times} times")
            trade = rows["trades"].get(trade_id)
            if trade is None:
                self.wrong(f"{trade_id} was sent and is not in the books")
            elif trade["status"] in _NEVER_LEFT:
                self.wrong(f"{trade_id} is {trade['status']} and was sent")
        ids = Counter(o.trade_id for t in self.world.traded for o in t.theirs())
        for trade_id, times in sorted(ids.items()):
            if times > 1:
                self.wrong(f"{trade_id} has {times} orders at the exchange")

    def _judge_orders(self, rows: dict[str, Any], theirs: dict[str, Theirs]) -> None:
        for trade_id, there in sorted(theirs.items()):
            trade, order = rows["trades"].get(trade_id), rows["orders"].get(trade_id)
            if trade is None or order is None:
                self.wrong(f"{trade_id} is at the exchange and has no rows")
                continue
            if there.live:
                self.wrong(f"{trade_id} lives at the exchange, here it is {order['state']}")
            ours = frozenset(rows["fills"].get(trade_id, ()))
            if ours != there.fills:
                self.wrong(f"{trade_id}: fills here {sorted(ours)}, there {sorted(there.fills)}")
            filled = "executed" if there.filled else "failed"
            if trade["status"] != filled:
                self.wrong(f"{trade_id} is {trade['status']}, {there.filled} was filled there")
            if there.quantity != D(trade["quantity"]):
                self.wrong(f"{trade_id} was ordered as {there.quantity}, not {trade['quantity']}")
        for trade_id, trade in sorted(rows["trades"].items()):
            if trade_id not in theirs and trade["status"] == TradeStatus.EXECUTED:
                self.wrong(f"{trade_id} is executed, and the exchange has no such order")
            if trade["incident"]:
                self.wrong(f"{trade_id} has an incident: {trade['incident']}")

    def _judge_told(self, rows: dict[str, Any]) -> None:
        for one in self.known.values():
            trade = rows["trades"].get(one.trade_id)
            if trade is None:
                if not self.restored:
                    self.wrong(f"{one.trade_id} was planned and is not in the books")
                continue
            end = trade["status"]
            if one.final not in (None, end) and not self._may_change(str(one.final), end):
                self.wrong(f"{one.trade_id} was told {one.final} and is {end}")

    def _judge_edges(self, rows: dict[str, Any]) -> None:
        for kind, trade_id, old, new in rows["edges"]:
            self.edges[(kind, old, new)] += 1
            legal = is_legal(kind, old, new)
            if not legal and not (self.restored and old == ""):  # The fence writes rows again.
                self.wrong(f"{trade_id}: the {kind} went from {old} to {new}")

    async def _judge_books(self, rows: dict[str, Any]) -> None:
        for account_id in self.world.account_ids():
            ours = {c: D(total) for c, total in rows["totals"][account_id].items() if D(total)}
            there = self.world.exchange_of(account_id).balances(account_id)
            if ours != there:
                self.wrong(f"balances of {account_id}: here {ours}, there {there}")
            if rows["breaks"][account_id]:
                self.wrong(f"{account_id} stopped: {rows['breaks'][account_id]}")
        server = await self.world.until_up()
        assert server.backend is not None
        report = await audit.invariants(server.backend.desk)
        for broken in report["broken"]:
            self.wrong(f"invariant: {broken}")

    async def _read(self, body: Any) -> Any:
        server = await self.world.until_up()
        assert server.backend is not None
        return await server.backend.desk.database.read(body)


def is_legal(kind: str, old: str, new: str) -> bool:
    """Say whether the domain knows this edge; "" is before the row was there."""
    if old == "":
        return new == ("pending" if kind == "trade" else "sending")
    if kind == "trade":
        return TradeStatus(new) in TRADE_EDGES[TradeStatus(old)]
    return OrderState(new) in ORDER_EDGES[OrderState(old)]


def _status(reply: Reply) -> str | None:
    data = reply.data
    if not isinstance(data, dict):
        return None
    if reply.status < 400:
        return str(data["status"]) if "status" in data else None
    trade = data.get("trade")
    told = trade.get("status") if isinstance(trade, dict) else data.get("current_status")
    return None if told is None else str(told)


def _unrest(tx: Transaction) -> list[str]:
    ended = ",".join(f"'{status}'" for status in sorted(FINISHED))
    left = [
        f"{row['id']} is {row['status']}"
        for row in tx.rows(f"SELECT id, status FROM trades WHERE status NOT IN ({ended})")
    ]
    final = ",".join(f"'{state}'" for state in sorted(FINAL))
    left += [
        f"the order of {row['trade_id']} is {row['state']}"
        for row in tx.rows(f"SELECT trade_id, state FROM orders WHERE state NOT IN ({final})")
    ]
    left += [
        f"account {row['account']} holds {row['held']} {row['currency']}"
        for row in tx.rows("SELECT account, currency, held FROM balances WHERE held <> '0'")
    ]
    return left


def _rows(tx: Transaction) -> dict[str, Any]:
    """Return everything that is judged, in one snapshot."""
    names = {
        r["id"]: f"{r['exchange']}:{r['identifier']}" for r in tx.rows("SELECT * FROM accounts")
    }
    fills: dict[str, list[tuple[str, Decimal, Decimal, Decimal]]] = {}
    for f in tx.rows("SELECT * FROM fills WHERE trade_id IS NOT NULL"):
        one = (f["exchange_fill_id"], D(f["quantity"]), D(f["price"]), D(f["fee"]))
        fills.setdefault(f["trade_id"], []).append(one)
    totals: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for row in tx.rows("SELECT account, currency, total FROM balances"):
        totals[names[row["account"]]][row["currency"]] = row["total"]
    return {
        "trades": {row["id"]: row for row in tx.rows("SELECT * FROM trades")},
        "orders": {row["trade_id"]: row for row in tx.rows("SELECT * FROM orders")},
        "fills": fills,
        "totals": totals,
        "breaks": {
            names[row["id"]]: row["break_reason"] for row in tx.rows("SELECT * FROM accounts")
        },
        "edges": [tuple(row) for row in tx.rows("SELECT kind, id, old, new FROM sim_edges")],
    }
