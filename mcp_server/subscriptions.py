"""Subscriptions of both protocol eras: `subscriptions/listen` and `resources/subscribe`.

Each update carries its event in `_meta`, so that nobody must come back and read; whoever
ignores it reads the resource. A subject that is not there, or not the caller's, is simply not
honoured. What was missed is told to whoever names its last event in the request's `_meta`.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import (
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from mcp_server.backend_client import BackendClient
from mcp_server.hub import Event, Follower, Hub, Unheard, is_price
from mcp_server.transport.direct import Direct, direct

EVENT = "exec-mcp/event"
RESUME = "exec-mcp/resume"
# JSON-RPC leaves this number to us; `data.code` says more.
_UNREACHABLE = -32000
_UPDATED = "notifications/resources/updated"
_json = json.JSONEncoder().encode

Context: TypeAlias = ServerRequestContext[Any, Any]
Key: TypeAlias = bytes
Notify: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Subscriptions:
    """The hubs of a server, one for each token that somebody follows something with."""

    def __init__(self, client: BackendClient) -> None:
        self._client = client
        self._hubs: dict[Key, Hub] = {}

    def add_to(self, server: FastMCP) -> None:
        """Serve the three requests. FastMCP has no door for them: the server below has."""
        add = server._mcp_server.add_request_handler
        add("subscriptions/listen", SubscriptionsListenRequestParams, self.listen)
        add("resources/subscribe", SubscribeRequestParams, self.subscribe)
        add("resources/unsubscribe", UnsubscribeRequestParams, self.unsubscribe)

    @asynccontextmanager
    async def lifespan(self, _: FastMCP) -> AsyncIterator[None]:
        """End what is left when the server ends."""
        try:
            yield
        finally:
            for hub in list(self._hubs.values()):
                await hub.close()

    async def listen(
        self, ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream until the client ends it, or its token does."""
        hub, follower = self._hub(*_whose()), Follower()
        uris = params.notifications.resource_subscriptions or []
        meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        try:
            honoured = await _joined(hub, follower, uris, _resume(params))
            told = SubscriptionsAcknowledgedNotificationParams(
                notifications=SubscriptionFilter(resource_subscriptions=honoured or None),
                _meta=meta,
            )
            await ctx.session.send_notification(
                SubscriptionsAcknowledgedNotification(params=told), ctx.request_id
            )
            # The SDK's own model would drop what it does not know, and costs twice as much.
            await _tell(follower, ctx.session._request_outbound.notify, meta)
        finally:
            hub.leave(follower)
        return SubscriptionsListenResult(_meta=meta)

    async def subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Follow one resource on a connection of the handshake era, until it ends."""
        await self.unsubscribe(ctx, params)  # Asked again, it is told from where it says.
        key, token = _whose()
        follower = self._of_connection(ctx.session._connection, key)
        await _joined(self._hub(key, token), follower, [params.uri], _resume(params))
        return EmptyResult()

    async def unsubscribe(
        self, ctx: Context, params: SubscribeRequestParams | UnsubscribeRequestParams
    ) -> EmptyResult:
        """Follow it no more."""
        key, _ = _whose()
        self._leave(key, self._of_connection(ctx.session._connection, key), [params.uri])
        return EmptyResult()

    def _hub(self, key: Key, token: str | None) -> Hub:
        """Return the hub of a token; it is forgotten when nobody follows anything."""
        if key not in self._hubs:
            hub = self._hubs[key] = Hub(self._client, token)
            hub.on_idle = partial(self._forget, key, hub)
        return self._hubs[key]

    def _forget(self, key: Key, hub: Hub) -> None:
        if self._hubs.get(key) is hub:
            del self._hubs[key]

    def _leave(self, key: Key, follower: Follower, uris: Sequence[str] | None = None) -> None:
        if key in self._hubs:
            self._hubs[key].leave(follower, uris)

    def _of_connection(self, connection: Connection, key: Key) -> Follower:
        """Return the follower that tells this connection, made the first time."""
        known: dict[Key, Follower] = connection.state.setdefault(EVENT, {})
        if key not in known or known[key].over:
            follower = known[key] = Follower()
            telling = asyncio.create_task(_tell(follower, connection.notify, {}), name="tell")

            async def end() -> None:
                self._leave(key, follower)
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

            connection.exit_stack.push_async_callback(end)
        return known[key]


def _whose() -> tuple[Key, str | None]:
    """Return whose request this is: a name for the token, and the token."""
    access = get_access_token()
    token = None if access is None else access.token
    return hashlib.sha256((token or "").encode()).digest(), token


async def _joined(
    hub: Hub, follower: Follower, uris: Sequence[str], resume: Mapping[str, str]
) -> list[str]:
    try:
        return await hub.join(follower, uris, resume)
    except Unheard as error:
        said = f"{error}: nothing was subscribed to; ask again in a moment"
        raise MCPError(_UNREACHABLE, said, {"code": "backend_unreachable"}) from error


async def _tell(follower: Follower, notify: Notify, meta: Mapping[str, Any]) -> None:
    """Tell a follower's events until the end; where the transport takes text, at once."""
    put = direct.get()
    if put is not None:
        follower.send_to(partial(_put_text, put, meta))
    while (event := await follower.next()) is not None:
        await notify(_UPDATED, {"uri": event.uri, "_meta": {**meta, EVENT: event.told}})


def _put_text(put: Direct, meta: Mapping[str, Any], event: Event) -> None:
    members = "".join(f"{_json(name)}:{_json(value)}," for name, value in meta.items())
    params = f'"uri":{_json(event.uri)},"_meta":{{{members}"{EVENT}":{event.text}}}'
    text = f'{{"jsonrpc":"2.0","method":"{_UPDATED}","params":{{{params}}}}}'
    key = f"{event.uri} {meta.get(SUBSCRIPTION_ID_META_KEY)}" if is_price(event.uri) else None
    put(text, key)


def _resume(params: Any) -> dict[str, str]:
    """Return the last event that the client has heard of each resource, as far as it says."""
    given = (params.meta or {}).get(RESUME)
    if not isinstance(given, Mapping):
        return {}
    return {uri: text for uri, text in given.items() if isinstance(text, str)}
