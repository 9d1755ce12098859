"""Time CCXT's `create_order` on a simulated Binance; runs in the clients' own interpreter.

Reads {"addresses", "key", "secret", "orders"} from standard input, prints {"median_ms"}.
"""

import json
import statistics
import sys
import time

import ccxt  # type: ignore[import-not-found]

told = json.load(sys.stdin)
exchange = ccxt.binance({"apiKey": told["key"], "secret": told["secret"], "enableRateLimit": False})
rest = told["addresses"][0]
for name in ("public", "private", "v1", "v3"):
    exchange.urls["api"][name] = f"{rest}/api/v3"
exchange.urls["api"]["sapi"] = f"{rest}/sapi/v1"
exchange.options["fetchCurrencies"] = False
exchange.options["fetchMargins"] = False
exchange.options["fetchMarkets"] = {"types": ["spot"]}
exchange.load_markets()
times = []
for _ in range(told["orders"] + 20):
    start = time.perf_counter()
    exchange.create_order(
        "BTC/USDT", "limit", "buy", "0.01", "40000", params={"timeInForce": "IOC"}
    )
    times.append((time.perf_counter() - start) * 1000)
json.dump({"median_ms": statistics.median(times[20:])}, sys.stdout)
