"""Money: holds, what a fill moves, fees in base, quote or BNB."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from .accounts import Account
from .instruments import Instrument
from .market import Market, PublicTrade
from .numbers import ZERO, floor
from .orders import Fill, Order


class Settlement:
    """Moves balances and remembers, per order, what it moved and, per account, what changed."""

    def __init__(
        self,
        accounts: Mapping[int, Account],
        instruments: Mapping[str, Instrument],
        market: Market,
    ) -> None:
        self._accounts = accounts
        self._instruments = instruments
        self._market = market
        self.touched: defaultdict[int, dict[str, None]] = defaultdict(dict)

    def hold(self, order: Order, asset: str, amount: Decimal) -> None:
        """Lock what an order may spend."""
        order.held_asset, order.held = asset, amount
        self._move(order, asset, -amount, amount)

    def release(self, order: Order, amount: Decimal | None = None) -> None:
        """Unlock `amount` of an order's hold, everything unless given."""
        freed = order.held if amount is None else min(amount, order.held)
        order.held -= freed
        self._move(order, order.held_asset, freed, -freed)

    def fill(self, order: Order, trade: PublicTrade, is_maker: bool) -> Fill:
        """Book one side of a trade: pay, receive, take the fee, remember the fill."""
        instrument = self._instruments[order.symbol]
        quote = trade.price * trade.quantity
        paid, received = (quote, trade.quantity) if order.is_buy else (trade.quantity, quote)
        unit = order.limit or trade.price if order.is_buy else Decimal(1)
        self.release(order, unit * trade.quantity)
        self._move(order, instrument.quote if order.is_buy else instrument.base, -paid, ZERO)
        asset = instrument.base if order.is_buy else instrument.quote
        self._move(order, asset, received, ZERO)
        fee, fee_asset = self._fee(order, asset, received, quote, is_maker)
        self._move(order, fee_asset, -fee, ZERO)
        booked = Fill(
            trade.trade_id,
            order.order_id,
            order.uid,
            order.symbol,
            trade.price,
            trade.quantity,
            quote,
            fee,
            fee_asset,
            trade.time,
            order.is_buy,
            is_maker,
        )
        order.executed += trade.quantity
        order.executed_quote += quote
        order.fills.append(booked)
        return booked

    def undo(self, order: Order) -> None:
        """Take back everything an order moved."""
        for asset, (free, locked) in list(order.postings.items()):
            self._move(order, asset, -free, -locked)

    def _fee(
        self, order: Order, asset: str, received: Decimal, quote: Decimal, is_maker: bool
    ) -> tuple[Decimal, str]:
        account = self._accounts[order.uid]
        rate = account.maker if is_maker else account.taker
        if account.pays_bnb:
            in_bnb = self._fee_in_bnb(account, order.symbol, quote * rate)
            if in_bnb is not None and in_bnb <= account.free("BNB"):
                return in_bnb, "BNB"
        return floor(received * rate), asset

    def _fee_in_bnb(self, account: Account, symbol: str, fee: Decimal) -> Decimal | None:
        quote = self._instruments[symbol].quote
        pair = f"BNB{quote}"
        price = self._market.last(pair) if pair in self._instruments else None
        if not price:
            return None
        return floor(fee * (1 - account.bnb_discount) / price)

    def _move(self, order: Order, asset: str, free: Decimal, locked: Decimal) -> None:
        balance = self._accounts[order.uid].balance(asset)
        balance.free += free
        balance.locked += locked
        posted = order.postings.setdefault(asset, [ZERO, ZERO])
        posted[0] += free
        posted[1] += locked
        self.touched[order.uid][asset] = None
