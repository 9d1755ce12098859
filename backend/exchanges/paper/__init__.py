"""The paper exchange: its own accounts, balances, orders and fills, in `paper.db`.

Production code behind the same protocol as a real exchange; it refuses what a
real one would. The rules stand in `kb/exchanges/paper.md`.
"""

from collections.abc import Callable, Container, Mapping
from decimal import Decimal

from backend.database import Database, Transaction, choose_durability, sqlite3
from backend.domain.errors import ExchangeUnavailable, ExecError, NotFound, Refused
from backend.exchanges import AccountKey, Context
from backend.exchanges.paper import book
from backend.exchanges.paper.exchange import CAPABILITIES, PaperExchange
from backend.exchanges.paper.ground import ground_of
from backend.exchanges.paper.settings import SETTINGS

__all__ = [
    "CAPABILITIES",
    "CREDENTIALS",
    "SETTINGS",
    "PaperExchange",
    "connect",
    "open_account",
    "reset_account",
]

# Nobody but the home's owner can open its book.
CREDENTIALS: Mapping[str, str] = {}

_OPENING_BALANCE = Decimal(100_000)
_USUAL_CURRENCIES = ("USDT", "USDC", "USD", "EUR")


async def connect(account: AccountKey, context: Context) -> PaperExchange:
    """Return the exchange bound to `account`.

    Raises:
        NotFound: the paper exchange has no such account.
        ValueError: a setting is unknown or out of range; there is no such exchange to
            mirror, or it does not deal in the currency of an account that never traded.
        ExchangeUnavailable: nothing is known yet of the exchange to mirror; the book cannot be
            opened now.
    """
    ground = ground_of(account, context)
    dealt_in = ground.metadata().currencies

    def body(transaction: Transaction) -> None:
        _require(transaction, account)
        # Once it traded it stays within reach, whatever becomes of its currency there.
        if ground.settings.mirror and not book.has_traded(transaction, account.identifier):
            _require_currency(account, dealt_in)

    try:
        database = _open(context)
    # Newer than this program, damaged, locked for long, or the disk fails.
    except (RuntimeError, sqlite3.OperationalError) as error:
        raise ExchangeUnavailable(f"the paper exchange has no book: {error}") from error
    try:
        await database.read(body)
    except (ExecError, ValueError):
        database.close()
        raise
    return PaperExchange(account, ground, context, database)


async def open_account(
    account: AccountKey,
    context: Context,
    balance: Decimal = _OPENING_BALANCE,
    holdings: Mapping[str, Decimal] | None = None,
) -> None:
    """Create the account with its opening balance; the same twice does nothing.

    Args:
        balance: in the account's currency, >= 0.
        holdings: further opening totals by currency, such as coins.

    Raises:
        Refused: `account_exists`, with another opening balance.
        ValueError: a negative balance, or a setting out of range.
    """
    ground_of(account, context)
    opening = {account.currency: balance, **(holdings or {})}
    if any(not total.is_finite() or total < 0 for total in opening.values()):
        raise ValueError(f"an opening balance must be 0 or more, was {opening}")

    def body(transaction: Transaction) -> None:
        same = book.open_account(transaction, account.identifier, account.currency, opening)
        if not same:
            raise Refused(
                f"the paper account {account.identifier} exists with another opening balance",
                "account_exists",
            )

    await _once(context, body)


async def reset_account(account: AccountKey, context: Context) -> None:
    """Cancel the account's live orders and put its balances back to the opening.

    Raises:
        NotFound: the paper exchange has no such account.
    """

    def body(transaction: Transaction) -> None:
        _require(transaction, account)
        book.reset_account(transaction, account.identifier)

    await _once(context, body)


def _require(transaction: Transaction, account: AccountKey) -> None:
    if not book.has_account(transaction, account.identifier):
        raise NotFound(f"the paper exchange has no account {account.identifier}; open it first")


async def _once(context: Context, body: Callable[[Transaction], None]) -> None:
    database = _open(context)
    try:
        await database.write(body)
    finally:
        database.close()


def _require_currency(account: AccountKey, dealt_in: Container[str]) -> None:
    if account.currency not in dealt_in:
        usual = ", ".join(code for code in _USUAL_CURRENCIES if code in dealt_in)
        raise ValueError(
            f"{account.settings['mirror']} deals in no {account.currency}: choose another "
            f"currency for the account{usual and f', such as {usual}'}"
        )


def _open(context: Context) -> Database:
    return Database(context.home / "paper.db", context.clock, book.MIGRATIONS, choose_durability())
