"""What queries see: the engine itself, or what it was when a lag was switched on."""

import copy
from dataclasses import dataclass

from .accounts import Account, Balance
from .engine import Engine
from .orders import Fill, Order

READS = ("order", "openOrders", "allOrders", "account", "myTrades")


@dataclass(frozen=True, slots=True)
class _Frozen:
    orders: list[Order]
    balances: dict[int, dict[str, Balance]]
    fills: int


class Reads:
    """The read side of orders, balances and fills, each behind the engine where told so."""

    def __init__(self, engine: Engine, accounts: dict[int, Account]) -> None:
        self._engine, self._accounts = engine, accounts
        self._frozen: dict[str, _Frozen] = {}

    def lag(self, name: str, on: bool) -> None:
        """Hide all news from one kind of read until switched off. Raises ValueError."""
        if name not in READS:
            raise ValueError(f"reads are {READS}, was {name!r}")
        if on:
            self._frozen[name] = self._freeze()
        else:
            self._frozen.pop(name, None)

    def clear(self) -> None:
        self._frozen.clear()

    def find(
        self, uid: int, symbol: str, order_id: int | None, client_id: str | None
    ) -> Order | None:
        """One order by id, or the newest of a client id; both must agree where both are given."""
        if order_id is not None:
            order = self._by_id(symbol, order_id)
            return order if order is not None and order.uid == uid else None
        for order in reversed(self._of_client(uid, symbol, client_id or "")):
            if self._engine.views.shown_id(order) == client_id:
                return order
        return None

    def orders(self, name: str, uid: int, symbol: str) -> list[Order]:
        """All orders of an account and symbol, oldest first."""
        seen = self._frozen[name].orders if name in self._frozen else self._engine.history
        return [order for order in seen if order.uid == uid and order.symbol == symbol]

    def open_orders(self, uid: int, symbol: str | None) -> list[Order]:
        """The open orders of an account, oldest first."""
        if "openOrders" not in self._frozen:
            return self._engine.open_of(uid, symbol)
        seen = self._frozen["openOrders"].orders
        mine = [order for order in seen if order.uid == uid and order.is_open]
        return [order for order in mine if symbol in (None, order.symbol)]

    def balances(self, account: Account) -> dict[str, Balance]:
        if "account" not in self._frozen:
            return account.balances
        return self._frozen["account"].balances.get(account.uid, {})

    def fills(self, uid: int, symbol: str) -> list[Fill]:
        """The fills of an account and symbol, oldest first."""
        seen = self._engine.fills
        if "myTrades" in self._frozen:
            seen = seen[: self._frozen["myTrades"].fills]
        return [fill for fill in seen if fill.uid == uid and fill.symbol == symbol]

    def _by_id(self, symbol: str, order_id: int) -> Order | None:
        if "order" not in self._frozen:
            return self._engine.orders.get((symbol, order_id))
        seen = self._frozen["order"].orders
        return next((o for o in seen if (o.symbol, o.order_id) == (symbol, order_id)), None)

    def _of_client(self, uid: int, symbol: str, client_id: str) -> list[Order]:
        if "order" in self._frozen or self._engine.views.cancel_renames:
            return self.orders("order", uid, symbol)
        return self._engine.by_client.get((uid, symbol, client_id), [])

    def _freeze(self) -> _Frozen:
        orders = [order.frozen() for order in self._engine.history]
        balances = {uid: copy.deepcopy(a.balances) for uid, a in self._accounts.items()}
        return _Frozen(orders, balances, len(self._engine.fills))
