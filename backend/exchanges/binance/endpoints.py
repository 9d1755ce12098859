"""Where Binance answers, and what each question costs: data.

Weights are per IP address, over REST and WebSocket API together. A new order or a cancel
costs nothing when it succeeds; what a failed one costs is learnt from the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from backend.exchanges._budget import Purpose, Window
from backend.prices.binance import HOSTS, Hosts, simulated_hosts


@dataclass(frozen=True, slots=True)
class Addresses:
    """One environment's addresses.

    Attributes:
        public: REST and market streams.
        socket: the WebSocket API.
        withdrawals: the environment has the endpoint that tells what a key may do.
    """

    public: Hosts
    socket: str
    withdrawals: bool = False


ENVIRONMENTS: Mapping[str, Addresses] = {
    "live": Addresses(HOSTS["live"], "wss://ws-api.binance.com:443/ws-api/v3", withdrawals=True),
    "testnet": Addresses(HOSTS["testnet"], "wss://ws-api.testnet.binance.vision/ws-api/v3"),
    "demo": Addresses(HOSTS["demo"], "wss://demo-ws-api.binance.com/ws-api/v3"),
}


def addresses(environment: str, simulator: tuple[str, ...] | None = None) -> Addresses:
    """Return where an environment answers.

    Args:
        simulator: REST, WebSocket API and market streams on loopback, in place of the testnet.

    Raises:
        ValueError: no such environment, or an address that is not loopback.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(
            f"environment must be one of {', '.join(ENVIRONMENTS)}, was {environment!r}"
        )
    if environment != "testnet" or simulator is None:
        return ENVIRONMENTS[environment]
    if len(simulator) != 3:
        raise ValueError("a simulator has three addresses: REST, WebSocket API, market streams")
    rest, socket, streams = simulator
    simulated_hosts(rest, socket)
    return Addresses(simulated_hosts(rest, streams), socket)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One question.

    Attributes:
        method, path: over REST.
        weight: of a successful one.
        purpose: which part of the limits it may fill.
        socket: its name in the WebSocket API, "" where it is never asked there.
    """

    method: str
    path: str
    weight: int
    purpose: Purpose = Purpose.LOOK_UP
    socket: str = ""


TIME = Endpoint("GET", "/api/v3/time", 1, Purpose.CANCEL)
EXCHANGE_INFO = Endpoint("GET", "/api/v3/exchangeInfo", 20)
REFERENCE_PRICE = Endpoint("GET", "/api/v3/referencePrice", 2)
AVERAGE_PRICE = Endpoint("GET", "/api/v3/avgPrice", 2)
LAST_PRICE = Endpoint("GET", "/api/v3/ticker/price", 2)

PLACE = Endpoint("POST", "/api/v3/order", 0, Purpose.ORDER, "order.place")
CANCEL = Endpoint("DELETE", "/api/v3/order", 0, Purpose.CANCEL, "order.cancel")
ORDER = Endpoint("GET", "/api/v3/order", 4)
OPEN_ORDERS = Endpoint("GET", "/api/v3/openOrders", 80)
ALL_ORDERS = Endpoint("GET", "/api/v3/allOrders", 20)
FILLS = Endpoint("GET", "/api/v3/myTrades", 20)
FILLS_OF_ORDER = Endpoint("GET", "/api/v3/myTrades", 5)
ACCOUNT = Endpoint("GET", "/api/v3/account", 20)
COMMISSION = Endpoint("GET", "/api/v3/account/commission", 20)
MY_FILTERS = Endpoint("GET", "/api/v3/myFilters", 40)
RESTRICTIONS = Endpoint("GET", "/sapi/v1/account/apiRestrictions", 1)

SUBSCRIBE = "userDataStream.subscribe.signature"
SOCKET_WEIGHT = 2  # Of opening a connection, and of a subscription.

# What is limited, by the exchange's name: ours.
LIMIT_NAMES = {"REQUEST_WEIGHT": "weight", "RAW_REQUESTS": "raw", "ORDERS": "orders"}
SPANS = {
    "SECOND": timedelta(seconds=1),
    "MINUTE": timedelta(minutes=1),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
}


def shared_windows() -> list[Window]:
    """Return the limits of one IP address, until the exchange tells its own."""
    return [
        Window("weight", 6000, timedelta(minutes=1)),
        Window("raw", 300_000, timedelta(minutes=5)),
    ]


def order_windows(limits: Mapping[timedelta, int] | None = None) -> list[Window]:
    """Return the limits of one account: unfilled orders placed."""
    known = {timedelta(seconds=10): 100, timedelta(days=1): 200_000, **(limits or {})}
    return [Window("orders", limit, span) for span, limit in known.items()]
