"""Orders as a caller may ask for them: mostly right ones, and every kind of wrong one."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.properties.book import LISTED
from tests.properties.oracle import Wish

D = Decimal
ACCOUNTS = ("paper:main", "paper:fee", "paper:base")
KINDS = ("market", "limit", "stop", "stop_limit")
# The market's middle, and how far prices go, in ticks.
MIDDLE = {"AAPL": D("215.40"), "LTC/USD": D("100.50")}
_FAR = 600

_NUMBERS: tuple[Any, ...] = ("0", "-1", "1e3", "NaN", "１", "", True)
_PRICES: tuple[Any, ...] = ("0", "x", "1_0", [], "9" * 19)
_SIDES: tuple[Any, ...] = ("hold", 1, None, "")
_KINDS: tuple[Any, ...] = ("mkt", 0)
_TIMES: tuple[Any, ...] = ("good", {})
_NAMES: tuple[Any, ...] = ("", 5, None)
# One part of a body that is malformed, and the code that says so.
MALFORMED: list[tuple[dict[str, Any], str]] = [
    *(({"quantity": text}, "invalid_number") for text in _NUMBERS),
    *(({"limit_price": text}, "invalid_number") for text in _PRICES),
    *(({"side": word}, "invalid_request") for word in _SIDES),
    *(({"order_type": word}, "invalid_request") for word in _KINDS),
    *(({"time_in_force": word}, "invalid_request") for word in _TIMES),
    *(({"symbol": word}, "unknown_symbol") for word in ("NOPE", "A;B", "ＡＡＰＬ")),
    *(({"symbol": word}, "invalid_request") for word in _NAMES),
    ({"account_id": "paper:nobody"}, "not_found"),
    ({"qty": 1}, "invalid_request"),
]


def prices(symbol: str) -> st.SearchStrategy[D]:
    """Prices about the middle, on a tick."""
    tick = LISTED[symbol].tick
    return st.integers(-_FAR, _FAR).map(lambda ticks: MIDDLE[symbol] + ticks * tick)


def _quantities(symbol: str) -> st.SearchStrategy[D]:
    step = LISTED[symbol].step
    usual = st.integers(1, 60).map(D)
    fine = st.integers(1, 60_000).map(lambda steps: steps * step)
    edges = st.sampled_from(
        [step, step * 9, step / 10, step + step / 10, D(1_000_000), D(1_000_001), D("464"), D(900)]
    )
    return usual | usual | usual | fine | edges


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    symbol = draw(st.sampled_from(sorted(LISTED)))
    kind = draw(st.sampled_from(KINDS))
    account, side = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(("buy", "sell")))
    tif = draw(st.sampled_from((None, None, None, "gtc", "day", "ioc", "fok")))
    if kind == "market":
        tif = draw(st.sampled_from((None, None, None, None, "ioc", "gtc")))
    wanted = {"limit": ("limit",), "stop": ("stop",), "stop_limit": ("limit", "stop")}
    given = set(wanted.get(kind, ()))
    if draw(st.integers(0, 19)) == 19:  # A price too many, or one too few.
        given ^= {draw(st.sampled_from(("limit", "stop")))}
    found: dict[str, D] = {name: draw(_price(symbol)) for name in sorted(given)}
    quantity = draw(_quantities(symbol))
    return Wish(account, symbol, side, quantity, kind, found.get("limit"), found.get("stop"), tif)


def _price(symbol: str) -> st.SearchStrategy[D]:
    off = prices(symbol).map(lambda price: price + D("0.005"))
    far = st.sampled_from([D("0.01"), D(1), D(50), D(1000)])
    return st.one_of(*([prices(symbol)] * 6), off, far)


def body(wish: Wish, request: str | None) -> dict[str, Any]:
    """The wish as it goes over the wire; what is None is left out."""
    given = {
        "symbol": wish.symbol,
        "side": wish.side,
        "quantity": f"{wish.quantity:f}",
        "order_type": wish.kind,
        "limit_price": None if wish.limit is None else f"{wish.limit:f}",
        "stop_price": None if wish.stop is None else f"{wish.stop:f}",
        "time_in_force": wish.tif,
        "account_id": wish.account,
        "request_id": request,
    }
    return {name: value for name, value in given.items() if value is not None}
