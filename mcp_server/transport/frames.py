"""What both sides agree on: the subprotocol, the close codes, the text of a message."""

from enum import IntEnum

from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

SUBPROTOCOL = "mcp"
# JSON-RPC leaves these to servers; `data.code` says more.
BUSY = -32000

MAX_FRAME_BYTES = 1024 * 1024
PING_EVERY_S = 20.0
PONG_WITHIN_S = 20.0


class Close(IntEnum):
    """Why a connection ends. Up to 1015 they are RFC 6455's own."""

    NORMAL = 1000
    GOING_AWAY = 1001
    NOT_TEXT = 1003
    NOT_UTF8 = 1007
    TOO_LARGE = 1009
    FAILED = 1011
    RESTARTING = 1012
    MALFORMED = 4400
    TOKEN_ENDED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


# After these the same address and token may be tried again; after the others it is no use.
PASSING = frozenset(
    {Close.GOING_AWAY, Close.FAILED, Close.RESTARTING, Close.TOO_SLOW, Close.TOO_MANY, 1006, 1005}
)


class NotAMessage(ValueError):
    """A frame that is no JSON-RPC message."""


def parse(text: str) -> JSONRPCMessage:
    """Read one frame.

    Raises:
        NotAMessage: it is not JSON, or not JSON-RPC 2.0.
    """
    try:
        return jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        # Raised anew: pydantic's error repeats the input.
        raise NotAMessage("not a JSON-RPC 2.0 message") from None


def text_of(message: SessionMessage) -> str:
    """Return the frame of a message."""
    return message.message.model_dump_json(by_alias=True, exclude_unset=True)
