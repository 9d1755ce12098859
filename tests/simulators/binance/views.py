"""What an order looks like in answers and events."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .instruments import Instrument
from .numbers import ZERO, text
from .orders import Fill, Order


class Views:
    """Renders orders. `words` swaps status words, so that unknown ones can be shown."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self.words: dict[str, str] = {}
        self.cancel_renames = False

    def _places(self, symbol: str) -> tuple[int, int]:
        instrument = self._instruments[symbol]
        return instrument.base_places, instrument.quote_places

    def shown_id(self, order: Order) -> str:
        """The client id that queries show: a cancel's own id replaces it where switched on."""
        renamed = self.cancel_renames and order.cancel_id is not None
        return order.cancel_id or "" if renamed else order.client_id

    def placed(self, order: Order, respond: str) -> dict[str, Any]:
        """The answer to a new order: ACK, RESULT or FULL."""
        answer = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_id,
            "transactTime": order.update_time,
        }
        if respond == "ACK":
            return answer
        answer |= self._body(order)
        if order.working_time != -1:
            answer["workingTime"] = order.working_time
        if respond == "FULL":
            answer["fills"] = [self._fill_line(fill) for fill in order.fills]
        answer["selfTradePreventionMode"] = order.stp
        return answer | self._conditional(order)

    def cancelled(self, order: Order) -> dict[str, Any]:
        """The answer to a cancel."""
        return {
            "symbol": order.symbol,
            "origClientOrderId": order.client_id,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.cancel_id,
            "transactTime": order.update_time,
            **self._body(order),
            "selfTradePreventionMode": order.stp,
            **self._conditional(order),
        }

    def queried(self, order: Order) -> dict[str, Any]:
        """A row of order, openOrders and allOrders."""
        base, quote = self._places(order.symbol)
        body = self._body(order)
        origin = body.pop("origQuoteOrderQty")
        return {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": self.shown_id(order),
            **body,
            "stopPrice": text(order.stop_price, quote),
            "icebergQty": text(ZERO, base),
            "time": order.time,
            "updateTime": order.update_time,
            "isWorking": order.is_working,
            "workingTime": order.working_time,
            "origQuoteOrderQty": origin,
            "selfTradePreventionMode": order.stp,
            **{k: v for k, v in self._conditional(order).items() if k != "stopPrice"},
        }

    def amended(self, order: Order, original_id: str, execution: int) -> dict[str, Any]:
        """The answer to an amend; its names differ from every other answer."""
        base, quote = self._places(order.symbol)
        return {
            "transactTime": order.update_time,
            "executionId": execution,
            "amendedOrder": {
                "symbol": order.symbol,
                "orderId": order.order_id,
                "orderListId": -1,
                "origClientOrderId": original_id,
                "clientOrderId": order.client_id,
                "price": text(order.price, quote),
                "qty": text(order.quantity, base),
                "executedQty": text(order.executed, base),
                "preventedQty": text(order.prevented, base),
                "quoteOrderQty": text(order.quote_quantity, quote),
                "cumulativeQuoteQty": text(order.executed_quote, quote),
                "status": self._word(order),
                "timeInForce": order.time_in_force,
                "type": order.type,
                "side": order.side,
                "workingTime": order.working_time,
                "selfTradePreventionMode": order.stp,
            },
        }

    def trade(self, fill: Fill) -> dict[str, Any]:
        """A row of myTrades."""
        base, quote = self._places(fill.symbol)
        return {
            "symbol": fill.symbol,
            "id": fill.trade_id,
            "orderId": fill.order_id,
            "orderListId": -1,
            "price": text(fill.price, quote),
            "qty": text(fill.quantity, base),
            "quoteQty": text(fill.quote, quote),
            "commission": text(fill.fee),
            "commissionAsset": fill.fee_asset,
            "time": fill.time,
            "isBuyer": fill.is_buyer,
            "isMaker": fill.is_maker,
            "isBestMatch": True,
        }

    def report(
        self,
        order: Order,
        execution: str,
        execution_id: int,
        now: int,
        fill: Fill | None = None,
        original_id: str = "",
    ) -> dict[str, Any]:
        """An executionReport. `original_id` is the id that a cancel or amend replaced."""
        base, quote = self._places(order.symbol)
        nothing = text(ZERO, base)
        report: dict[str, Any] = {
            "e": "executionReport",
            "E": now,
            "s": order.symbol,
            "c": order.cancel_id if execution == "CANCELED" else order.client_id,
            "S": order.side,
            "o": order.type,
            "f": order.time_in_force,
            "q": text(order.quantity, base),
            "p": text(order.price, quote),
            "P": text(order.stop_price, quote),
            "F": nothing,
            "g": -1,
            "C": original_id,
            "x": execution,
            "X": self._word(order),
            "r": "NONE",
            "i": order.order_id,
            "l": nothing if fill is None else text(fill.quantity, base),
            "z": text(order.executed, base),
            "L": text(ZERO if fill is None else fill.price, quote),
            "n": "0" if fill is None else text(fill.fee),
            "N": None if fill is None else fill.fee_asset,
            "T": now,
            "t": -1 if fill is None else fill.trade_id,
            "I": execution_id,
            "w": order.is_working and fill is None and order.is_open,
            "m": fill is not None and fill.is_maker,
            "M": fill is not None,
            "O": order.time,
            "Z": text(order.executed_quote, quote),
            "Y": text(ZERO if fill is None else fill.quote, quote),
            "Q": text(order.quote_quantity, quote),
            "V": order.stp,
        }
        return report | self._event_extras(order, execution)

    def _event_extras(self, order: Order, execution: str) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if order.working_time != -1:
            extras["W"] = order.working_time
        if order.strategy_id is not None:
            extras["j"] = order.strategy_id
        if order.strategy_type is not None:
            extras["J"] = order.strategy_type
        if order.expiry_reason is not None and execution == "EXPIRED":
            extras["eR"] = order.expiry_reason
        if execution == "TRADE_PREVENTION":
            base, _ = self._places(order.symbol)
            prevented = text(order.prevented, base)
            extras |= {"v": order.prevented_match, "A": prevented, "B": prevented, "u": -1}
        return extras

    def _word(self, order: Order) -> str:
        return self.words.get(order.status, order.status)

    def _body(self, order: Order) -> dict[str, Any]:
        base, quote = self._places(order.symbol)
        return {
            "price": text(order.price, quote),
            "origQty": text(order.quantity, base),
            "executedQty": text(order.executed, base),
            "origQuoteOrderQty": text(order.quote_quantity, quote),
            "cummulativeQuoteQty": text(order.executed_quote, quote),
            "status": self._word(order),
            "timeInForce": order.time_in_force,
            "type": order.type,
            "side": order.side,
        }

    def _conditional(self, order: Order) -> dict[str, Any]:
        base, quote = self._places(order.symbol)
        wanted: dict[str, Any] = {
            "stopPrice": text(order.stop_price, quote) if order.is_stop else None,
            "strategyId": order.strategy_id,
            "strategyType": order.strategy_type,
            "preventedMatchId": order.prevented_match,
            "preventedQuantity": text(order.prevented, base) if order.prevented else None,
            "expiryReason": order.expiry_reason,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _fill_line(self, fill: Fill) -> dict[str, Any]:
        base, quote = self._places(fill.symbol)
        return {
            "price": text(fill.price, quote),
            "qty": text(fill.quantity, base),
            "commission": text(fill.fee),
            "commissionAsset": fill.fee_asset,
            "tradeId": fill.trade_id,
        }


def position_event(now: int, changed: Mapping[str, tuple[Decimal, Decimal]]) -> dict[str, Any]:
    """An outboundAccountPosition of the assets that may have changed: (free, locked)."""
    rows = [
        {"a": asset, "f": text(free), "l": text(locked)}
        for asset, (free, locked) in changed.items()
    ]
    return {"e": "outboundAccountPosition", "E": now, "u": now, "B": rows}


def deposit_event(now: int, asset: str, delta: Decimal) -> dict[str, Any]:
    return {"e": "balanceUpdate", "E": now, "a": asset, "d": text(delta), "T": now}
