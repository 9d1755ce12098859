"""The exchanges that a world can have on its other side, by name."""

from tests.matrix.binance_side import BinanceSide
from tests.matrix.bitstamp_side import BitstampSide
from tests.matrix.side import ExchangeSide, Theirs

__all__ = ["SIDES", "BinanceSide", "BitstampSide", "ExchangeSide", "Theirs"]

SIDES: dict[str, type[ExchangeSide]] = {"binance": BinanceSide, "bitstamp": BitstampSide}
