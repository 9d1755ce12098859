"""The life of an order through python-binance's `Client`, unchanged. See `run_client`."""

import json
import sys
from importlib.metadata import version

from binance.client import Client  # type: ignore[import-not-found]
from binance.exceptions import BinanceAPIException  # type: ignore[import-not-found]

SYMBOL = "BTCUSDT"

given = json.load(sys.stdin)
client = Client(given["key"], given["secret"], ping=False)
client.API_URL = given["url"] + "/api"
client.MARGIN_API_URL = given["url"] + "/sapi"

pinged = client.ping()
info = client.get_symbol_info(SYMBOL)
before = client.get_account()
touch = client.get_orderbook_ticker(symbol=SYMBOL)
resting = client.order_limit_buy(
    symbol=SYMBOL, quantity="0.01", price="45000.00", newClientOrderId="pb-rests"
)
looked_up = client.get_order(symbol=SYMBOL, origClientOrderId="pb-rests")
listed = client.get_open_orders(symbol=SYMBOL)
cancelled = client.cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
tested = client.create_test_order(
    symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="45000"
)
bought = client.order_market_buy(symbol=SYMBOL, quantity="0.02")
spent = client.order_market_buy(symbol=SYMBOL, quoteOrderQty="100")
sold = client.create_order(
    symbol=SYMBOL, side="SELL", type="LIMIT", timeInForce="IOC", quantity="0.005", price="49000"
)
trades = client.get_my_trades(symbol=SYMBOL)
every = client.get_all_orders(symbol=SYMBOL)
fees = client.get_asset_balance(asset="BTC")
try:
    client.order_limit_buy(symbol=SYMBOL, quantity="0.00001", price="45000.00")
    refused = None
except BinanceAPIException as error:
    refused = [error.status_code, error.code, error.message]
after = client.get_account()

json.dump(
    {
        "version": version("python-binance"),
        "pinged": pinged,
        "info": info,
        "before": before["balances"],
        "touch": touch,
        "resting": resting,
        "looked_up": looked_up,
        "listed": listed,
        "cancelled": cancelled,
        "tested": tested,
        "bought": bought,
        "spent": spent,
        "sold": sold,
        "trades": trades,
        "every": every,
        "fees": fees,
        "refused": refused,
        "after": after["balances"],
    },
    sys.stdout,
)
