"""`open_prices` opens what is named and refuses the rest in words."""

import pytest

from backend.prices import FORMS, open_prices
from tests.exchanges.scripted import FrozenClock


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "unknown price source"),
        ("yahoo", "yahoo"),
        ("Simulated", "Simulated"),
        ("simulated:7", "takes no argument"),
        ("_market", "unknown price source"),
        ("replay", "no file named"),
        ("replay:", "no file named"),
        ("replay:nowhere.csv", "nowhere.csv line 1: cannot be read"),
        ("replay:not a symbol=x.csv", "is not a symbol"),
        ("mcp:", "URL must begin with"),
        ("mcp:ftp://x", "URL must begin with"),
        ("mcp:bad tool@http://x", "not a tool's name"),
    ],
)
def test_a_malformed_source_is_refused_with_its_name_and_the_valid_forms(source, words):
    with pytest.raises(ValueError, match="price source") as caught:
        open_prices(source, FrozenClock())

    assert words in str(caught.value)
    assert source in str(caught.value)
    assert FORMS in str(caught.value)


@pytest.mark.parametrize(
    "source", ["simulated", "mcp:http://127.0.0.1:9/mcp", "mcp:price_of@https://u:p@h/mcp"]
)
def test_a_source_keeps_the_name_that_chose_it(source):
    assert open_prices(source, FrozenClock()).name == source
