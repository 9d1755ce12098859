"""The door: signed calls of one account. Each is one request, once.

Paths end in `/`, which is signed; parameters go as a form; an empty body goes without a
content type, or the exchange refuses it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from backend.domain.errors import OutcomeUnknown
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp import answers
from backend.exchanges.bitstamp.answers import Refusal
from backend.exchanges.bitstamp.fields import Row, rows
from backend.exchanges.bitstamp.market import BitstampMarket
from backend.exchanges.bitstamp.orders import understood
from backend.exchanges.bitstamp.rejections import OUT_OF_TIME
from backend.exchanges.bitstamp.signing import Key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_AT_ONCE = timedelta()


class Door:
    """One account's way to the exchange."""

    def __init__(
        self, market: BitstampMarket, key: Key, new_nonce: Callable[[], str] | None = None
    ) -> None:
        self.market = market
        self.subaccount_id = key.subaccount_id
        self._key = key
        self._new_nonce = new_nonce or _uuid

    async def send(
        self,
        path: str,
        params: Mapping[str, str],
        purpose: Purpose,
        *,
        sign_time: datetime | None = None,
        as_main: bool = False,
    ) -> Any:
        """Send one signed request, and return what was answered.

        Args:
            path: below `/api/v2/`.
            sign_time: the exchange's time that is signed; None: now.
            as_main: for the key's own account, whatever sub account it acts for.

        Returns:
            the content, or the `Refusal` that was answered instead.

        Raises:
            RateLimited, ExchangeUnavailable: no byte was written.
            OutcomeUnknown: no answer, or not one that the exchange signed.
        """
        market = self.market
        if sign_time is None and market.is_clock_doubted:
            await market.time(_AT_ONCE, purpose)
        market.budget.take(purpose, requests=1)
        target, body = f"/api/v2/{path}", urlencode(params).encode()
        stamp_ms = ((sign_time or market.now()) - _EPOCH) // _MILLISECOND
        key = replace(self._key, subaccount_id="") if as_main else self._key
        headers = key.sign("POST", market.host, target, body, self._new_nonce(), stamp_ms)
        sent = market.clock()
        answer = await market.send("POST", target, body, headers, purpose)
        is_signed = key.vouches_for(headers, answer)
        if is_signed:
            market.learn(answer, sent)
        elif key.must_be_signed(answer):
            raise OutcomeUnknown("the answer does not carry the exchange's signature")
        content = answers.read(answer)
        if not isinstance(content, Refusal):
            return content
        if content.is_rate_limit:
            market.slow_down()
        if content.code == OUT_OF_TIME:
            market.doubt_clock()
        return replace(content, is_signed=is_signed)

    async def look(
        self, path: str, params: Mapping[str, str] | None = None, *, as_main: bool = False
    ) -> Any:
        """Return the content that a look-up answers.

        Raises:
            RateLimited, ExchangeUnavailable, OutcomeUnknown, ExchangeRejected: no answer.
        """
        content = await self.send(path, params or {}, Purpose.LOOK_UP, as_main=as_main)
        if isinstance(content, Refusal):
            raise answers.no_answer(content)
        return content

    async def rows(self, path: str, params: Mapping[str, str] | None = None) -> list[Row]:
        """Return the list that a look-up answers.

        Raises:
            RateLimited, ExchangeUnavailable, OutcomeUnknown, ExchangeRejected: no answer,
                or not a list.
        """
        content = await self.look(path, params)
        with understood():
            return rows(content)


def _uuid() -> str:
    return str(uuid4())
