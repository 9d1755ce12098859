"""What people and programs do in a simulated world: agents that trade, and an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.simulation.exchanges import ASK, BID
from tests.simulation.world import World

D = Decimal
_TRADES, _ORDERS = "/trading/trades", "/trading/orders"
_PAUSES = (0.0, 0.01, 0.2, 0.6, 1.2, 2.5)
_QUANTITIES = ("0.001", "0.005", "0.01", "0.02", "0.012")

Act = Callable[[], Awaitable[None]]


class Agent:
    """A program that plans and confirms, loses connections, and asks again."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.mine: list[str] = []
        self._requests: list[dict[str, Any]] = []

    async def live(self, acts: int) -> None:
        """Do so many things, one after the other."""
        chances: list[tuple[Act, int]] = [
            (self._trade, 12),
            (self._trade_at_once, 4),
            (self._trade_and_leave, 3),
            (self._cancel_while_confirming, 2),
            (self._plan_and_cancel, 1),
            (self._plan_and_forget, 1),
            (self._confirm_late, 2),
            (self._confirm_again, 2),
            (self._plan_again, 2),
            (self._cancel_order, 4),
            (self._look, 3),
            (self._portfolio, 1),
            (self._stop_account, 1),
        ]
        names, weights = [act for act, _ in chances], [weight for _, weight in chances]
        dice = self.world.dice
        for _ in range(acts):
            await dice.choices(names, weights)[0]()
            await asyncio.sleep(dice.choice(_PAUSES))

    # --- words ---

    def _terms(self) -> dict[str, Any]:
        """Draw an order: to fill at once, to rest, or to wait for a price."""
        dice, world = self.world.dice, self.world
        account_id = dice.choice(world.account_ids())
        if world.other is not None and dice.random() < 0.8:
            account_id = world.other.account_ids[0]
        traded = world.exchange_of(account_id)
        terms: dict[str, Any] = {
            "account_id": account_id,
            "symbol": dice.choice(traded.symbols),
            "side": dice.choice(("buy", "buy", "sell")),
            "quantity": dice.choice(_QUANTITIES),
        }
        kind = dice.choice(("market", "market", "below", "above", "stop"))
        away = dice.choice((5, 50, 900))
        if kind == "market" or (kind == "stop" and traded.name == "bitstamp"):
            return terms
        if kind == "stop":
            price = ASK + away + 50 if terms["side"] == "buy" else BID - away - 50
            return terms | {"order_type": "stop", "stop_price": str(price)}
        price = ASK + away if kind == "above" else BID - away
        force = dice.choice(("gtc", "gtc", "ioc", "fok"))
        return terms | {"order_type": "limit", "limit_price": str(price), "time_in_force": force}

    async def _plan(self, terms: dict[str, Any]) -> str | None:
        world = self.world
        reply = await world.ask(self.name, "POST", _TRADES, terms)
        told = "no answer" if reply is None else f"{reply.status} {reply.code}"
        world.note(f"{self.name} plan {terms['account_id']} {terms['side']}: {told}")
        if reply is None or reply.status not in (200, 201):
            return None
        trade_id = world.oracle.planned(self.name, terms["account_id"], terms, reply)
        if trade_id not in self.mine:
            self.mine.append(trade_id)
        return trade_id

    async def _new(self) -> str | None:
        """Plan; where no answer comes, ask again under the same request id."""
        terms = self._terms()
        if self.world.dice.random() < 0.4:
            terms["request_id"] = f"{self.name}-{len(self._requests)}"
            self._requests.append(terms)
        made = await self._plan(terms)
        if made is None and "request_id" in terms:
            made = await self._plan(terms)
        return made

    async def _confirm(self, trade_id: str, patience_s: float | None = None) -> str | None:
        patience = {} if patience_s is None else {"patience_s": patience_s}
        path = f"{_TRADES}/{trade_id}/confirm"
        return await self._say("confirm", trade_id, "POST", path, **patience)

    async def _say(
        self, what: str, trade_id: str, method: str, path: str, **more: Any
    ) -> str | None:
        world = self.world
        asked = world.oracle.asking()
        reply = await world.ask(self.name, method, path, **more)
        status = world.oracle.heard(trade_id, asked, what, reply)
        told = "no answer" if reply is None else f"{reply.status} {reply.code} {status}"
        world.note(f"{self.name} {what} {trade_id[4:10]}: {told}")
        return status

    def _any(self) -> str | None:
        return self.world.dice.choice(self.mine[-5:]) if self.mine else None

    # --- deeds ---

    async def _trade(self) -> None:
        made = await self._new()
        if made is not None:
            await self._confirm(made)

    async def _trade_at_once(self) -> None:
        made = await self._new()
        if made is not None:
            count = self.world.dice.randint(2, 3)
            await asyncio.gather(*(self._confirm(made) for _ in range(count)))

    async def _trade_and_leave(self) -> None:
        made = await self._new()
        if made is not None:
            await self._confirm(made, self.world.dice.choice((0.001, 0.02, 0.3)))
            await self._confirm(made)

    async def _cancel_while_confirming(self) -> None:
        made = await self._new()
        if made is not None:
            await asyncio.gather(self._confirm(made), self._cancel(made))

    async def _plan_and_cancel(self) -> None:
        made = await self._new()
        if made is not None:
            await self._cancel(made)

    async def _plan_and_forget(self) -> None:
        await self._new()

    async def _confirm_late(self) -> None:
        """Confirm around the instant at which the plan expires."""
        made = await self._new()
        if made is not None:
            await asyncio.sleep(self.world.dice.choice((9.9, 9.97, 10.0, 10.2)))
            await asyncio.gather(self._look_at(made), self._confirm(made))

    async def _confirm_again(self) -> None:
        made = self._any()
        if made is not None:
            await self._confirm(made)

    async def _plan_again(self) -> None:
        if self._requests:
            await self._plan(self.world.dice.choice(self._requests))

    async def _cancel_order(self) -> None:
        made = self._any()
        if made is not None:
            await self.cancel_order(made)

    async def _look(self) -> None:
        made = self._any()
        if made is not None:
            await self._look_at(made)

    async def _portfolio(self) -> None:
        account_id = self.world.dice.choice(self.world.account_ids())
        await self.world.ask(self.name, "GET", f"/portfolio?account_id={account_id}")

    async def _stop_account(self) -> None:
        account_id = self.world.dice.choice(self.world.account_ids())
        await engage(self.world, self.name, "account", account_id)

    async def _look_at(self, trade_id: str) -> None:
        await self._say("look", trade_id, "GET", f"{_TRADES}/{trade_id}")

    async def _cancel(self, trade_id: str) -> None:
        await self._say("cancel", trade_id, "DELETE", f"{_TRADES}/{trade_id}")

    async def cancel_order(self, trade_id: str) -> None:
        """Ask for the cancel of a live order."""
        await self._say("cancel order", trade_id, "DELETE", f"{_ORDERS}/{trade_id}")

    async def end_what_lives(self) -> None:
        """Cancel every order that still works, and every plan that still waits."""
        for trade_id in self.mine:
            known = self.world.oracle.known[trade_id]
            if known.final is None:
                await self._look_at(trade_id)
            if known.working:
                await self.cancel_order(trade_id)


class Operator:
    """A person: approves and rejects, stops and releases, and changes accounts."""

    name = "operator"

    def __init__(self, world: World) -> None:
        self.world = world

    async def live(self, acts: int) -> None:
        """Do so many things; what waits for an approval comes first."""
        chances: list[tuple[Act, int]] = [
            (self._decide, 8),
            (self._stop, 2),
            (self._release, 3),
            (self._disable, 1),
            (self._enable, 2),
            (self._new_key, 1),
            (self._look, 1),
        ]
        deeds, weights = [act for act, _ in chances], [weight for _, weight in chances]
        dice = self.world.dice
        for _ in range(acts):
            await dice.choices(deeds, weights)[0]()
            await asyncio.sleep(dice.choice(_PAUSES))

    async def _say(self, method: str, path: str, body: Any = None) -> Any:
        reply = await self.world.ask(self.name, method, path, body)
        told = "no answer" if reply is None else f"{reply.status} {reply.code}"
        self.world.note(f"operator {method} {path.partition('?')[0][:40]}: {told}")
        return reply

    async def want_approvals(self) -> None:
        """Let larger plans of the main exchange need an approval."""
        account_id = self.world.main.account_ids[-1]
        await self._limits(account_id, {"approval_threshold": "300"})

    async def _limits(self, account_id: str, limits: dict[str, str]) -> None:
        whole = {"price_band": "100000", "max_orders_per_minute": "1000", **limits}
        await self._say("POST", f"/accounts/{account_id}/limits", {"limits": whole})

    async def _decide(self) -> None:
        reply = await self._say("GET", f"{_TRADES}?status=pending")
        if reply is None or reply.status != 200:
            return
        for one in reply.data["trades"][:3]:
            if (one.get("approval") or {}).get("required"):
                await self._approve(one["trade_id"])

    async def _approve(self, trade_id: str) -> None:
        oracle, word = self.world.oracle, "approve"
        if self.world.dice.random() < 0.2:
            word = "reject"
        asked = oracle.asking()
        reply = await self._say("POST", f"{_TRADES}/{trade_id}/{word}")
        oracle.heard(trade_id, asked, word, reply)

    async def _stop(self) -> None:
        world = self.world
        scope = world.dice.choice(("global", "account", "account"))
        account_id = world.dice.choice(world.account_ids())
        await engage(world, self.name, scope, account_id)

    async def _release(self) -> None:
        scopes = list(self.world.switches)
        if scopes:
            await release(self.world, self.world.dice.choice(scopes))

    async def _disable(self) -> None:
        await self._say("POST", f"/accounts/{self._account()}/disable")

    async def _enable(self) -> None:
        for account_id in self.world.account_ids():
            await self._say("POST", f"/accounts/{account_id}/enable")

    def _account(self) -> str:
        return self.world.dice.choice(self.world.account_ids())

    async def _new_key(self) -> None:
        other = self.world.other
        if other is not None:
            body = {"credentials": other.side.new_credentials()}
            await self._say("POST", f"/accounts/{other.account_ids[0]}/credentials", body)

    async def _look(self) -> None:
        await self._say("GET", f"/risk/status?account_id={self._account()}")

    async def put_right(self) -> None:
        """Look at everything, then let it go on: switches, accounts, quarantine."""
        for scope in list(self.world.switches):
            await release(self.world, scope)
        await self._enable()
        if self.world.oracle.restored:
            await self._say("POST", "/risk/quarantine/lift", {"reason": "looked"})


async def engage(world: World, who: str, scope: str, account_id: str) -> None:
    """Engage a kill switch, and let the oracle watch from its answer on."""
    async with world.switching:
        name = scope if scope == "global" else account_id
        body = {"reason": "to be safe", "scope": scope}
        if scope == "account":
            body["account_id"] = account_id
        world.switches[name] = body
        reply = await world.ask(who, "POST", "/risk/kill-switch", body, patience_s=60)
        world.note(f"{who} stop {name}: {reply.status if reply else 'no answer'}")
        if reply is not None and reply.status == 200:
            covered = world.account_ids() if scope == "global" else [account_id]
            world.oracle.stopped(name, covered, reply)


async def release(world: World, name: str) -> None:
    """Release a kill switch."""
    async with world.switching:
        world.oracle.releasing(name)
        reply = await world.ask(
            "operator", "POST", "/risk/kill-switch/release", world.switches[name]
        )
        world.note(f"operator release {name}: {reply.status if reply else 'no answer'}")
        if reply is not None and reply.status in (200, 404):
            del world.switches[name]
