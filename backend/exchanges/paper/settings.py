"""What `account add` may say about a paper account."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.ledger import FeeSchedule
from backend.domain.money import BPS, ZERO, parse_positive

NO_FEES = FeeSchedule(ZERO, ZERO)

SETTINGS: Mapping[str, tuple[str, str]] = {
    "mirror": ("", "the real exchange that is followed, such as binance or bitstamp:testnet"),
    "maker_fee_bps": ("0", "fee of a resting fill, basis points of the notional"),
    "taker_fee_bps": ("0", "fee of an immediate fill, basis points of the notional"),
    "fee_currency": (
        "quote",
        "quote, base, received, or the asset that pays the fees, such as BNB",
    ),
    "liquidity": ("", "base units that may fill per order and price point; empty = unlimited"),
    "slippage_bps": ("0", "how far from the touch a limit or stop order fills as taker"),
    "latency_ms": ("0", "how long an order is on its way, whole milliseconds"),
}

_ASSET = re.compile(r"quote|base|received|[A-Z0-9]{1,15}", re.ASCII)
_MIRROR = re.compile(r"([a-z][a-z0-9_]{0,31})(?::([a-z]{1,16}))?", re.ASCII)
_MAX_BPS = Decimal(1000)
_MAX_LATENCY_MS = 10_000


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """The settings, read.

    Attributes:
        mirror: exchange and environment that are followed, or None.
        liquidity: base units per order and price point; None is unlimited.
    """

    mirror: tuple[str, str] | None
    fees: FeeSchedule
    liquidity: Decimal | None
    slippage_bps: Decimal
    latency_ms: int


def read_settings(given: Mapping[str, str], usual: FeeSchedule = NO_FEES) -> PaperSettings:
    """Return the settings with the defaults filled in.

    Args:
        usual: the fees of which the settings say nothing.

    Raises:
        ValueError: an unknown name, or a value out of range; says which and the rule.
    """
    if unknown := sorted(set(given) - set(SETTINGS)):
        raise ValueError(f"unknown paper setting {unknown[0]!r}; valid: {', '.join(SETTINGS)}")
    text = {name: given.get(name, default).strip() for name, (default, _) in SETTINGS.items()}
    return PaperSettings(
        mirror=_mirror(given.get("mirror", "")),
        fees=FeeSchedule(
            _bps(text, "maker_fee_bps") / BPS if "maker_fee_bps" in given else usual.maker,
            _bps(text, "taker_fee_bps") / BPS if "taker_fee_bps" in given else usual.taker,
            _fee_currency(text["fee_currency"]) if "fee_currency" in given else usual.currency,
        ),
        liquidity=_liquidity(text["liquidity"]),
        slippage_bps=_bps(text, "slippage_bps"),
        latency_ms=_latency_ms(text["latency_ms"]),
    )


def _mirror(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    form = _MIRROR.fullmatch(text)
    if form is None:
        raise ValueError(
            "mirror must be empty, an exchange or exchange:environment such as "
            f"binance:testnet, was {text[:40]!r}"
        )
    return form[1], form[2] or "live"


def _fee_currency(text: str) -> str:
    if not _ASSET.fullmatch(text):
        raise ValueError(f"fee_currency must be quote, base, received or an asset, was {text!r}")
    return text


def _bps(text: Mapping[str, str], name: str) -> Decimal:
    value = _number(text[name])
    if value is None or value > _MAX_BPS:
        raise ValueError(f"{name} must be a number from 0 to {_MAX_BPS}, was {text[name]!r}")
    return value


def _liquidity(text: str) -> Decimal | None:
    if not text:
        return None
    if (value := parse_positive(text)) is None:
        raise ValueError(f"liquidity must be empty or a number above 0, was {text!r}")
    return value


def _latency_ms(text: str) -> int:
    value = _number(text)
    if value is None or value != int(value) or value > _MAX_LATENCY_MS:
        raise ValueError(
            f"latency_ms must be a whole number from 0 to {_MAX_LATENCY_MS}, was {text!r}"
        )
    return int(value)


def _number(text: str) -> Decimal | None:
    return ZERO if text.strip("0") in ("", ".") and text else parse_positive(text)
