"""Accounts: balances, permissions, fees, order counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .limits import OrderCount
from .numbers import ZERO, text
from .signing import Key


@dataclass(slots=True)
class Balance:
    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """One account. `key`, `secret` and `private_key` are those of its first API key."""

    uid: int
    first_key: Key
    count: OrderCount
    balances: dict[str, Balance] = field(default_factory=dict)
    start: dict[str, Decimal] = field(default_factory=dict)
    permissions: list[str] = field(default_factory=lambda: ["SPOT"])
    can_trade: bool = True
    can_withdraw: bool = False
    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")
    pays_bnb: bool = False
    bnb_discount: Decimal = Decimal("0.25")
    max_asset: dict[str, Decimal] = field(default_factory=dict)
    updated: int = 0

    @property
    def key(self) -> str:
        return self.first_key.name

    @property
    def secret(self) -> str:
        return self.first_key.secret

    @property
    def private_key(self) -> str:
        return self.first_key.private_key

    @property
    def owner(self) -> str:
        """The name under which this account's orders rest on a book."""
        return str(self.uid)

    def balance(self, asset: str) -> Balance:
        if asset not in self.balances:
            self.balances[asset] = Balance()
        return self.balances[asset]

    def free(self, asset: str) -> Decimal:
        return self.balances[asset].free if asset in self.balances else ZERO

    def refill(self) -> None:
        """Balances as they were when the account was made."""
        self.balances = {asset: Balance(free) for asset, free in self.start.items()}

    def rates(self) -> dict[str, str]:
        return {
            "maker": text(self.maker),
            "taker": text(self.taker),
            "buyer": text(ZERO),
            "seller": text(ZERO),
        }


def balance_rows(balances: Mapping[str, Balance], omit_zero: bool) -> list[dict[str, str]]:
    """The balances of an account answer."""
    return [
        {"asset": asset, "free": text(held.free), "locked": text(held.locked)}
        for asset, held in balances.items()
        if held.free or held.locked or not omit_zero
    ]


def account_view(
    account: Account, balances: Mapping[str, Balance], omit_zero: bool
) -> dict[str, Any]:
    """The answer of GET account."""
    bips = int(account.taker * 10000)
    return {
        "makerCommission": int(account.maker * 10000),
        "takerCommission": bips,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": account.rates(),
        "canTrade": account.can_trade,
        "canWithdraw": account.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": account.updated,
        "accountType": "SPOT",
        "balances": balance_rows(balances, omit_zero),
        "permissions": account.permissions,
        "uid": account.uid,
    }


def commission_view(account: Account, symbol: str) -> dict[str, Any]:
    """The answer of account/commission."""
    nothing = dict.fromkeys(("maker", "taker", "buyer", "seller"), text(ZERO))
    return {
        "symbol": symbol,
        "standardCommission": account.rates(),
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": account.pays_bnb,
            "enabledForSymbol": True,
            "discountAsset": "BNB",
            "discount": text(account.bnb_discount),
        },
    }


def restrictions_view(account: Account, key: Key) -> dict[str, Any]:
    """What an API key may do (sapi, live only)."""
    return {
        "ipRestrict": key.ip_restricted,
        "createTime": 1_700_000_000_000,
        "enableReading": True,
        "enableSpotAndMarginTrading": key.can_trade,
        "enableWithdrawals": key.can_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }


def coin_views(account: Account, assets: list[str]) -> list[dict[str, Any]]:
    """The answer of capital/config/getall (sapi, live only)."""
    return [
        {
            "coin": asset,
            "name": asset,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "trading": True,
            "isLegalMoney": asset == "TRY",
            "free": text(account.free(asset)),
            "locked": text(account.balance(asset).locked),
            "freeze": "0",
            "withdrawing": "0",
            "ipoing": "0",
            "ipoable": "0",
            "storage": "0",
            "networkList": [],
        }
        for asset in assets
    ]
