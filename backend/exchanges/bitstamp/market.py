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
from backend.prices.bitstamp import LEAST_PAUSE, Addresses, BitstampPrices, pause_after
from backend.wire import Answer

_SECOND, _TEN_MINUTES = timedelta(seconds=1), timedelta(minutes=10)
# Small and public: only the time in its headers counts.
_PROBE = "/api/v2/ticker/btcusd/"
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_FURTHEST = timedelta(days=1)  # Beyond it no clock is told, and no signature would hold.


class BitstampMarket(Market):
    """See `kb/exchanges/bitstamp.md`.

    Attributes:
        addresses: of this environment.
        host: what is signed as the host.
        fees: of an account without volume, dearest first tier; a real account's are asked for.
        budget: 400 requests a second and 10,000 in ten minutes.
        is_clock_doubted: the exchange refused a timestamp; measure before the next is signed.
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
        self.prices = BitstampPrices(addresses, clock, self._spend, self.budget.wait_until)
        self._client = wire.http_client(addresses.rest)
        # Orders and cancels have connections of their own: look-ups never stand in their way.
        self._urgent = wire.http_client(addresses.rest, connect_s=wire.ORDER_CONNECT_S)
        self._offset = timedelta()
        self._heard: datetime | None = None
        self.is_clock_doubted = False

    async def fetch_metadata(self) -> bytes:
        """Return `currencies` and `markets`, whole, in one document.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, ExchangeRejected, RateLimited: no answer.
        """
        parts = [await self._document(name) for name in ("currencies", "markets")]
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
        await self._urgent.aclose()

    # --- what accounts use ---

    def now(self) -> datetime:
        """Return the exchange's clock, as far as it was measured."""
        return self.clock() + self._offset

    async def time(self, heard_within: timedelta, purpose: Purpose = Purpose.LOOK_UP) -> datetime:
        """Return the exchange's clock, asking for it where nothing was heard for that long.

        Raises:
            ExchangeUnavailable, RateLimited: no answer.
        """
        heard = self._heard
        if heard is None or not timedelta() <= self.clock() - heard <= heard_within:
            try:
                answer = await self._get(_PROBE, purpose)
            except OutcomeUnknown:
                raise ExchangeUnavailable("the exchange does not answer") from None
            if answer.status != 200:
                raise ExchangeUnavailable(f"the exchange is not ready (HTTP {answer.status})")
        return self.now()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        purpose: Purpose = Purpose.LOOK_UP,
    ) -> Answer:
        """Send one request, once, and keep the pause that is asked for; see `wire.request`."""
        client = self._client if purpose is Purpose.LOOK_UP else self._urgent
        answer = await wire.request(client, method, target, body=body, headers=headers)
        if answer.status == 429:
            self.budget.wait_until(self.clock() + pause_after(answer))
        return answer

    def learn(self, answer: Answer, sent: datetime) -> None:
        """Take over the clock of an answer that is the exchange's own, not a proxy's."""
        self._heard, self.is_clock_doubted = self.clock(), False
        told = _date(answer)
        if told is not None and abs(told - self._heard) < _FURTHEST:
            self._offset = clock_offset(told, sent, self._heard)

    def doubt_clock(self) -> None:
        """Measure the exchange's clock anew before it is needed next."""
        self._heard, self.is_clock_doubted = None, True

    def slow_down(self) -> None:
        """Send nothing for a moment: the exchange said that it was too much."""
        self.budget.wait_until(self.clock() + LEAST_PAUSE)

    # --- below: how ---

    async def _document(self, name: str) -> bytes:
        answer = await self._get(f"/api/v2/{name}/", Purpose.LOOK_UP)
        content = answers.read(answer)
        if isinstance(content, Refusal):
            raise answers.no_answer(content)
        return answer.body

    async def _get(self, target: str, purpose: Purpose) -> Answer:
        self.budget.take(purpose, requests=1)
        sent = self.clock()
        answer = await self.send("GET", target, purpose=purpose)
        if answer.status == 200:
            self.learn(answer, sent)
        return answer

    def _spend(self) -> None:
        self.budget.take(Purpose.LOOK_UP, requests=1)


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
