"""`kb/interop.md` names the clients as they are pinned."""

import re
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "kb" / "interop.md"
_LOCK = Path(__file__).with_name("requirements.lock")


@pytest.mark.parametrize("client", ["ccxt", "python-binance"])
def test_the_page_names_the_pinned_version(client):
    pinned = re.search(rf"^{client}==(\S+)", _LOCK.read_text(encoding="utf-8"), re.MULTILINE)

    assert pinned is not None
    rows = [row for row in _PAGE.read_text(encoding="utf-8").splitlines() if f"`{client}`" in row]
    assert rows
    assert all(f"| {pinned[1]} |" in row for row in rows)
