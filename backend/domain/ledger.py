"""The arithmetic of money: reservations, postings, average cost, profit and loss."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from backend.domain.instrument import Instrument
from backend.domain.money import ZERO, round_up
from backend.domain.order import Fill, Side

# Fees are kept to this many decimals, rounded up: an exchange never rounds in our favour.
FEE_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What an account pays.

    Attributes:
        maker, taker: fraction of the notional: 0.001 is 0.1 %.
        currency: `quote`, `base`, `received` (what the order brings in), or the name of a
            third asset.
    """

    maker: Decimal
    taker: Decimal
    currency: str = "quote"

    @property
    def worst(self) -> Decimal:
        """Return the dearer of the two rates."""
        return max(self.maker, self.taker)

    def unit(self, instrument: Instrument, side: Side) -> str:
        """Return the currency in which the fee of an order on `instrument` is charged."""
        currency = self.currency
        if currency == "received":
            currency = "base" if side is Side.BUY else "quote"
        if currency == "quote":
            return instrument.quote
        return instrument.base if currency == "base" else currency


def fee_for(notional: Decimal, rate: Decimal, price: Decimal = Decimal(1)) -> Decimal:
    """Return the fee, in the unit whose price in quote currency is `price`, rounded up."""
    return round_up(notional * rate / price, FEE_STEP)


def reservation(
    side: Side,
    quantity: Decimal,
    worst_price: Decimal,
    instrument: Instrument,
    fees: FeeSchedule,
    fee_price: Decimal | None,
) -> dict[str, Decimal]:
    """Return what a plan must hold, by currency.

    A buy holds `worst_price` × `quantity`, a sell holds `quantity` of the base.
    The fee at the worse rate comes on top where it is not taken from what the
    order brings in.

    Args:
        fee_price: quote currency per unit of a third fee asset; None otherwise.
    """
    notional = quantity * worst_price
    unit = fees.unit(instrument, side)
    held = {instrument.quote: notional} if side is Side.BUY else {instrument.base: quantity}
    incoming = instrument.base if side is Side.BUY else instrument.quote
    if fees.worst and unit != incoming:
        fee = _worst_fee(notional, quantity, unit, instrument, fees, fee_price)
        held[unit] = held.get(unit, ZERO) + fee
    return held


def _worst_fee(
    notional: Decimal,
    quantity: Decimal,
    unit: str,
    instrument: Instrument,
    fees: FeeSchedule,
    fee_price: Decimal | None,
) -> Decimal:
    if unit == instrument.quote:
        return fee_for(notional, fees.worst)
    if unit == instrument.base:
        return fee_for(quantity, fees.worst)
    if fee_price is None:
        raise ValueError(f"no price for the fee asset {unit}")
    return fee_for(notional, fees.worst, fee_price)


def movements(fill: Fill, base: str, quote: str) -> dict[str, Decimal]:
    """Return what a fill does to the account's totals, by currency, fee included."""
    sign = 1 if fill.side is Side.BUY else -1
    moved = {
        base: sign * fill.quantity,
        quote: -sign * fill.quantity * fill.price,
    }
    moved[fill.fee_currency] = moved.get(fill.fee_currency, ZERO) - fill.fee
    return moved


@dataclass(frozen=True, slots=True)
class Position:
    """What we bought of one instrument and still hold.

    Attributes:
        quantity: base units, >= 0.
        cost: exact quote currency paid for it, fees excluded.
        realized_pnl: quote currency, net of quote and base fees.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO

    @property
    def avg_price(self) -> Decimal | None:
        """Return the average cost per base unit, fees excluded; None when nothing is held."""
        return self.cost / self.quantity if self.quantity else None

    def after(self, fill: Fill, base: str, quote: str) -> "Position":
        """Return the position once `fill` is booked.

        A fee in quote lowers realized P&L. A fee in base lowers the position, and
        its worth at the fill's price lowers realized P&L. A fee in a third asset
        is posted from that asset and is not in this instrument's P&L.
        Selling more than we bought here realizes P&L on what we bought only.
        """
        realized = self.realized_pnl - _fee_in_quote(fill, base, quote)
        if fill.side is Side.BUY:
            quantity = self.quantity + fill.quantity
            cost = self.cost + fill.quantity * fill.price
        else:
            sold = min(fill.quantity, self.quantity)
            part = self._cost_of(sold)
            quantity, cost = self.quantity - sold, self.cost - part
            realized += sold * fill.price - part
        after = Position(quantity, cost, realized)
        if fill.fee_currency == base and fill.fee:
            after = after._without(min(fill.fee, after.quantity), fill.price)
        return after

    def _without(self, fee: Decimal, price: Decimal) -> "Position":
        # The fee was counted at the fill's price: what it had cost us comes back as the difference.
        part = self._cost_of(fee)
        gain = fee * price - part
        return Position(self.quantity - fee, self.cost - part, self.realized_pnl + gain)

    def _cost_of(self, quantity: Decimal) -> Decimal:
        if not self.quantity or quantity == self.quantity:
            return self.cost
        # A division may not end: 18 decimals are kept, the rest stays with the position.
        return (self.cost * quantity / self.quantity).quantize(
            Decimal("1e-18"), rounding=ROUND_HALF_EVEN
        )


def _fee_in_quote(fill: Fill, base: str, quote: str) -> Decimal:
    if fill.fee_currency == quote:
        return fill.fee
    return fill.fee * fill.price if fill.fee_currency == base else ZERO
