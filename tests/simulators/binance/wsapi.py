"""The WebSocket API: requests, sessions, user data subscriptions, on one port."""

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from websockets.asyncio.server import ServerConnection

from .accounts import Account
from .errors import ApiError, invalid_key, unknown_status
from .faults import Html, Lost, Truncated
from .gateway import Gateway, Signed, counted_limits
from .operations import METHODS, OPERATIONS
from .params import Params
from .signing import Key, plain, ws_payload
from .sockets import Socket, SocketServer
from .world import World

PATH = "/ws-api/v3"
_CONNECT_WEIGHT = _SESSION_WEIGHT = 2


class ApiServer(SocketServer):
    """All WebSocket API connections, and the way of user events to them."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        super().__init__(world)
        self._gateway = gateway
        # In the order in which they came: a set's would differ from run to run.
        self._conversations: dict[Conversation, None] = {}
        world.engine.publish = self.publish

    def serves(self, path: str) -> bool:
        return path == PATH

    def open_sockets(self) -> list[Socket]:
        return [conversation.socket for conversation in self._conversations]

    async def converse(self, connection: ServerConnection) -> None:
        world = self._world
        world.limits.weight.roll(world.now())
        world.limits.charge(_CONNECT_WEIGHT)
        query = parse_qs(connection.request.path.partition("?")[2]) if connection.request else {}
        quiet = query.get("returnRateLimits") == ["false"]
        socket = Socket(connection, world.now())
        conversation = Conversation(socket, world, self._gateway, quiet)
        self._conversations[conversation] = None
        try:
            await socket.run(conversation.receive)
        finally:
            self._conversations.pop(conversation, None)

    def publish(self, uid: int, event: dict[str, Any]) -> None:
        """Send one user event, bent by the scripted stream faults, to all its subscriptions."""
        listening = [c for c in self._conversations if c.listens_to(uid)]
        if not listening:
            return
        for bent in self._world.user_faults.bend((uid, event)):
            for conversation in self._conversations:
                conversation.pass_on(*bent)

    def announce_shutdown(self) -> None:
        """Tell every connection that the server goes away."""
        event = {"e": "serverShutdown", "E": self._world.now()}
        for socket in self.open_sockets():
            socket.send({"event": event})


class Conversation:
    """One connection: its session and its subscriptions."""

    def __init__(self, socket: Socket, world: World, gateway: Gateway, quiet: bool) -> None:
        self.socket = socket
        self._world, self._gateway, self._quiet = world, gateway, quiet
        self._session: Key | None = None
        self._authorized_since: int | None = None
        self._subscriptions: dict[int, tuple[int, bool]] = {}
        self._next_subscription = 0
        self._ending: list[int] = []
        self._methods = {
            "session.logon": self._logon,
            "session.status": self._status,
            "session.logout": self._logout,
            "session.subscriptions": self._list,
            "userDataStream.subscribe": self._subscribe,
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    def listens_to(self, uid: int) -> bool:
        return any(owner == uid for owner, _ in self._subscriptions.values())

    def pass_on(self, uid: int, event: dict[str, Any]) -> None:
        """Send an event of one account to the subscriptions of that account."""
        for number, (owner, _) in self._subscriptions.items():
            if owner == uid:
                self.socket.send({"subscriptionId": number, "event": event})

    def receive(self, frame: str | bytes) -> None:
        """Answer one request, now."""
        try:
            message = json.loads(frame, parse_float=Decimal)
            method, params = message["method"].removeprefix("v3/"), message.get("params") or {}
            sendable = isinstance(params, dict)
        except (ValueError, KeyError, TypeError, AttributeError):
            sendable = False
        if not sendable:
            error = ApiError(-1135, "Invalid JSON Request")
            return self.socket.send(_failed(None, error))
        if self._session is not None and self._session.revoked:
            self._session = None
            return self.socket.send(_failed(None, invalid_key()))
        return self._answer(message.get("id"), method, params)

    def _answer(self, request_id: Any, method: str, params: dict[str, Any]) -> None:
        raw = {name: _as_text(value) for name, value in params.items() if value is not None}
        quiet = raw.pop("returnRateLimits", "").lower() == "false" or self._quiet
        cut = False
        try:
            answer = {"id": request_id, "status": 200, "result": self._run(method, raw, params)}
        except ApiError as error:
            answer = _failed(request_id, error)
        except Html as page:
            answer = _failed(request_id, unknown_status(-1000, page.status))
        except Lost:
            return self.socket.end()
        except Truncated as broken:
            answer = {"id": request_id, "status": 200, "result": broken.result}
            cut = True
        if not quiet:
            is_order = method in METHODS and OPERATIONS[method].kind == "order"
            account = self._account_of(raw)
            answer["rateLimits"] = counted_limits(self._world, account, is_order)
        if cut:
            text = json.dumps(answer)
            self.socket.send_text(text[: len(text) // 2])
            return self.socket.end()
        self.socket.send(answer)
        if method in ("session.logout", "userDataStream.unsubscribe"):
            self._end_streams()
        return None

    def _run(self, method: str, raw: dict[str, str], params: dict[str, Any]) -> Any:
        proof: Signed | Key = Signed(raw.get("apiKey"), ws_payload(params), raw.get("signature"))
        if self._session is not None and "apiKey" not in raw and "signature" not in raw:
            proof = self._session
        if method in METHODS:
            operation = OPERATIONS[method]
            return self._gateway.run(operation, raw, proof, "ws", ("WS", method))[0]
        self._gateway.log(("WS", method), raw)
        if method not in self._methods:
            raise ApiError(-1130, "Data sent for parameter 'method' is not valid.")
        self._world.limits.admit(self._world.now(), _SESSION_WEIGHT)
        self._world.limits.charge(_SESSION_WEIGHT)
        if fault := self._world.faults.take(method, None):
            raise fault.answer(self._world.now(), {})
        return self._methods[method](Params(raw), proof)

    def _account_of(self, raw: dict[str, str]) -> Account | None:
        key = self._world.keys.get(raw["apiKey"]) if "apiKey" in raw else self._session
        return None if key is None else self._world.accounts[key.uid]

    # --- session

    def _logon(self, params: Params, proof: Signed | Key) -> dict[str, Any]:
        key = self._gateway.authenticate(params, proof)
        if key.kind != "ed25519":
            raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
        self._session, self._authorized_since = key, self._world.now()
        return self._state()

    def _status(self, params: Params, proof: Signed | Key) -> dict[str, Any]:
        return self._state()

    def _logout(self, params: Params, proof: Signed | Key) -> dict[str, Any]:
        self._session = self._authorized_since = None
        self._ending = [n for n, (_, signed) in self._subscriptions.items() if not signed]
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "apiKey": None if self._session is None else self._session.name,
            "authorizedSince": self._authorized_since,
            "connectedSince": self.socket.opened,
            "returnRateLimits": not self._quiet,
            "serverTime": self._world.now(),
            "userDataStream": any(not signed for _, signed in self._subscriptions.values()),
        }

    # --- user data streams

    def _subscribe(self, params: Params, proof: Signed | Key) -> dict[str, int]:
        if self._session is None:
            raise invalid_key()
        return self._add(self._session, signed=False)

    def _subscribe_signed(self, params: Params, proof: Signed | Key) -> dict[str, int]:
        return self._add(self._gateway.authenticate(params, proof), signed=True)

    def _add(self, key: Key, signed: bool) -> dict[str, int]:
        if self.listens_to(key.uid):
            raise ApiError(-2035, "User Data Stream subscription already active.")
        number = self._next_subscription
        self._next_subscription += 1
        self._subscriptions[number] = (key.uid, signed)
        return {"subscriptionId": number}

    def _unsubscribe(self, params: Params, proof: Signed | Key) -> dict[str, Any]:
        number = params.integer("subscriptionId")
        if number is not None and number not in self._subscriptions:
            raise ApiError(-2036, "User Data Stream subscription not active.")
        self._ending = list(self._subscriptions) if number is None else [number]
        return {}

    def _list(self, params: Params, proof: Signed | Key) -> list[dict[str, int]]:
        return [{"subscriptionId": number} for number in self._subscriptions]

    def _end_streams(self) -> None:
        for number in self._ending:
            event = {"e": "eventStreamTerminated", "E": self._world.now()}
            self.socket.send({"subscriptionId": number, "event": event})
            del self._subscriptions[number]
        self._ending = []


def _failed(request_id: Any, error: ApiError) -> dict[str, Any]:
    return {"id": request_id, "status": error.status, "error": error.body()}


def _as_text(value: Any) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return plain(value)
