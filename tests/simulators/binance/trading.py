"""Orders: checking a new one's parameters, placing, cancelling, amending, replacing."""

from decimal import Decimal
from typing import Any

from . import filters
from .accounts import commission_view
from .errors import MARKET_CLOSED, ApiError, mandatory, one_of, refused
from .instruments import Instrument
from .numbers import ZERO
from .orders import NewOrder, Order
from .params import Params
from .world import Call

_PRICED = ("quantity", "price")
_NEEDS = {
    "LIMIT": ("timeInForce", *_PRICED),
    "LIMIT_MAKER": _PRICED,
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", *_PRICED, "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", *_PRICED, "stopPrice"),
}
_SHAPED = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice")
_UNSUPPORTED = {
    "icebergQty": "Iceberg orders are not supported for this symbol.",
    "trailingDelta": "Trailing stop orders are not supported for this symbol.",
    "pegPriceType": "Pegged orders are not supported for this symbol.",
    "pegOffsetType": "Pegged orders are not supported for this symbol.",
    "pegOffsetValue": "Pegged orders are not supported for this symbol.",
}
NEW_ORDER = (
    "symbol",
    "side",
    "type",
    *_SHAPED,
    *_UNSUPPORTED,
    "newClientOrderId",
    "strategyId",
    "strategyType",
    "newOrderRespType",
    "selfTradePreventionMode",
)
CANCEL = ("symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions")
AMEND = ("symbol", "orderId", "origClientOrderId", "newClientOrderId", "newQty")
REPLACE = (
    *NEW_ORDER,
    "cancelReplaceMode",
    "cancelOrderId",
    "cancelOrigClientOrderId",
    "cancelNewClientOrderId",
    "cancelRestrictions",
    "orderRateLimitExceededMode",
)
_RESTRICTIONS = ("ONLY_NEW", "ONLY_PARTIALLY_FILLED")
_CLOSED = {
    "rest": "Rest API trading is not enabled.",
    "ws": "WebSocket API trading is not enabled.",
}


def place(call: Call) -> dict[str, Any]:
    """POST order."""
    new, instrument = read_new(call), call.world.instrument(call.symbol())
    call.caller.count.admit(call.world.now())
    _check_windows(call)
    check_allowed(call, new, instrument)
    order = commit(call, new)
    return call.world.engine.views.placed(order, new.respond)


def commit(call: Call, new: NewOrder) -> Order:
    """Hand a checked order to the engine and count it."""
    order = call.world.engine.place(call.caller, new)
    call.caller.count.add()
    call.headers |= call.caller.count.headers()
    return order


def test(call: Call) -> dict[str, Any]:
    """POST order/test: everything that is checked before the engine."""
    new, instrument = read_new(call), call.world.instrument(call.symbol())
    check_allowed(call, new, instrument)
    if not call.params.flag("computeCommissionRates", False):
        return {}
    rates = commission_view(call.caller, new.symbol)
    names = ("standardCommission", "specialCommission", "taxCommission")
    sides = {
        f"{name}ForOrder": {"maker": rates[name]["maker"], "taker": rates[name]["taker"]}
        for name in names
    }
    return {**sides, "discount": rates["discount"]}


def read_new(call: Call) -> NewOrder:
    """Parse a new order's parameters. Raises ApiError with the exchange's parameter codes."""
    params = call.params
    instrument = call.world.instrument(call.symbol())
    side = params.choice("side", ("BUY", "SELL"), ApiError(-1117, "Invalid side."))
    kind = params.choice("type", _NEEDS, ApiError(-1116, "Invalid orderType."))
    for name, text in _UNSUPPORTED.items():
        if name in params:
            raise refused(text)
    _check_shape(params, kind)
    tif = params.optional("timeInForce") or "GTC"
    if tif not in ("GTC", "IOC", "FOK"):
        raise ApiError(-1115, "Invalid timeInForce.")
    return NewOrder(
        instrument.symbol,
        side,
        kind,
        _decimal(params, "quantity", instrument.base_places),
        _decimal(params, "price", instrument.quote_places),
        _decimal(params, "quoteOrderQty", instrument.quote_places),
        _decimal(params, "stopPrice", instrument.quote_places),
        tif,
        params.client_id("newClientOrderId"),
        _response_type(params, kind),
        _prevention(params, instrument),
        params.integer("strategyId"),
        _strategy_type(params),
    )


def _check_shape(params: Params, kind: str) -> None:
    needs = _NEEDS[kind]
    for name in needs:
        if not params.raw.get(name):
            raise mandatory(name)
    allowed = ("quantity", "quoteOrderQty") if kind == "MARKET" else needs
    for name in _SHAPED:
        if name in params and name not in allowed:
            raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
    if kind == "MARKET" and "quantity" in params and "quoteOrderQty" in params:
        raise ApiError(-1128, "Combination of optional parameters invalid.")
    if kind == "MARKET" and "quantity" not in params and "quoteOrderQty" not in params:
        raise one_of("quantity", "quoteOrderQty")


def _decimal(params: Params, name: str, places: int) -> Decimal:
    value = params.decimal(name, places)
    if value is not None and value <= 0:
        word = {"quoteOrderQty": "quote order qty", "stopPrice": "stop price"}.get(name, name)
        raise ApiError(-1013, f"Invalid {word}.")
    return value or ZERO


def _response_type(params: Params, kind: str) -> str:
    default = "FULL" if kind in ("MARKET", "LIMIT") else "ACK"
    value = params.optional("newOrderRespType") or default
    if value not in ("ACK", "RESULT", "FULL"):
        raise ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    return value


def _prevention(params: Params, instrument: Instrument) -> str | None:
    mode = params.optional("selfTradePreventionMode")
    if mode is not None and mode not in instrument.stp_modes:
        text = "This symbol does not allow the specified self-trade prevention mode."
        raise ApiError(-1013, text)
    return mode


def _strategy_type(params: Params) -> int | None:
    value = params.integer("strategyType")
    if value is not None and value < 1_000_000:
        raise ApiError(-1130, "Data sent for parameter 'strategyType' is not valid.")
    return value


def _check_windows(call: Call) -> None:
    """Checks two and three; a failure counts as an unfilled order."""
    try:
        call.world.check_window(2, call.params)
        call.world.check_window(3, call.params)
    except ApiError:
        call.caller.count.add()
        raise


def check_allowed(call: Call, new: NewOrder, instrument: Instrument) -> None:
    """Status, permissions, type and filters. Raises ApiError."""
    world, account = call.world, call.caller
    if world.maintenance:
        raise refused(_CLOSED[call.api])
    if not account.can_trade:
        raise refused("This account may not place or cancel orders.")
    if instrument.status != "TRADING":
        raise refused(MARKET_CLOSED)
    if not all(set(group) & set(account.permissions) for group in instrument.permission_sets):
        raise refused("This symbol is not permitted for this account.")
    if new.type not in instrument.order_types:
        raise refused(f"{new.type.capitalize()} orders are not supported for this symbol.")
    seen = filters.Context(
        instrument,
        account,
        world.engine.market,
        world.engine.live[(account.uid, new.symbol)].values(),
        world.engine.open_of(account.uid) if world.exchange_filters else (),
        world.exchange_filters,
    )
    filters.check(new, seen)


def cancel(call: Call) -> dict[str, Any]:
    """DELETE order."""
    symbol = call.symbol()
    order_id, client_id = read_ids(call.params)
    return _cancel(call, symbol, order_id, client_id, call.params.client_id("newClientOrderId"))


def _cancel(
    call: Call, symbol: str, order_id: int | None, client_id: str | None, new_id: str | None
) -> dict[str, Any]:
    restriction = call.params.optional("cancelRestrictions")
    if restriction is not None and restriction not in _RESTRICTIONS:
        raise ApiError(-1145, "Invalid cancelRestrictions")
    _check_open_for_cancels(call)
    engine = call.world.engine
    order = engine.cancel(call.caller, symbol, order_id, client_id, new_id, restriction)
    return engine.views.cancelled(order)


def cancel_all(call: Call) -> list[dict[str, Any]]:
    """DELETE openOrders."""
    symbol, engine = call.symbol(), call.world.engine
    _check_open_for_cancels(call)
    found = engine.open_of(call.caller.uid, symbol)
    if not found:
        raise ApiError(-2011, "Unknown order sent.")
    ended = [engine.cancel(call.caller, symbol, order.order_id, None) for order in found]
    return [engine.views.cancelled(order) for order in ended]


def amend(call: Call) -> dict[str, Any]:
    """PUT order/amend/keepPriority."""
    symbol, engine = call.symbol(), call.world.engine
    order_id, client_id = read_ids(call.params)
    call.params.required("newQty")
    quantity = _decimal(call.params, "newQty", call.world.instrument(symbol).base_places)
    _check_open_for_cancels(call)
    order = engine.find_open(call.caller, symbol, order_id, client_id)
    original = order.client_id
    engine.amend(order, quantity, call.params.client_id("newClientOrderId"))
    return engine.views.amended(order, original, engine.execution_id)


def read_ids(params: Params) -> tuple[int | None, str | None]:
    """orderId and origClientOrderId. Raises ApiError -1102 if neither is there."""
    order_id, client_id = params.integer("orderId"), params.optional("origClientOrderId")
    if order_id is None and client_id is None:
        raise one_of("origClientOrderId", "orderId")
    return order_id, client_id


def replace(call: Call) -> dict[str, Any]:
    """POST order/cancelReplace: 400 where nothing happened, 409 where one half did."""
    params = call.params
    modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
    mode = params.choice("cancelReplaceMode", modes, mandatory("cancelReplaceMode"))
    order_id = params.integer("cancelOrderId")
    client_id = params.optional("cancelOrigClientOrderId")
    if order_id is None and client_id is None:
        raise one_of("cancelOrigClientOrderId", "cancelOrderId")
    new = read_new(call)
    counted = _admit_replacement(call)
    if counted is None:
        _check_windows(call)
        check_allowed(call, new, call.world.instrument(new.symbol))
    new_id = params.client_id("cancelNewClientOrderId")
    cancelled = _attempt(lambda: _cancel(call, new.symbol, order_id, client_id, new_id))
    placed: Any = None
    if counted is not None:
        placed = counted
    elif mode == "ALLOW_FAILURE" or not isinstance(cancelled, ApiError):
        views = call.world.engine.views
        placed = _attempt(lambda: views.placed(commit(call, new), new.respond))
    if placed is None or (counted is None and isinstance(placed, ApiError)):
        call.caller.count.add()
    return _replaced(cancelled, placed)


def _admit_replacement(call: Call) -> ApiError | None:
    """The order limit: DO_NOTHING raises it, CANCEL_ONLY returns it as the new order's outcome."""
    try:
        call.caller.count.admit(call.world.now())
    except ApiError as error:
        if call.params.optional("orderRateLimitExceededMode") != "CANCEL_ONLY":
            raise
        return error
    return None


def _attempt(action: Any) -> Any:
    try:
        return action()
    except ApiError as error:
        return error


def _replaced(cancelled: Any, placed: Any) -> dict[str, Any]:
    data = {
        "cancelResult": "FAILURE" if isinstance(cancelled, ApiError) else "SUCCESS",
        "newOrderResult": _word(placed),
        "cancelResponse": cancelled.body() if isinstance(cancelled, ApiError) else cancelled,
        "newOrderResponse": placed.body() if isinstance(placed, ApiError) else placed,
    }
    successes = [data["cancelResult"], data["newOrderResult"]].count("SUCCESS")
    if successes == 2:
        return data
    if isinstance(placed, ApiError) and placed.code == -1015:
        raise ApiError(-2021, "Order cancel-replace partially failed.", 429, data, placed.headers)
    if successes == 1:
        raise ApiError(-2021, "Order cancel-replace partially failed.", 409, data)
    raise ApiError(-2022, "Order cancel-replace failed.", 400, data)


def _word(placed: Any) -> str:
    if placed is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(placed, ApiError) else "SUCCESS"


def _check_open_for_cancels(call: Call) -> None:
    if call.world.maintenance:
        raise ApiError(-2011, _CLOSED[call.api])
    if not call.caller.can_trade:
        raise ApiError(-2011, "This account may not place or cancel orders.")
