"""Law 11: the protocol's page names every code, limit and refusal; its frames are messages."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from mcp_types import jsonrpc_message_adapter

from backend.services.events import URIS_MOST
from backend.services.feeds import Patience
from mcp_server import hub, subscriptions
from mcp_server.transport import door, frames, outbox, pending
from mcp_server.transport.door import Limits
from mcp_server.transport.frames import PASSING, Close

PAGE = (Path(__file__).parents[3] / "kb" / "transport.md").read_text(encoding="utf-8")
FRAMES = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table's rows, heads left out."""
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines]


def test_every_close_code_is_there_with_its_name_and_whether_to_come_back() -> None:
    told = {row[1]: row for row in rows(section("How it ends")) if row[0].isdigit()}

    assert {name: int(row[0]) for name, row in told.items()} == {c.name: c.value for c in Close}
    again = {name for name, row in told.items() if row[3].startswith("yes")}
    assert again == {code.name for code in Close if code in PASSING}


def test_every_limit_is_there_with_its_value() -> None:
    told = {row[0]: row[1] for row in rows(section("Limits"))[1:]}

    assert {name: int(value) for name, value in told.items()} == asdict(Limits())


@pytest.mark.parametrize(
    "text",
    [
        f"{frames.MAX_FRAME_BYTES:,} bytes",
        f"every {frames.PING_EVERY_S:.0f} s",
        f"within {frames.PONG_WITHIN_S:.0f} s",
        f"at most {outbox.MAX_MESSAGES}, and {outbox.MAX_BYTES:,} bytes",
        f"at most {hub.MOST_URIS} different resources",
        f"at most {hub._LONGEST_URI} characters",
        f"silent for {Patience().silent_s:.0f} s",
        f"some {1 / hub._PACE_S:.0f} a second",
        f"subprotocol `{frames.SUBPROTOCOL}`",
        f'_meta["{subscriptions.RESUME}"]',
        subscriptions.EVENT,
    ],
)
def test_every_number_and_name_is_as_it_is_in_the_code(text: str) -> None:
    assert text in PAGE.replace("\n", " ")


def test_client_and_server_say_the_same_names() -> None:
    assert (pending.EVENT, pending.RESUME) == (subscriptions.EVENT, subscriptions.RESUME)
    assert hub.MOST_URIS == URIS_MOST


def test_every_refusal_at_the_door_is_there() -> None:
    assert door.__doc__ is not None
    known = set(re.findall(r"`([a-z_]+)`", door.__doc__)) - {"mcp"}
    told = {row[2] for row in rows(section("Opening"))[1:]}

    assert told == known


def test_every_error_code_of_the_transport_is_there() -> None:
    source = Path(door.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in source.glob("*.py"))
    used = set(
        re.findall(r'"(busy|rate_limited|invalid_request|answer_lost|backend_unreachable)"', text)
    )

    assert used == {
        row[1] for row in rows(section("Errors")) if row[0].startswith("-32") and row[1] != "–"
    }


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_every_frame_on_the_page_is_a_message(frame: str) -> None:
    jsonrpc_message_adapter.validate_json(frame, by_name=False)

    assert "\n" not in frame
    meta = json.loads(frame).get("params", {}).get("_meta", {})
    if subscriptions.EVENT in meta:
        assert set(meta[subscriptions.EVENT]) == {"event_id", "event", "at", "data"}


def test_there_are_frames() -> None:
    assert len(FRAMES) == 7
