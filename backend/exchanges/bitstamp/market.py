"""The public side of one environment, and what all accounts of it share.

One pool of connections, one count of requests (the limits are per address) and one
measure of the exchange's clock.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.domain.ledger import FeeSchedule
from backend.exchanges import Market, Metadata
from backend.exchanges._budget import Budget, Purpose, Window
from backend.exchanges.bitstamp import answers, metadata
from backend.exchanges.bitstamp.answers import Refusal
from backend.prices.bitstamp import Addresses, BitstampPrices
from backend.wire import Answer

_SECOND, _TEN_MINUTES = timedelta(seconds=1), timedelta(minutes=10)
# Answered by anything that stands at the address: only the time in its headers counts.
_PROBE = "/api/v2/eur_usd/"
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_LEAST_PAUSE_S, _LONGEST_PAUSE_S = 1, 600


class BitstampMarket(Market):
    """See `kb/exchanges/bitstamp.md`.

    Attributes:
        addresses: of this environment.
        host: what is signed as the host.
        fees: of an account without volume, dearest first tier; a real account's are asked for.
        budget: 400 requests a second and 10,000 in ten minutes.
    """

    fees = FeeSchedule(maker=Decimal("0.003"), taker=Decimal("0.004"))

    def __init__(self, addresses: Addresses, clock: Clock) -> None:
        self.addresses = addresses
        self.host = urlsplit(addresses.rest).netloc
        self.clock = clock
        self.budget = Budget(
            clock,
            [Window("requests", 400, _SECOND), Window("requests", 10_000, _TEN_MINUTES)],
        )
        self.prices = BitstampPrices(addresses, clock, self._spend)
        self._client = wire.http_client(addresses.rest)
        self._offset = timedelta()
        self._heard: datetime | None = None

    async def fetch_metadata(self) -> bytes:
        """Return `currencies` and `markets`, whole, in one document.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, ExchangeRejected, RateLimited: no answer.
        """
        parts = [await self._get(f"/api/v2/{name}/") for name in ("currencies", "markets")]
        try:
            return metadata.document(*parts)
        except ValueError:
            raise OutcomeUnknown("the exchange's lists were not understood") from None

    def read_metadata(self, content: bytes, as_of: datetime) -> Metadata:
        """Return what the documents say; see `metadata.read`."""
        return metadata.read(content, as_of)

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return None: no instrument here has a price band."""
        return None

    async def close(self) -> None:
        """Let go of connections."""
        await self.prices.close()
        await self._client.aclose()

    # --- what accounts use ---

    def now(self) -> datetime:
        """Return the exchange's clock, as far as it was measured."""
        return self.clock() + self._offset

    async def time(self, heard_within: timedelta, purpose: Purpose = Purpose.LOOK_UP) -> datetime:
        """Return the exchange's clock, asking for it where nothing was heard for that long.

        Raises:
            ExchangeUnavailable, RateLimited: no answer.
        """
        if self._heard is None or self.clock() - self._heard > heard_within:
            self.budget.take(purpose, requests=1)
            try:
                await self.send("GET", _PROBE)
            except OutcomeUnknown:
                raise ExchangeUnavailable("the exchange does not answer") from None
        return self.now()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, once, and learn from the answer's headers; see `wire.request`."""
        sent = self.clock()
        answer = await wire.request(self._client, method, target, body=body, headers=headers)
        self.learn(answer, sent)
        return answer

    def learn(self, answer: Answer, sent: datetime) -> None:
        """Take over the exchange's clock, and the pause that it asks for."""
        self._heard = self.clock()
        told = _date(answer)
        if told is not None:
            self._offset = clock_offset(told, sent, self._heard)
        if answer.status == 429:
            self._pause(answer.headers.get("retry-after", ""))

    def slow_down(self) -> None:
        """Send nothing for a moment: the exchange said that it was too much."""
        self._pause("")

    # --- below: how ---

    async def _get(self, target: str) -> bytes:
        self._spend()
        answer = await self.send("GET", target)
        content = answers.read(answer)
        if isinstance(content, Refusal):
            raise answers.no_answer(content)
        return answer.body

    def _spend(self) -> None:
        self.budget.take(Purpose.LOOK_UP, requests=1)

    def _pause(self, retry_after: str) -> None:
        asked = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0
        pause = min(max(asked, _LEAST_PAUSE_S), _LONGEST_PAUSE_S)
        self.budget.wait_until(self.clock() + timedelta(seconds=pause))


def clock_offset(told: datetime, sent: datetime, received: datetime) -> timedelta:
    """Return how far the exchange's clock is from ours: nothing, unless it proves otherwise.

    Args:
        told: the answer's `Date`: whole seconds, so it was told within the second after it.
        sent, received: by our clock.

    Returns:
        the end of the possible range that leaves us behind rather than ahead.
    """
    least, most = told - received, told + _SECOND - sent
    return timedelta() if least <= timedelta() <= most else least


def _date(answer: Answer) -> datetime | None:
    try:
        told = answer.headers.get("date", "")
        return datetime.strptime(told, _HTTP_DATE).replace(tzinfo=UTC)
    except ValueError:
        return None
