"""One Binance Spot account: the `Exchange` protocol."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from decimal import Decimal

from backend import wire
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport, OrderType, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import (
    Balance,
    Capabilities,
    ClientOrderId,
    Context,
    Event,
    Exchange,
    Identity,
    Metadata,
)
from backend.exchanges._budget import Purpose
from backend.exchanges.binance.account import AccountReader
from backend.exchanges.binance.answers import Answer, not_told, refusal
from backend.exchanges.binance.api_socket import ApiSocket, OnEvent, open_api_socket
from backend.exchanges.binance.endpoints import CANCEL, PLACE, SUBSCRIBE, Endpoint
from backend.exchanges.binance.history import History
from backend.exchanges.binance.limits import Limits
from backend.exchanges.binance.market import BinanceMarket
from backend.exchanges.binance.orders import order_params, placed
from backend.exchanges.binance.rejections import NOT_CANCELLED, OUTSIDE_WINDOW
from backend.exchanges.binance.rest import Rest
from backend.exchanges.binance.sender import Sender
from backend.exchanges.binance.signing import Signer, signed_params
from backend.exchanges.binance.stream import UserStream
from backend.exchanges.binance.times import to_ms

CAPABILITIES = Capabilities(
    environments=frozenset({"live", "testnet", "demo"}),
    order_types=frozenset(OrderType),
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}),
    client_order_id=ClientOrderId.UNIQUE_AMONG_OPEN,
    validity=timedelta(seconds=3),
    absence_margin=timedelta(seconds=30),
    absence_answers=3,
    absence_spacing=timedelta(seconds=5),
    band_bps=Decimal(10),
    poll_every=timedelta(seconds=30),
    stream=True,
    sub_accounts=True,
    look_up_every=timedelta(seconds=2),
)


class BinanceExchange(Exchange):
    """One account; see `kb/exchanges/binance.md`.

    Orders and cancels go over the WebSocket API; look-ups go over REST, so that what is
    asked after a lost answer does not depend on the connection that lost it.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        market: BinanceMarket,
        signer: Signer,
        context: Context,
        over_socket: bool,
    ) -> None:
        clock = context.clock
        self._market = market
        self._signer = signer
        self._clock = clock
        self._codes = market.codes
        self._limits = Limits(clock, market.budget, market.order_limits)
        self._rest = Rest(market.where.public.rest, clock, self._limits)
        # Orders have connections of their own: look-ups never stand in their way.
        self._order_rest = Rest(
            market.where.public.rest, clock, self._limits, connect_s=wire.ORDER_CONNECT_S
        )
        self._sender = Sender(
            market.where.socket, over_socket, self._order_rest, signer, clock, self._limits
        )
        self._history = History(self._look_up, self._codes, market.server_clock.now)
        self._account = AccountReader(self._look_up, self._codes, clock, market.where.withdrawals)
        self._streams: list[UserStream] = []

    async def identity(self) -> Identity:
        """Return whose key it is; `may_withdraw` is told by live only.

        Raises:
            ExchangeRejected: the exchange refuses the key.
            ExchangeUnavailable, OutcomeUnknown, RateLimited: no answer.
        """
        return await self._account.identity()

    async def metadata(self) -> Metadata:
        """Return everything that can be traded, as last fetched."""
        return self._codes.metadata()

    async def own_rules(self, instrument: Instrument) -> Instrument:
        """Return the rules with the account's own filters."""
        return await self._account.own_rules(instrument)

    async def fees(self, symbol: str | None = None) -> FeeSchedule:
        """Return what this account pays."""
        return await self._account.fees(symbol)

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch of this environment's book."""
        return await self._market.prices.quote(symbol)

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return the price that the instrument's band is around."""
        return await self._market.reference_price(symbol)

    async def now(self) -> datetime:
        """Return the exchange's clock, measured at most an hour ago."""
        await self._market.server_clock.ready(self._rest.time)
        return self._market.server_clock.now()

    async def prepare(self) -> datetime:
        """Make a connection ready, know the clock, and take the room of one order.

        Raises:
            ExchangeUnavailable, RateLimited: no order was sent.
        """
        try:
            await self.now()
            await self._sender.make_ready()
        except OutcomeUnknown as error:
            raise ExchangeUnavailable(f"{error.detail}; no order was sent") from None
        self._limits.take(PLACE)
        return self._market.server_clock.now()

    async def submit(self, order: Order) -> OrderReport:
        """Send one order, once.

        Raises:
            ExchangeRejected: with a code of `rejections.REJECTIONS`, or a text of `REFUSALS`.
            ExchangeUnavailable: no byte was written.
            OutcomeUnknown: anything else; `order_id` where an answer named an order.
        """
        params = order_params(order, self._codes.code(order.terms.symbol))
        try:
            self._limits.may_send()
        except RateLimited as error:
            raise ExchangeUnavailable(error.detail) from None
        answer = await self._sender.send(PLACE, params)
        if not answer.good:
            self._heed(answer)
            raise refusal(answer)
        report = placed(answer.body, order, params, self._codes.quote(order.terms.symbol))
        number = int(report.exchange_order_id)
        self._history.remember(str(params["symbol"]), number, order.client_order_id)
        return report

    async def cancel(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> None:
        """Ask for a cancel. Its own id is the order's, so that the order keeps its name.

        Both ids are sent, so that no other order of that number is cancelled. It waits for
        no measurement of the clock after the first one.

        Raises:
            ExchangeRejected: nothing is open under this id, which is no evidence.
            ExchangeUnavailable, RateLimited: nothing was sent.
            OutcomeUnknown: anything else.
        """
        if not self._market.server_clock.is_known:
            await self.now()
        self._limits.take(CANCEL)
        params: dict[str, str | int] = {
            "symbol": self._codes.code(symbol),
            **({"orderId": exchange_order_id} if exchange_order_id else {}),
            "origClientOrderId": client_order_id,
            "newClientOrderId": client_order_id,
            "timestamp": to_ms(self._market.server_clock.now()),
        }
        answer = await self._sender.send(CANCEL, params)
        if not answer.good:
            self._heed(answer)
            raise refusal(answer, NOT_CANCELLED)

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> OrderReport | None:
        """Return the order with all its fills, or None: an authenticated "not found"."""
        return await self._history.find(client_order_id, symbol, exchange_order_id)

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return every live order of the account."""
        return await self._history.open_orders()

    async def orders(self, symbol: str, since: datetime) -> Sequence[OrderReport]:
        """Return the order history of `symbol`, open ones included, oldest first."""
        return await self._history.orders(symbol, since)

    async def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's fills of `symbol`, oldest first."""
        return await self._history.fills(symbol, since)

    async def balances(self) -> Sequence[Balance]:
        """Return every non-zero balance."""
        return await self._account.balances()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Stream news of this account's orders from now on."""
        stream = UserStream(self._subscribe, self._codes, self._clock)
        self._streams.append(stream)
        try:
            async with aclosing(stream.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._streams.remove(stream)

    async def close(self) -> None:
        """End the streams and let go of connections."""
        for stream in list(self._streams):
            await stream.close()
        await self._sender.close()
        await self._rest.close()
        await self._order_rest.close()

    # --- below: what the parts share ---

    async def _look_up(self, endpoint: Endpoint, query: Mapping[str, str | int]) -> Answer:
        stamp = to_ms(await self.now())
        answer = await self._rest.ask_signed(endpoint, {**query, "timestamp": stamp}, self._signer)
        self._heed(answer)
        return answer

    async def _subscribe(self, on_event: OnEvent) -> ApiSocket:
        await self.now()
        self._limits.take_socket(Purpose.LOOK_UP)
        self._limits.take_socket(Purpose.LOOK_UP)
        url = self._market.where.socket
        async with AsyncExitStack() as unless_subscribed:
            socket = await open_api_socket(url, self._clock, self._limits, on_event)
            unless_subscribed.push_async_callback(socket.close)
            stamp = {"timestamp": to_ms(self._market.server_clock.now())}
            answer = await socket.ask(SUBSCRIBE, signed_params(self._signer, stamp))
            if not answer.good:
                self._heed(answer)
                raise not_told(answer)
            unless_subscribed.pop_all()
        return socket

    def _heed(self, answer: Answer) -> None:
        if answer.code in OUTSIDE_WINDOW:
            self._market.server_clock.doubt()
