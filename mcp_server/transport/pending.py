"""What a client still waits for, and what may be asked again when a connection broke.

| under way when it broke                    | what becomes of it                              |
|--------------------------------------------|-------------------------------------------------|
| a read, or a tool that only reads          | asked again on the next connection              |
| a subscription                             | opened again, from the last event on            |
| the handshake                              | done again; its answer is not told twice        |
| anything else: plan, confirm, cancel       | an error that says to look first, and where     |
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

# JSON-RPC leaves this range to us; `data.code` is what to look at.
BROKEN = -32000
EVENT = "exec-mcp/event"
RESUME = "exec-mcp/resume"

_LISTEN = "subscriptions/listen"
_READS = frozenset(
    {
        "completion/complete",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "tools/list",
    }
)


class Pending:
    """The requests of one client that were not answered, and what it subscribed to."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, JSONRPCRequest] = {}
        self._readers: set[str] = set()
        self._uris: dict[str, None] = {}
        self._last_events: dict[str, str] = {}
        self._handshake: JSONRPCRequest | None = None
        self._greeted: JSONRPCNotification | None = None
        self._repeated: set[RequestId] = set()

    def sent(self, message: JSONRPCMessage) -> None:
        """Note what leaves for the server."""
        if isinstance(message, JSONRPCNotification):
            if message.method == "notifications/initialized":
                self._greeted = message
            elif message.method == "notifications/cancelled":
                self._waiting.pop((message.params or {}).get("requestId", ""), None)
        elif isinstance(message, JSONRPCRequest):
            self._waiting[message.id] = message
            if message.method == "initialize":
                self._handshake = message

    def heard(self, message: JSONRPCMessage) -> bool:
        """Note what came from the server; False: the client has heard it before."""
        if isinstance(message, JSONRPCNotification):
            self._note_event(message.params or {})
            return True
        if isinstance(message, JSONRPCError | JSONRPCResponse) and message.id is not None:
            if message.id in self._repeated:
                self._repeated.discard(message.id)
                return False
            request = self._waiting.pop(message.id, None)
            if request is not None and isinstance(message, JSONRPCResponse):
                self._note_answer(request, message.result)
        return True

    def broken(self) -> Iterator[JSONRPCError]:
        """Yield an error for each request of which nobody knows whether it took effect."""
        for request in list(self._waiting.values()):
            if not self._may_repeat(request):
                del self._waiting[request.id]
                yield _look_first(request)

    def again(self) -> Iterator[JSONRPCRequest | JSONRPCNotification]:
        """Yield what a new connection begins with."""
        shaken = self._handshake is not None and self._handshake.id not in self._waiting
        if shaken and self._handshake is not None:
            self._repeated.add(self._handshake.id)
            yield self._handshake
            if self._greeted is not None:
                yield self._greeted
            for number, uri in enumerate(self._uris):
                request_id = f"again-{number}"
                self._repeated.add(request_id)
                yield JSONRPCRequest(
                    jsonrpc="2.0",
                    id=request_id,
                    method="resources/subscribe",
                    params={"uri": uri, **self._resume([uri])},
                )
        for request in self._waiting.values():
            yield self._resumed(request) if request.method == _LISTEN else request

    def _may_repeat(self, request: JSONRPCRequest) -> bool:
        if request.method == "tools/call":
            return (request.params or {}).get("name") in self._readers
        return request.method in _READS or request.method in (_LISTEN, "initialize")

    def _note_answer(self, request: JSONRPCRequest, result: Mapping[str, Any]) -> None:
        if request.method == "tools/list":
            for tool in result.get("tools", ()):
                if (tool.get("annotations") or {}).get("readOnlyHint") is True:
                    self._readers.add(tool["name"])
        elif request.method == "resources/subscribe":
            self._uris[str((request.params or {}).get("uri"))] = None
        elif request.method == "resources/unsubscribe":
            self._uris.pop(str((request.params or {}).get("uri")), None)

    def _note_event(self, params: Mapping[str, Any]) -> None:
        event = (params.get("_meta") or {}).get(EVENT)
        if isinstance(event, Mapping) and "event_id" in event:
            self._last_events[str(params.get("uri"))] = str(event["event_id"])

    def _resumed(self, listen: JSONRPCRequest) -> JSONRPCRequest:
        params = dict(listen.params or {})
        uris = (params.get("notifications") or {}).get("resourceSubscriptions") or ()
        resume = self._resume(uris).get("_meta", {})
        params["_meta"] = {**(params.get("_meta") or {}), **resume}
        return listen.model_copy(update={"params": params})

    def _resume(self, uris: Any) -> dict[str, Any]:
        known = {uri: self._last_events[uri] for uri in uris if uri in self._last_events}
        return {"_meta": {RESUME: known}} if known else {}


def _look_first(request: JSONRPCRequest) -> JSONRPCError:
    arguments = (request.params or {}).get("arguments") or {}
    named = {key: arguments[key] for key in ("trade_id", "request_id") if key in arguments}
    said = (
        "The connection broke before the answer came: it may have happened. Do not simply ask "
        "again; look first (get_trade, or list_trades) whether it took effect."
    )
    data = {"code": "answer_lost", "repeat": False, **named}
    error = ErrorData(code=BROKEN, message=said, data=data)
    return JSONRPCError(jsonrpc="2.0", id=request.id, error=error)


def not_reached(request: JSONRPCRequest, why: str) -> JSONRPCError:
    """Return the answer to a request that never left."""
    said = f"The server was not reached ({why}): nothing happened, and it is safe to ask again."
    data = {"code": "backend_unreachable", "repeat": True}
    return JSONRPCError(
        jsonrpc="2.0", id=request.id, error=ErrorData(code=BROKEN, message=said, data=data)
    )
