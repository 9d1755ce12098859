"""What Bitstamp's errors mean for an order: the closed lists, as data.

A code that stands here means: not placed, and never will be. Every other code, text or
status leaves the outcome unknown.

Source: Bitstamp HTTP API, "Error codes" (read 2026-09).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of definitive refusals.

    Attributes:
        codes: with ranges, `400.004-400.008`; separated by commas.
        sentence: what it means for the caller.
    """

    name: str
    codes: str
    sentence: str


# Not in these lists, on purpose: API0004 (our nonce is new, so a repeat of it means that
# the request came twice, and the first may have been taken), 400.019 (an order of this
# client id exists) and 500.017 (rejected by the engine: probable, not certain).
KINDS = (
    Kind(
        "order",
        "400.001, 400.004-400.008, 400.014-400.017, 400.020-400.028, 400.032, 400.036-400.041, "
        "400.046-400.060, 400.063-400.066, 400.069-400.074",
        "the order breaks a rule of the exchange",
    ),
    Kind(
        "account",
        "403.001-403.010, 404.003, 404.006, 404.007, 405.001, 410.001",
        "the account or the key may not do this, or there is no such market",
    ),
    Kind(
        "key",
        "API0001-API0003, API0005-API0006, API0008-API0021",
        "the exchange does not accept the key or the request's signature",
    ),
    Kind("funds", "400.009, 400.075", "the account's free balance does not cover the order"),
    Kind(
        "rate",
        "400.002, 400.067-400.068",
        "too many requests: wait, then plan again",
    ),
    Kind(
        "closed",
        "400.003, 500.004-500.006, 500.009-500.012, 500.014-500.015, 500.018",
        "the market or the exchange takes no orders now",
    ),
)

# Where an error has a text and no code; only if the exchange signed it.
TEXTS = {
    "Minimum order size": "order",
    "Price is more than 20%": "order",
    "Enter a number": "order",
    "You have only": "funds",
    "Check your account balance": "funds",
}

ORDER_NOT_FOUND = "404.002"
NO_EVENTS = "404.008"
OUT_OF_TIME = "API0017"


def expanded(codes: str) -> list[str]:
    """Return the single codes that a list with ranges stands for."""
    found = []
    for part in codes.split(", "):
        first, _, last = part.partition("-")
        stem, width = first.rstrip("0123456789"), len(first) - len(first.rstrip("0123456789"))
        if not last:
            found.append(first)
            continue
        numbers = range(int(first[len(stem) :]), int(last[len(stem) :]) + 1)
        found += [f"{stem}{number:0{width}}" for number in numbers]
    return found


BY_CODE = {code: kind for kind in KINDS for code in expanded(kind.codes)}
BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(code: str, text: str, is_signed: bool) -> Kind | None:
    """Return the class of a definitive refusal, or None: it proves nothing."""
    if code:
        return BY_CODE.get(code)
    found = (BY_NAME[name] for part, name in TEXTS.items() if part in text)
    return next(found, None) if is_signed else None
