"""The accounts of the machine: as they are asked for, and as the oracle knows them."""

from decimal import Decimal

from tests.properties.book import Terms
from tests.properties.home import Home
from tests.properties.wishes import MIDDLE

D = Decimal
API = "/api/v1"
QUOTES = {s: (middle - D("0.02"), middle) for s, middle in MIDDLE.items()}
TERMS = {
    "paper:main": Terms(),
    "paper:fee": Terms(D("0.0007"), D("0.0013"), False, D(3000), D(9000), D(20_000)),
    "paper:base": Terms(D("0.0013"), D("0.0007"), True, None, None, D(20_000)),
}
NEW = (
    {"exchange": "paper", "identifier": "fee", "balance": "20000",
     "settings": {"maker_fee_bps": "7", "taker_fee_bps": "13"},
     "limits": {"approval_threshold": "3000", "max_order_notional": "9000"}},
    {"exchange": "paper", "identifier": "base", "balance": "20000",
     "settings": {"maker_fee_bps": "13", "taker_fee_bps": "7", "fee_currency": "base"}},
)  # fmt: skip


async def furnish(home: Home) -> None:
    """Make the accounts, and a token of another principal."""
    for account in NEW:
        made = await home.stack.operator.post(f"{API}/accounts", json=account)
        assert made.status_code == 201, made.text
    home.tokens["rival"] = await home.stack.token("rival", "read", "trade")
