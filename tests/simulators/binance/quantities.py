"""What an order needs before it is taken in: which asset, how much of it, for what quantity."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tests.simulators.matching import Book

from .accounts import Account
from .errors import refused
from .instruments import Instrument
from .numbers import EIGHT, ZERO, floor
from .orders import SIDES, NewOrder

NO_LIQUIDITY = "Order book liquidity is less than `LOT_SIZE` filter minimum quantity."


@dataclass(frozen=True, slots=True)
class Need:
    """`amount` of `asset` must be free to take an order of base `quantity`."""

    asset: str
    amount: Decimal
    quantity: Decimal


class Needs:
    """Reads the books; changes nothing."""

    def __init__(self, books: Mapping[str, Book], instruments: Mapping[str, Instrument]) -> None:
        self._books, self._instruments = books, instruments

    def of(self, new: NewOrder, account: Account) -> Need:
        """The need of a new order. Raises ApiError -2010 if no quantity can be found for it."""
        instrument = self._instruments[new.symbol]
        if new.type == "MARKET":
            if new.quote_quantity:
                return self._of_quote(new, account.owner)
            return self.of_market(new.symbol, new.side == "BUY", new.quantity, account.owner)
        if new.side == "SELL":
            return Need(instrument.base, new.quantity, new.quantity)
        price = new.price or new.stop_price
        return Need(instrument.quote, price * new.quantity, new.quantity)

    def of_market(self, symbol: str, is_buy: bool, quantity: Decimal, owner: str) -> Need:
        """The need of a market order: a buy's is what the book asks for the quantity."""
        instrument = self._instruments[symbol]
        if not is_buy:
            return Need(instrument.base, quantity, quantity)
        cost, left = ZERO, quantity
        for resting in self._books[symbol].facing("buy", None):
            if left <= 0:
                break
            if resting.owner != owner:
                taken = min(left, resting.remaining)
                cost, left = cost + taken * resting.price, left - taken
        return Need(instrument.quote, cost, quantity)

    def _of_quote(self, new: NewOrder, owner: str) -> Need:
        """The largest quantity of the lot step that the quote amount pays for."""
        instrument = self._instruments[new.symbol]
        rule = instrument.rule("LOT_SIZE")
        step = rule["stepSize"] if rule else EIGHT
        quantity = floor(self._worth(new, owner), step)
        if not quantity or (rule and quantity < rule["minQty"]):
            raise refused(NO_LIQUIDITY)
        if new.side == "SELL":
            return Need(instrument.base, quantity, quantity)
        return Need(instrument.quote, new.quote_quantity, quantity)

    def _worth(self, new: NewOrder, owner: str) -> Decimal:
        quantity, left, price = ZERO, new.quote_quantity, ZERO
        for resting in self._books[new.symbol].facing(SIDES[new.side], None):
            if left <= 0:
                break
            if resting.owner == owner:
                continue
            price = resting.price
            taken = min(left / price, resting.remaining)
            quantity, left = quantity + taken, left - taken * price
        # What the book cannot serve stays in the order and expires with it.
        return quantity + left / price if left > 0 and price else quantity
