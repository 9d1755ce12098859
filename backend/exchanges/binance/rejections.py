"""The closed list: what Binance says when an order is not in its book, and never will be.

Any other code, text or status leaves the outcome unknown.
"""

from collections.abc import Mapping

# Order never accepted, whatever the text. Numbers are the exchange's.
REJECTIONS: Mapping[int, str] = {
    -1002: "the key is not authorised",
    -1003: "too many requests",
    -1013: "the order breaks a rule of the instrument",
    -1014: "this combination of order fields is not supported",
    -1015: "too many new orders",
    -1020: "the operation is not supported",
    -1021: "the request arrived outside its validity",
    -1022: "the signature is not valid",
    -1099: "the key is not authorised",
    -1100: "a field has illegal characters",
    -1101: "too many fields, or one twice",
    -1102: "a field is missing or malformed",
    -1103: "an unknown field",
    -1104: "not all fields were read",
    -1105: "a field is empty",
    -1106: "a field was sent that this order type does not take",
    -1108: "a number is too large",
    -1111: "a number has too many decimals",
    -1114: "this order type takes no time in force",
    -1115: "the time in force is not valid",
    -1116: "the order type is not valid",
    -1117: "the side is not valid",
    -1118: "the client order id is empty",
    -1119: "the client order id to cancel is empty",
    -1121: "the exchange has no such instrument",
    -1128: "this combination of fields is not valid",
    -1130: "a field has invalid data",
    -1131: "the validity asked for is too long",
    -1134: "a field is below its minimum",
    -1135: "the request is not valid JSON",
    -1139: "the order type is not valid here",
    -1145: "the condition of the cancel is not valid",
    -1151: "the instrument is named more than once",
    -1220: "the instrument is not in the status asked for",
    -2008: "the key is not valid",
    -2014: "the key is malformed",
    -2015: "the key, its address or its permissions do not allow this",
}

# Order refused by the matching engine: these texts only, each word for word. -1010 is its
# word for many a message, such as "Duplicate order sent.": an order of that id is open.
REFUSED = (-1010, -2010)
REFUSALS: Mapping[str, str] = {
    "Account has insufficient balance for requested action.": "the free balance does not cover it",
    "Market is closed.": "the instrument is closed",
    "This symbol is not permitted for this account.": "this account may not trade the instrument",
    "This symbol is restricted for this account.": "this account may not trade the instrument",
    "Order would immediately match and take.": "the order would have taken at once",
    "Order would trigger immediately.": "the stop price is on the wrong side of the market",
    "The relationship of the prices for the orders is not correct.": "the prices do not fit",
    "This action is disabled on this account.": "this account may not place orders",
    "This account may not place or cancel orders.": "this account may not place orders",
    "Rest API trading is not enabled.": "trading is not enabled on this road",
    "WebSocket API trading is not enabled.": "trading is not enabled on this road",
    "Stop loss limit orders are not supported for this symbol.": "no stop orders here",
    "Stop loss orders are not supported for this symbol.": "no stop orders here",
    "Price * QTY is zero or less.": "price x quantity is zero",
    "Unsupported order combination": "this combination of order fields is not supported",
    "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.": "too little liquidity",
    "Order book liquidity is less than symbol minimum quantity.": "too little liquidity",
}

# A cancel that found nothing to cancel: no evidence of anything.
NOT_CANCELLED: Mapping[int, str] = {
    -2011: "no order with this id is open",
    -2039: "the two ids belong to different orders",
}

# Asked for one order: not found. -2026, archived, is not on it: the order existed.
NOT_FOUND = -2013
NO_REFERENCE_PRICE = -2043

OUTSIDE_WINDOW = (-1021,)
TOO_MANY = (-1003, -1015)

FILTERS: Mapping[str, str] = {
    "PRICE_FILTER": "the price is off its tick or bounds",
    "PERCENT_PRICE": "the price is too far from the reference price",
    "PERCENT_PRICE_BY_SIDE": "the price is too far from the reference price",
    "LOT_SIZE": "the quantity is off its step or bounds",
    "MIN_NOTIONAL": "quantity x price is too small",
    "NOTIONAL": "quantity x price is out of bounds",
    "MAX_NUM_ORDERS": "too many open orders on the instrument",
    "MAX_NUM_ALGO_ORDERS": "too many open stop orders on the instrument",
    "MAX_POSITION": "the position would become too large",
    "EXCHANGE_MAX_NUM_ORDERS": "too many open orders on the account",
    "EXCHANGE_MAX_NUM_ALGO_ORDERS": "too many open stop orders on the account",
    "MAX_ASSET": "the order is too large for this account",
}

_FILTER_FAILURE = "Filter failure: "


def sentence(code: int, message: str) -> str | None:
    """Return why an order was refused for good, or None: not on the list."""
    if code in REFUSED:
        return REFUSALS.get(message)
    if code == -1013 and message.startswith(_FILTER_FAILURE):
        return FILTERS.get(message.removeprefix(_FILTER_FAILURE), REJECTIONS[code])
    return REJECTIONS.get(code)
