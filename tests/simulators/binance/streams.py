"""Market streams: trades, candles, touch and depth, without a key, on a port of their own."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote

from websockets.asyncio.server import ServerConnection

from .market import DAY_MS, INTERVALS, PublicTrade, aggregates, open_time, quote_volume, volume
from .numbers import ZERO, text
from .sockets import Socket, SocketServer
from .world import World

_NAME = re.compile(r"^(!?[^@\s]+)@\S+$")
_MESSAGES_PER_SECOND = 5
_PARTIAL = (5, 10, 20)
_SPEEDS = ("", "@100ms", "@1000ms")
Levels = dict[str, dict[Decimal, Decimal]]


class StreamServer(SocketServer):
    """All market stream connections; `changed` is called after every change of a symbol."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        # In the order in which they came: a set's would differ from run to run.
        self._listeners: dict[Listener, None] = {}
        self._printed: defaultdict[str, int] = defaultdict(int)
        self._touch: dict[str, tuple[Any, ...]] = {}
        self._depth: dict[str, tuple[int, Levels]] = {}
        self._candles: dict[str, int] = {}
        world.engine.changed = self.changed

    def serves(self, path: str) -> bool:
        return path in ("/ws", "/stream") or path.startswith("/ws/")

    def open_sockets(self) -> list[Socket]:
        return [listener.socket for listener in self._listeners]

    async def converse(self, connection: ServerConnection) -> None:
        target = connection.request.path if connection.request else "/ws"
        listener = Listener(Socket(connection, self._now()), self, target)
        self._listeners[listener] = None
        try:
            await listener.socket.run(listener.receive)
        finally:
            self._listeners.pop(listener, None)

    def now(self) -> int:
        return self._now()

    def forget(self) -> None:
        """Start again after a reset of the exchange."""
        for seen in (self._printed, self._touch, self._depth, self._candles):
            seen.clear()

    def follow(self, name: str) -> None:
        """A stream got a listener: what it tells is measured from here on."""
        symbol, _, kind = name.partition("@")
        symbol = symbol.upper()
        if symbol in self._world.instruments:
            if kind in [f"depth{speed}" for speed in _SPEEDS] and symbol not in self._depth:
                self._depth[symbol] = (self._update_id(symbol), self._levels(symbol))
            if kind.startswith("kline_") and kind[6:] in INTERVALS:
                self._candles[name] = open_time(self._now(), kind[6:])

    def changed(self, symbol: str) -> None:
        """Tell the listeners of a symbol what is new."""
        tape = self._world.engine.market.tapes[symbol]
        fresh = tape.trades[self._printed[symbol] :]
        self._printed[symbol] = len(tape.trades)
        wanted = {name for listener in self._listeners for name in listener.names}
        prefix = symbol.lower()
        kinds = {name.partition("@")[2] for name in wanted if name.startswith(f"{prefix}@")}
        if not kinds:
            return
        if fresh:
            self._tell_trades(symbol, prefix, fresh)
            for kind in kinds:
                if kind.startswith("kline_") and kind[6:] in INTERVALS:
                    self._tell_candle(f"{prefix}@{kind}", symbol, kind[6:])
            if "miniTicker" in kinds:
                self._emit(f"{prefix}@miniTicker", self._mini(symbol))
        self._tell_touch(symbol, prefix)
        for depth in _PARTIAL:
            for kind in {f"depth{depth}{speed}" for speed in _SPEEDS} & kinds:
                self._emit(f"{prefix}@{kind}", self._partial(symbol, depth))
        self._tell_depth(symbol, prefix)

    def tick(self) -> None:
        """Close candles whose time is over; a stream with a clock of its own has only this."""
        for name in list(self._candles):
            symbol, _, kind = name.partition("@")
            self._tell_candle(name, symbol.upper(), kind[6:])

    def _tell_trades(self, symbol: str, prefix: str, fresh: list[PublicTrade]) -> None:
        now, places = self._now(), self._places(symbol)
        for trade in fresh:
            row = {
                "e": "trade",
                "E": now,
                "s": symbol,
                "t": trade.trade_id,
                "p": text(trade.price),
                "q": text(trade.quantity, places),
                "T": trade.time,
                "m": trade.buyer_is_maker,
                "M": True,
            }
            self._emit(f"{prefix}@trade", row)
        for row in aggregates(fresh, places):
            self._emit(f"{prefix}@aggTrade", {"e": "aggTrade", "E": now, "s": symbol, **row})

    def _tell_candle(self, name: str, symbol: str, interval: str) -> None:
        current = open_time(self._now(), interval)
        last = self._candles.get(name, current)
        if last != current:
            self._emit(name, self._candle(symbol, interval, last, closed=True))
        self._candles[name] = current
        self._emit(name, self._candle(symbol, interval, current, closed=False))

    def _candle(self, symbol: str, interval: str, opened: int, closed: bool) -> dict[str, Any]:
        market = self._world.engine.market
        row = market.candle(symbol, interval, opened)
        trades = market.since(symbol, opened, row[6])
        candle = {
            "t": row[0],
            "T": row[6],
            "s": symbol,
            "i": interval,
            "f": trades[0].trade_id if trades else -1,
            "L": trades[-1].trade_id if trades else -1,
            "o": row[1],
            "c": row[4],
            "h": row[2],
            "l": row[3],
            "v": row[5],
            "n": row[8],
            "x": closed,
            "q": row[7],
            "V": row[9],
            "Q": row[10],
            "B": "0",
        }
        return {"e": "kline", "E": self._now(), "s": symbol, "k": candle}

    def _mini(self, symbol: str) -> dict[str, Any]:
        market, now = self._world.engine.market, self._now()
        seen = market.since(symbol, now - DAY_MS)
        prices = [trade.price for trade in seen] or [market.last(symbol) or ZERO]
        return {
            "e": "24hrMiniTicker",
            "E": now,
            "s": symbol,
            "c": text(prices[-1]),
            "o": text(prices[0]),
            "h": text(max(prices)),
            "l": text(min(prices)),
            "v": text(volume(seen), self._places(symbol)),
            "q": text(quote_volume(seen)),
        }

    def _tell_touch(self, symbol: str, prefix: str) -> None:
        book = self._world.engine.books[symbol]
        bid = next(iter(book.levels("buy", 1)), (ZERO, ZERO))
        ask = next(iter(book.levels("sell", 1)), (ZERO, ZERO))
        if self._touch.get(symbol) == (bid, ask):
            return
        self._touch[symbol] = (bid, ask)
        places = self._places(symbol)
        row = {
            "u": self._update_id(symbol),
            "s": symbol,
            "b": text(bid[0]),
            "B": text(bid[1], places),
            "a": text(ask[0]),
            "A": text(ask[1], places),
        }
        self._emit(f"{prefix}@bookTicker", row)

    def _tell_depth(self, symbol: str, prefix: str) -> None:
        if symbol not in self._depth:
            return
        update, places = self._update_id(symbol), self._places(symbol)
        before, known = self._depth[symbol]
        levels = self._levels(symbol)
        event = {
            "e": "depthUpdate",
            "E": self._now(),
            "s": symbol,
            "U": before + 1,
            "u": update,
            "b": _difference(known["buy"], levels["buy"], places),
            "a": _difference(known["sell"], levels["sell"], places),
        }
        self._depth[symbol] = (update, levels)
        if event["b"] or event["a"]:
            for speed in _SPEEDS:
                self._emit(f"{prefix}@depth{speed}", event)

    def _rows(self, symbol: str, side: str, depth: int) -> list[list[str]]:
        levels = self._world.engine.books[symbol].levels(side, depth)
        places = self._places(symbol)
        return [[text(price), text(quantity, places)] for price, quantity in levels]

    def _partial(self, symbol: str, depth: int) -> dict[str, Any]:
        return {
            "lastUpdateId": self._update_id(symbol),
            "bids": self._rows(symbol, "buy", depth),
            "asks": self._rows(symbol, "sell", depth),
        }

    def _places(self, symbol: str) -> int:
        return self._world.instruments[symbol].base_places

    def _update_id(self, symbol: str) -> int:
        return self._world.engine.market.tapes[symbol].update_id

    def _levels(self, symbol: str) -> Levels:
        book = self._world.engine.books[symbol]
        return {side: dict(book.levels(side, 5000)) for side in ("buy", "sell")}

    def _emit(self, name: str, payload: dict[str, Any]) -> None:
        listening = [listener for listener in self._listeners if name in listener.names]
        if not listening:
            return
        for bent_name, bent in self._world.market_faults.bend((name, payload)):
            for listener in self._listeners:
                if bent_name in listener.names:
                    listener.pass_on(bent_name, bent)

    def announce_shutdown(self) -> None:
        for socket in self.open_sockets():
            socket.send({"e": "serverShutdown", "E": self._now()})


class Listener:
    """One connection and the names of its streams."""

    def __init__(self, socket: Socket, server: StreamServer, target: str) -> None:
        self.socket, self._server = socket, server
        path, _, query = target.partition("?")
        self._combined = path == "/stream"
        self.names: dict[str, None] = {}
        self._second = self._messages = 0
        given = parse_qs(query).get("streams", [""])[0] if self._combined else unquote(path[4:])
        self._add(name for name in given.split("/") if name)

    def pass_on(self, name: str, payload: dict[str, Any]) -> None:
        self.socket.send({"stream": name, "data": payload} if self._combined else payload)

    def receive(self, frame: str | bytes) -> None:
        """Answer a control frame; more than five a second end the connection."""
        second = self._server.now() // 1000
        self._messages = self._messages + 1 if second == self._second else 1
        self._second = second
        if self._messages > _MESSAGES_PER_SECOND:
            return self.socket.abort()
        try:
            message = json.loads(frame)
        except ValueError:
            return self.socket.send({"code": 3, "msg": "Invalid JSON: expected value"})
        if not isinstance(message, dict):
            return self.socket.send({"code": 2, "msg": "Invalid request: request must be object"})
        answer = self._control(message.get("method"), message.get("params", []))
        if "code" not in answer or "id" in message:
            answer["id"] = message.get("id")
        return self.socket.send(answer)

    def _control(self, method: Any, params: Any) -> dict[str, Any]:
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self.names)}
        if not isinstance(params, list):
            return {"code": 1, "msg": "Invalid value type: expected array"}
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params)
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return {"code": 2, "msg": "Invalid request: unknown variant, expected SUBSCRIBE"}
        if not all(isinstance(name, str) and _NAME.match(name) for name in params):
            return {"code": 2, "msg": "Invalid request: wrong stream name"}
        if method == "SUBSCRIBE":
            self._add(params)
        else:
            for name in params:
                self.names.pop(name, None)
        return {"result": None}

    def _property(self, method: str, params: list[Any]) -> dict[str, Any]:
        if not params or params[0] != "combined":
            return {"code": 0, "msg": "Unknown property"}
        if method == "GET_PROPERTY":
            return {"result": self._combined}
        if len(params) != 2 or not isinstance(params[1], bool):
            return {"code": 1, "msg": "Invalid value type: expected Boolean"}
        self._combined = params[1]
        return {"result": None}

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            self.names[name] = None
            self._server.follow(name)


def _difference(
    known: dict[Decimal, Decimal], now: dict[Decimal, Decimal], places: int
) -> list[list[str]]:
    """The prices whose quantity changed; a quantity of 0 takes a price away."""
    rows = [[text(p), text(q, places)] for p, q in now.items() if known.get(p) != q]
    return rows + [[text(price), text(ZERO, places)] for price in known if price not in now]
