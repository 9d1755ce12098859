"""Time CCXT's parsing of recorded bookTicker messages; runs in the clients' own interpreter.

Reads {"frames", "times"} from standard input, prints {"per_s"}.
"""

import json
import sys
import time

import ccxt.pro  # type: ignore[import-not-found]

told = json.load(sys.stdin)
exchange = ccxt.pro.binance()
symbols = {json.loads(frame)["s"] for frame in told["frames"]}
exchange.set_markets(
    [
        exchange.safe_market_structure({"id": code, "symbol": code, "spot": True, "type": "spot"})
        for code in symbols
    ]
)
kept = {}
start = time.perf_counter()
for _ in range(told["times"]):
    for frame in told["frames"]:
        message = json.loads(frame)
        parsed = exchange.parse_ws_ticker(message, "spot")
        kept[parsed["symbol"]] = parsed
taken = time.perf_counter() - start
json.dump({"per_s": told["times"] * len(told["frames"]) / taken}, sys.stdout)
