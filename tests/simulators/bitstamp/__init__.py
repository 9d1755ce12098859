"""Bitstamp, simulated: REST v2, WebSocket v2, accounts, matching, and scripted faults.

    async with Simulator(clock) as sim:
        account = sim.add_account({"usd": Decimal(10_000)})
        sim.set_touch("btcusd", Decimal(49_990), Decimal(50_000))
        sim.faults.next("submit", faults.lose_answer())

Faults of requests are words of `faults`, scripted by operation: submit, replace, cancel,
cancel_all, order_status, open_orders, user_transactions, account_order_data, account_balances,
fees, my_markets, websockets_token, withdrawal, and the public markets, currencies,
trading_pairs_info, ticker, order_book, transactions, ohlc; "*" is any of them. Faults of the
socket are methods of `sim.stream`.
"""

from tests.simulators.bitstamp.model import Account, Fill, Order
from tests.simulators.bitstamp.simulator import Seen, Simulator

__all__ = ["Account", "Fill", "Order", "Seen", "Simulator"]
