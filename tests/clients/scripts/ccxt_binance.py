"""The life of an order through ccxt's `binance`, its class unchanged. See `run_client`."""

import json
import sys

import ccxt  # type: ignore[import-not-found]

SYMBOL = "BTC/USDT"

given = json.load(sys.stdin)
exchange = ccxt.binance(
    {
        "apiKey": given["key"],
        "secret": given["secret"],
        # Margin and derivatives are other houses, which the simulator is not.
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
    }
)
versions = {"sapi": "v1", "sapiV2": "v2", "sapiV3": "v3", "sapiV4": "v4"}
exchange.urls["api"] = {
    "public": given["url"] + "/api/v3",
    "private": given["url"] + "/api/v3",
    **{name: f"{given['url']}/sapi/{version}" for name, version in versions.items()},
}

markets = exchange.load_markets()
before = exchange.fetch_balance()
book = exchange.fetch_order_book(SYMBOL)
resting = exchange.create_order(
    SYMBOL, "limit", "buy", 0.01, 45000, {"clientOrderId": "ccxt-rests"}
)
looked_up = exchange.fetch_order(resting["id"], SYMBOL)
listed = exchange.fetch_open_orders(SYMBOL)
cancelled = exchange.cancel_order(resting["id"], SYMBOL)
bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
sold = exchange.create_order(SYMBOL, "limit", "sell", 0.005, 49000, {"timeInForce": "IOC"})
stop = exchange.create_order(SYMBOL, "STOP_LOSS_LIMIT", "sell", 0.01, 40000, {"stopPrice": 41000})
stop_ended = exchange.cancel_order(stop["id"], SYMBOL)
trades = exchange.fetch_my_trades(SYMBOL)
closed = exchange.fetch_closed_orders(SYMBOL)
every = exchange.fetch_orders(SYMBOL)
try:
    exchange.create_order(SYMBOL, "limit", "buy", 0.00001, 45000)
    refused = None
except ccxt.BaseError as error:
    refused = [type(error).__name__, str(error)]
after = exchange.fetch_balance()

json.dump(
    {
        "version": ccxt.__version__,
        "markets": sorted(markets),
        "market": {name: markets[SYMBOL][name] for name in ("precision", "limits", "active")},
        "touch": [book["bids"][0], book["asks"][0]],
        "before": before["total"],
        "resting": resting,
        "looked_up": looked_up,
        "listed": listed,
        "cancelled": cancelled,
        "bought": bought,
        "sold": sold,
        "stop": stop,
        "stop_ended": stop_ended,
        "trades": trades,
        "closed": closed,
        "every": every,
        "refused": refused,
        "after": {name: after[name] for name in ("total", "free", "used")},
    },
    sys.stdout,
)
