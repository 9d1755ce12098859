"""The error answers of the exchange: a code, a text and an HTTP status."""

from typing import Any

INSUFFICIENT = "Account has insufficient balance for requested action."
UNKNOWN_ORDER = "Unknown order sent."
DUPLICATE = "Duplicate order sent."
MARKET_CLOSED = "Market is closed."
STATUS_UNKNOWN = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: (
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown."
    ),
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
}
INVALID_KEY = "Invalid API-key, IP, or permissions for action."


class ApiError(Exception):
    """An answer `{"code", "msg"}`; `data` travels beside it, `headers` on REST only."""

    def __init__(
        self,
        code: int,
        msg: str,
        status: int = 400,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(msg)
        self.code, self.msg, self.status, self.data = code, msg, status, data
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON object of this error."""
        body: dict[str, Any] = {"code": self.code, "msg": self.msg}
        return body if self.data is None else {**body, "data": self.data}


def mandatory(name: str) -> ApiError:
    return ApiError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def one_of(first: str, second: str) -> ApiError:
    text = f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    return ApiError(-1102, text)


def illegal(name: str, pattern: str) -> ApiError:
    text = f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."
    return ApiError(-1100, text)


def filter_failure(name: str) -> ApiError:
    return ApiError(-1013, f"Filter failure: {name}")


def refused(msg: str) -> ApiError:
    """A new order that the matching engine does not take."""
    return ApiError(-2010, msg)


def not_cancelled(msg: str = UNKNOWN_ORDER) -> ApiError:
    return ApiError(-2011, msg)


def invalid_key(status: int = 401) -> ApiError:
    return ApiError(-2015, INVALID_KEY, status)


def unknown_status(code: int, status: int) -> ApiError:
    """An answer that leaves the outcome of a request unknown."""
    return ApiError(code, STATUS_UNKNOWN.get(code, STATUS_UNKNOWN[-1000]), status)
