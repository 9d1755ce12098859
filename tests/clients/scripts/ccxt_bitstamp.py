"""The life of an order through ccxt's `bitstamp`, its class unchanged. See `run_client`."""

import json
import sys

import ccxt  # type: ignore[import-not-found]

SYMBOL = "BTC/USD"

given = json.load(sys.stdin)
exchange = ccxt.bitstamp({"apiKey": given["key"], "secret": given["secret"]})
exchange.urls["api"] = {"public": given["url"] + "/api", "private": given["url"] + "/api"}

markets = exchange.load_markets()
before = exchange.fetch_balance()
book = exchange.fetch_order_book(SYMBOL)
resting = exchange.create_order(
    SYMBOL, "limit", "buy", 0.01, 45000, {"client_order_id": "ccxt-rests"}
)
looked_up = exchange.fetch_order(resting["id"], SYMBOL)
listed = exchange.fetch_open_orders(SYMBOL)
cancelled = exchange.cancel_order(resting["id"], SYMBOL)
after_cancel = exchange.fetch_order(resting["id"], SYMBOL)
bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
filled = exchange.fetch_order(bought["id"], SYMBOL)
sold = exchange.create_order(SYMBOL, "limit", "sell", 0.005, 49000, {"ioc_order": "True"})
sold_after = exchange.fetch_order(sold["id"], SYMBOL)
trades = exchange.fetch_my_trades(SYMBOL)
try:
    exchange.create_order(SYMBOL, "limit", "buy", 0.0001, 45000)
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
        "after_cancel": after_cancel,
        "bought": bought,
        "filled": filled,
        "sold_after": sold_after,
        "trades": trades,
        "refused": refused,
        "after": {name: after[name] for name in ("total", "free", "used")},
    },
    sys.stdout,
)
