"""What the account's own records say: one order, the open ones, orders and fills since."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from backend.domain.errors import OutcomeUnknown
from backend.domain.money import ZERO
from backend.domain.order import Fill, OrderReport
from backend.domain.trade import is_trade_id
from backend.exchanges.binance.answers import Answer, not_told, read, understood
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.endpoints import (
    ALL_ORDERS,
    FILLS,
    FILLS_OF_ORDER,
    OPEN_ORDERS,
    ORDER,
    Endpoint,
)
from backend.exchanges.binance.orders import FillRow, OrderRow, fill_of, number, report_of
from backend.exchanges.binance.rejections import NOT_FOUND
from backend.exchanges.binance.times import to_ms

T = TypeVar("T", OrderRow, FillRow)

_PAGE = 1000
_DAY_MS = 86_400_000
_PAGES_AT_MOST = 100
_REMEMBERED = 20_000

# Asks one signed question; the timestamp is added.
LookUp = Callable[[Endpoint, Mapping[str, str | int]], Awaitable[Answer]]


class History:
    """The look-ups of one account. A bad answer is an error, never an empty list."""

    def __init__(self, look_up: LookUp, codes: Codes, now: Callable[[], datetime]) -> None:
        self._look_up = look_up
        self._codes = codes
        self._now = now
        # A listed fill names its order by number only.
        self._names: dict[tuple[str, int], str] = {}

    def remember(self, code: str, order_id: int, client_order_id: str) -> None:
        """Keep in mind which client id an order has; one of ours stays, whoever renames it."""
        key = code, order_id
        if key not in self._names or is_trade_id(client_order_id):
            self._names[key] = client_order_id
        if len(self._names) > _REMEMBERED:
            del self._names[next(iter(self._names))]

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None
    ) -> OrderReport | None:
        """Return one order with its fills, or None: the exchange says it has none such.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer, or an archived order.
        """
        code = self._codes.code(symbol)
        key = {"orderId": exchange_order_id} if exchange_order_id else None
        key = key or {"origClientOrderId": client_order_id}
        answer = await self._look_up(ORDER, {"symbol": code, **key})
        if answer.code == NOT_FOUND and 400 <= answer.status < 500:
            return None
        row = read(self._good(answer), OrderRow)
        if row.code != code or not _is_asked_for(row, client_order_id, exchange_order_id):
            raise OutcomeUnknown("the exchange told of another order than was asked for")
        self._codes.remember(symbol, code)
        self.remember(code, row.order_id, client_order_id)
        fills = await self._fills_of(row, symbol, client_order_id)
        with understood():
            return report_of(row, symbol, fills, client_order_id)

    async def open_orders(self) -> list[OrderReport]:
        """Return every live order of the account. Raises as `find`."""
        answer = await self._look_up(OPEN_ORDERS, {})
        rows = read(self._good(answer), list[OrderRow])
        return [self._report(row, self._codes.symbol(row.code)) for row in rows]

    async def orders(self, symbol: str, since: datetime) -> list[OrderReport]:
        """Return the orders of a symbol placed since, oldest first. Raises as `find`."""
        rows = await self._orders(symbol, since)
        rows.sort(key=lambda row: (row.placed_at, row.order_id))
        return [self._report(row, symbol) for row in rows]

    async def fills(self, symbol: str, since: datetime) -> list[Fill]:
        """Return the fills of a symbol since, oldest first. Raises as `find`.

        Those of an order placed before `since` that we never met have no client order id.
        """
        code = self._codes.code(symbol)
        rows = await self._since(FILLS, list[FillRow], code, since, "fromId", _fill_id)
        names = {row.order_id: self._names.get((code, row.order_id)) for row in rows}
        if None in names.values():
            for order in await self._orders(symbol, since):
                if order.order_id in names:
                    names[order.order_id] = names[order.order_id] or order.client_order_id
                    self.remember(code, order.order_id, order.client_order_id)
        rows.sort(key=lambda row: (row.filled_at, row.fill_id))
        return self._fills(rows, symbol, lambda row: names[row.order_id])

    async def _orders(self, symbol: str, since: datetime) -> list[OrderRow]:
        code = self._codes.code(symbol)
        return await self._since(ALL_ORDERS, list[OrderRow], code, since, "orderId", _order_id)

    async def _fills_of(self, row: OrderRow, symbol: str, client_order_id: str) -> tuple[Fill, ...]:
        with understood():
            if not number(row.filled):
                return ()
        query: dict[str, str | int] = {
            "symbol": row.code,
            "orderId": row.order_id,
            "limit": _PAGE,
        }
        rows = await self._page(FILLS_OF_ORDER, list[FillRow], query)
        rows += await self._after(FILLS_OF_ORDER, list[FillRow], query, rows, "fromId", _fill_id)
        return tuple(self._fills(rows, symbol, lambda row: client_order_id))

    async def _since(
        self,
        endpoint: Endpoint,
        kind: type[list[T]],
        code: str,
        since: datetime,
        by_id: str,
        id_of: Callable[[T], int],
    ) -> list[T]:
        """Return all rows since, a day at a time; from a full page on, by id."""
        start, rows = to_ms(since), list[T]()
        page: dict[str, str | int] = {"symbol": code, "limit": _PAGE}
        while True:
            window = {**page, "startTime": start, "endTime": start + _DAY_MS - 1}
            found = await self._page(endpoint, kind, window)
            rows += found
            if len(found) >= _PAGE:
                return rows + await self._after(endpoint, kind, page, found, by_id, id_of)
            start += _DAY_MS
            if start > to_ms(self._now()):
                return rows

    async def _after(
        self,
        endpoint: Endpoint,
        kind: type[list[T]],
        query: Mapping[str, str | int],
        found: list[T],
        by_id: str,
        id_of: Callable[[T], int],
    ) -> list[T]:
        """Return what follows a full page, by id; nothing follows one that is not full."""
        rows = list[T]()
        for _ in range(_PAGES_AT_MOST):
            if len(found) < _PAGE:
                return rows
            first = max(map(id_of, found)) + 1
            found = await self._page(endpoint, kind, {**query, by_id: first})
            rows += found
        raise OutcomeUnknown("the exchange's records are more than can be read at once")

    async def _page(
        self, endpoint: Endpoint, kind: type[list[T]], query: Mapping[str, str | int]
    ) -> list[T]:
        return read(self._good(await self._look_up(endpoint, query)), kind)

    def _good(self, answer: Answer) -> bytes:
        if not answer.good:
            raise not_told(answer)
        return bytes(answer.body)

    def _report(self, row: OrderRow, symbol: str) -> OrderReport:
        self.remember(row.code, row.order_id, row.client_order_id)
        with understood():
            return report_of(row, symbol)

    def _fills(
        self, rows: list[FillRow], symbol: str, name_of: Callable[[FillRow], str | None]
    ) -> list[Fill]:
        quote = self._codes.quote(symbol)
        with understood():
            fills = [fill_of(row, symbol, quote, name_of(row)) for row in rows]
        return [fill for fill in fills if fill.quantity > ZERO]


def _is_asked_for(row: OrderRow, client_order_id: str, exchange_order_id: str | None) -> bool:
    """Compare an order with what was asked for.

    By number it may bear a name that somebody's cancel gave it, but not that of another of
    our trades: numbers begin again when a testnet is wiped.
    """
    if exchange_order_id and exchange_order_id != str(row.order_id):
        return False
    names = (row.client_order_id, row.former_client_order_id)
    if client_order_id in names:
        return True
    return bool(exchange_order_id) and not any(is_trade_id(name) for name in names)


def _order_id(row: OrderRow) -> int:
    return row.order_id


def _fill_id(row: FillRow) -> int:
    return row.fill_id
