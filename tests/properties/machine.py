"""The machine: whatever a caller does, and whatever happens, the server answers as the oracle.

A failure is printed by hypothesis as a script of rules; every rule is one request or
one event. After each rule the account's funds are compared, and the books' invariants.
"""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from backend.testing import Answer, Stack
from tests.properties.accounts import QUOTES, TERMS
from tests.properties.book import EXECUTING, EXPIRED, FAILED, LISTED, LIVE, PENDING, Trade
from tests.properties.home import Home
from tests.properties.oracle import Wish, world
from tests.properties.wishes import ACCOUNTS, MALFORMED, body, prices, wishes

D = Decimal
API = "/api/v1"
TRADES, ORDERS = f"{API}/trading/trades", f"{API}/trading/orders"
FAULTS = ("lose_answer", "lose_request", "reject", "unavailable", "partial")


class Lives(RuleBasedStateMachine):
    """The accounts of one home, and the oracle beside them."""

    home: Home
    # Whether funds and books are looked at after each step, or at the end only.
    thorough = True
    http = 0
    trades = Bundle("trades")

    def __init__(self) -> None:
        super().__init__()
        self.home.begin()
        self.oracle = world(self.home.clock(), TERMS, dict(QUOTES))
        self.looked: set[str] = set()
        self.stormy = False
        self.count = 0

    @property
    def stack(self) -> Stack:
        return self.home.stack

    # --- speaking ---

    def ask(self, method: str, path: str, json: Any = None, who: str = "agent") -> Answer:
        """Make one request; `who` is agent, operator, rival, or second: the agent elsewhere."""
        server, token = (self.home.other(), "agent") if who == "second" else (self.stack, who)
        self.http, media, text = self.home.ask(server, token, method, path, json)
        assert self.http < 500 or self.http == 503, text
        answer = Answer(text, self.http >= 400)
        if answer.refused:
            assert media == "application/problem+json"
            assert answer["status"] == self.http
        return answer

    def refused(self, answer: Answer, codes: set[str], status: int = 400) -> None:
        assert answer.refused, (answer, codes)
        assert (answer.code in codes, self.http) == (True, status), (answer.code, codes, self.http)

    def same(self, told: Any, trade: Trade) -> None:
        """Compare a whole trade with what it should be."""
        assert told["trade_id"] == trade.id
        assert (told["status"], told["reason"]) == (trade.status, trade.reason), told
        assert (told["account_id"], told["side"]) == (trade.account, trade.side)
        assert (told["quantity"], told["price"]) == (trade.quantity, trade.price)
        assert told["worst_price"] == trade.worst
        assert told["filled_quantity"] == (0 if trade.hidden else trade.filled), told
        assert told["reserved_buying_power"] == trade.reserved.get("USD", D(0))

    # --- rules: two phases ---

    @initialize(storm=st.integers(0, 11))
    def weather(self, storm: int) -> None:
        """One life in twelve has crashes, restarts and a second server, which cost more."""
        self.stormy = storm == 11

    @rule(target=trades, wish=wishes(), request=st.sampled_from([None, None, None, "r1", "r2"]))
    def plan(self, wish: Wish, request: str | None) -> Any:
        oracle, body_ = self.oracle, body(wish, request)
        oracle.expire()
        answer = self.ask("POST", TRADES, body_)
        return self.judge_plan(answer, wish, request)

    def judge_plan(self, answer: Answer, wish: Wish, request: str | None) -> Any:
        oracle = self.oracle
        self.looked.add(wish.account)
        if request is not None and (known := oracle.requests.get(request)):
            if known[0] != wish.identity:
                self.refused(answer, {"request_id_reused"})
                return multiple()
            assert self.http == 200
            self.same(answer, oracle.trades[known[1]])
            return multiple()
        if codes := oracle.why_not(wish):
            self.refused(answer, codes)
            return multiple()
        assert self.http == 201, answer
        trade = oracle.planned(wish, answer.trade_id, request)
        self.same(answer, trade)
        assert answer["approval"]["required"] == trade.wants_approval
        assert answer["buying_power"] == oracle.free(wish.account, "USD")
        left = int((trade.expires - trade.created).total_seconds())
        assert answer["expires_in_s"] == left
        return trade.id

    @rule(wish=wishes(), wrong=st.sampled_from(MALFORMED))
    def plan_malformed(self, wish: Wish, wrong: tuple[dict[str, Any], str]) -> None:
        answer = self.ask("POST", TRADES, {**body(wish, None), **wrong[0]})
        self.refused(answer, {wrong[1]}, 404 if wrong[1] == "not_found" else 400)

    @rule(trade_id=trades, fault=st.sampled_from(["accept", "accept", *FAULTS]),
          who=st.sampled_from(["agent", "agent", "agent", "rival"]))  # fmt: skip
    def confirm(self, trade_id: str, fault: str, who: str) -> None:
        trade, oracle = self.oracle.trades[trade_id], self.oracle
        self.looked.add(trade.account)
        if who == "rival" and trade.status == PENDING:
            answer = self.ask("POST", f"{TRADES}/{trade_id}/confirm", who=who)
            return self.refused(answer, {"not_the_planner"}, 403)
        codes = oracle.confirm_codes(trade)
        if not codes:
            self._arm(fault, trade)
        answer = self.ask("POST", f"{TRADES}/{trade_id}/confirm", who=who)
        if codes:
            self.refused(answer, codes)
            assert answer["current_status"] == trade.status
            if codes == {"trade_not_pending"}:
                self.same(answer["trade"], trade)
                late = answer["detail"].startswith("Trade has expired")
                assert late == (trade.status == EXPIRED)
            return None
        oracle.send(trade, fault)
        return self._judge_confirm(answer, trade)

    def _arm(self, fault: str, trade: Trade) -> None:
        given = (trade.quantity / 2,) if fault == "partial" else ()
        getattr(self.stack.faults, fault)(*given)

    def _judge_confirm(self, answer: Answer, trade: Trade) -> None:
        if trade.status == FAILED:
            code = {"rejected": "exchange_rejected", "not_sent": "exchange_unavailable"}
            wanted = code.get(trade.reason or "", "not_filled")
            self.refused(answer, {wanted}, 503 if trade.reason == "not_sent" else 422)
            assert (answer["reason"], answer["current_status"]) == (trade.reason, FAILED)
            return self._judge_outcome(answer["trade"], trade)
        assert self.http == (202 if trade.status == EXECUTING else 200), answer
        return self._judge_outcome(answer, trade)

    def _judge_outcome(self, answer: dict[str, Any], trade: Trade) -> None:
        assert (answer["status"], answer["reason"]) == (trade.status, trade.reason)
        filled = D(0) if trade.hidden else trade.filled
        assert answer["filled_quantity"] == filled
        assert answer["new_balance"] == self.oracle.total(trade.account, "USD")
        held = self.oracle.accounts[trade.account].bought.get(trade.listed.symbol, D(0))
        assert answer["new_position"]["quantity"] == held

    @rule(trade_id=trades, who=st.sampled_from(["agent", "rival", "operator"]))
    def cancel(self, trade_id: str, who: str) -> None:
        trade = self.oracle.trades[trade_id]
        self.looked.add(trade.account)
        answer = self.ask("DELETE", f"{TRADES}/{trade_id}", who=who)
        self._judge_cancel(answer, trade)

    def _judge_cancel(self, answer: Answer, trade: Trade) -> None:
        if trade.status in ("cancelled", EXPIRED):
            assert (answer["status"], answer["released_buying_power"]) == (trade.status, 0)
        elif trade.status == PENDING:
            assert (answer["status"], answer["released_buying_power"]) == (
                "cancelled", trade.released,
            )  # fmt: skip
            trade.status, trade.reason = "cancelled", "caller"
        else:
            self.refused(answer, {"trade_not_pending"})
            assert (answer["next"] == "cancel_order") == (trade.status in LIVE)

    @rule(trade_id=trades)
    def cancel_order(self, trade_id: str) -> None:
        trade = self.oracle.trades[trade_id]
        self.looked.add(trade.account)
        live = trade.status in LIVE and trade.status != PENDING
        answer = self.ask("DELETE", f"{ORDERS}/{trade_id}")
        if trade.claimed is None:
            return self.refused(answer, {"not_found"}, 404)
        if not live:
            return self.refused(answer, {"order_not_open"})
        self.oracle.cancel_order(trade)
        assert self.http == (202 if trade.status == EXECUTING else 200)
        assert answer["cancel_requested"] is True
        assert (answer["status"], answer["reason"]) == (trade.status, trade.reason)
        return None

    @rule(trade_id=trades)
    def approve(self, trade_id: str) -> None:
        trade = self.oracle.trades[trade_id]
        answer = self.ask("POST", f"{TRADES}/{trade_id}/approve", who="operator")
        if code := self.oracle.approve(trade):
            return self.refused(answer, {code})
        self.same(answer, trade)
        assert answer["expires_in_s"] == int((trade.expires - self.oracle.now).total_seconds())
        return None

    @rule(trade_id=trades)
    def reject(self, trade_id: str) -> None:
        trade = self.oracle.trades[trade_id]
        self.looked.add(trade.account)
        answer = self.ask("POST", f"{TRADES}/{trade_id}/reject", who="operator")
        if trade.status != PENDING:
            return self.refused(answer, {"trade_not_pending"})
        trade.status, trade.reason = "cancelled", "operator_rejected"
        assert answer["released_buying_power"] == trade.released
        return None

    # --- rules: the same over MCP ---

    @rule(wish=wishes(), end=st.sampled_from(["confirm", "cancel"]))
    def plan_and_end_over_mcp(self, wish: Wish, end: str) -> None:
        given = body(wish, None)
        answer = self.home.run(self.stack.call("plan_trade", **given))
        self.http = int(answer["status"]) if answer.refused else 201
        trade_id = self.judge_plan(answer, wish, None)
        if not isinstance(trade_id, str):
            return None
        trade = self.oracle.trades[trade_id]
        codes = self.oracle.confirm_codes(trade)
        told = self.home.run(
            self.stack.call("execute_trade", trade_id=trade_id, action=f" {end.upper()} ")
        )
        self.http = int(told["status"]) if told.refused else 200
        if end == "cancel":
            return self._judge_cancel(told, trade)
        if codes:
            return self.refused(told, codes)
        self.oracle.send(trade, "accept")
        return self._judge_confirm(told, trade)

    # --- rules: time and the market ---

    @rule(seconds=st.sampled_from([0, 1, 2, 3, 59, 60, 599, 3600, 30_000]), tick=st.booleans())
    def wait(self, seconds: int, tick: bool) -> None:
        self.oracle.advance(seconds)
        self.home.run(self.stack.advance(seconds, tick=tick))
        if tick:
            self.oracle.tick()

    @rule(
        trade_id=trades,
        beside=st.sampled_from([-1, 0]),
        then=st.sampled_from(["confirm", "cancel", "sweep"]),
    )
    def wait_for_its_expiry(self, trade_id: str, beside: int, then: str) -> None:
        """To the second of it, or the second before; whoever asks first finds it so."""
        trade = self.oracle.trades[trade_id]
        seconds = int((trade.expires - self.oracle.now).total_seconds()) + beside
        if trade.status != PENDING or seconds < 0:
            return
        self.wait(seconds, then == "sweep")
        self.looked.add(trade.account)
        if then == "confirm":
            self.confirm(trade_id, "accept", "agent")
        elif then == "cancel":
            self.cancel(trade_id, "agent")

    @rule(data=st.data(), symbol=st.sampled_from(sorted(LISTED)), gone=st.integers(0, 9))
    def price(self, data: st.DataObject, symbol: str, gone: int) -> None:
        """The market moves, or shows no price, and a second later everybody knows."""
        if gone == 9:
            self.stack.prices.remove(symbol)
            self.oracle.market[symbol] = None
        else:
            ask = data.draw(prices(symbol))
            self.stack.prices.set(symbol, ask - D("0.02"), ask)
            self.oracle.market[symbol] = (ask - D("0.02"), ask)
        self.wait(1, True)
        self.looked.update(ACCOUNTS)

    # --- rules: hands on the brake ---

    @rule(account=st.sampled_from([None, *ACCOUNTS]))
    def halt(self, account: str | None) -> None:
        given = {"scope": "account", "account_id": account} if account else {"scope": "global"}
        who = "agent" if account else "operator"
        answer = self.ask("POST", f"{API}/risk/kill-switch", {"reason": "x", **given}, who)
        assert self.http == 200, answer
        oracle, scope = self.oracle, [account] if account else list(ACCOUNTS)
        ended = {t.id for name in scope for t in oracle.of(name, PENDING)}
        assert set(answer["cancelled_trades"]) == ended
        oracle.end_plans(scope, "kill_switch")
        for trade in [t for name in scope for t in oracle.of(name, "executing", "working")]:
            oracle.cancel_order(trade)
        if account:
            oracle.accounts[account].halted = True
        else:
            oracle.halted = True
        self.looked.update(scope)

    @rule(account=st.sampled_from([None, *ACCOUNTS]), who=st.sampled_from(["operator", "agent"]))
    def resume(self, account: str | None, who: str) -> None:
        given = {"scope": "account", "account_id": account} if account else {"scope": "global"}
        answer = self.ask("POST", f"{API}/risk/kill-switch/release", {"reason": "x", **given}, who)
        oracle = self.oracle
        if who == "agent":
            return self.refused(answer, {"forbidden"}, 403)
        engaged = oracle.accounts[account].halted if account else oracle.halted
        if not engaged:
            return self.refused(answer, {"not_found"}, 404)
        assert self.http == 200
        if account:
            oracle.accounts[account].halted = False
        else:
            oracle.halted = False
        return None

    @rule(account=st.sampled_from(ACCOUNTS), enabled=st.booleans())
    def switch_account(self, account: str, enabled: bool) -> None:
        word = "enable" if enabled else "disable"
        answer = self.ask("POST", f"{API}/accounts/{account}/{word}", who="operator")
        assert (self.http, answer["enabled"]) == (200, enabled)
        self.oracle.accounts[account].enabled = enabled
        if not enabled:
            self.oracle.end_plans([account], "account_disabled")
        self.looked.add(account)

    # --- rules: what happens to servers ---

    @precondition(lambda self: self.stormy)
    @rule(how=st.sampled_from(["restart", "crash"]))
    def die(self, how: str) -> None:
        self.home.end_second()
        self.home.run(getattr(self.stack, how)())
        self.looked.update(ACCOUNTS)

    @precondition(lambda self: self.stormy)
    @rule(target=trades, wish=wishes())
    def plan_at_another_server(self, wish: Wish) -> Any:
        return self.judge_plan(self.ask("POST", TRADES, body(wish, None), "second"), wish, None)

    @precondition(lambda self: self.stormy)
    @rule(trade_id=trades)
    def confirm_at_another_server(self, trade_id: str) -> None:
        self.home.other()
        self.confirm(trade_id, "accept", "second")

    # --- what must hold ---

    @invariant()
    def funds_are_as_they_should_be(self) -> None:
        if self.thorough:
            for account in sorted(self.looked):
                self._compare(account)
            self.looked.clear()
            self._books()

    def _compare(self, account: str) -> None:
        oracle, owner = self.oracle, self.oracle.accounts[account]
        told = self.ask("GET", f"{API}/portfolio?account_id={account}")
        assert told["balance"] == oracle.total(account, "USD"), told
        assert told["buying_power"] == oracle.free(account, "USD"), told
        assert told["reserved"] == oracle.held(account, "USD"), told
        funds = {b["currency"]: (b["total"], b["available"]) for b in told["balances"]}
        wanted = {c: (t, oracle.free(account, c)) for c, t in owner.totals.items() if t}
        assert funds == wanted
        held = {p["symbol"]: p["quantity"] for p in told["positions"]}
        assert held == {s: q for s, q in owner.bought.items() if q}
        ids = [{t["trade_id"] for t in told[name]} for name in ("pending_trades", "open_orders")]
        assert ids == [
            {t.id for t in oracle.of(account, PENDING)},
            {t.id for t in oracle.of(account, "executing", "working")},
        ]

    def _books(self) -> None:
        told = self.ask("GET", f"{API}/audit/invariants", who="operator")
        assert told["broken"] == []

    def teardown(self) -> None:
        """Every trade is as the oracle says, and nothing was sent twice."""
        for account in ACCOUNTS if self.thorough else sorted(self.looked):
            self._compare(account)
        page = self.ask("GET", f"{TRADES}?limit=100")
        for told in page["trades"]:
            self.same(told, self.oracle.trades[told["trade_id"]])
        assert len(page["trades"]) == len(self.oracle.trades)
        sent = [order.client_order_id for order in self.stack.faults.attempts]
        assert len(sent) == len(set(sent))
        self._books()
        self.home.end_second()
