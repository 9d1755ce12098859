"""`kb/exchanges/README.md` is true: its tables are the protocol, the errors and the settings."""

from pathlib import Path

from backend import exchanges, plugins
from backend.domain import errors
from backend.exchanges import Exchange, ExchangeModule
from backend.services import common_settings
from tests.exchanges.kb_table import table_under

PAGE = Path(__file__).parents[2] / "kb" / "exchanges" / "README.md"
# Only of an exchange whose accounts are ours to make.
OURS = {"open_account", "reset_account"}


def tables() -> list[list[str]]:
    """Return the first column of each table of the guide."""
    guide = PAGE.read_text(encoding="utf-8").split("\n## How to add an exchange\n")[1]
    blocks = guide.split("\n## ")[0].split("\n\n")
    rows = [[line for line in block.splitlines() if line.startswith("|")] for block in blocks]
    return [[line.split("|")[1].strip().strip("`") for line in r[2:]] for r in rows if r]


def functions(protocol: type) -> set[str]:
    return {n for n, made in vars(protocol).items() if callable(made) and not n.startswith("_")}


def test_the_guide_names_what_a_module_and_a_connection_offer_and_nothing_else():
    module, connection, outcomes = tables()

    assert set(module) == {*ExchangeModule.__annotations__, *functions(ExchangeModule)} - OURS
    assert set(connection) == functions(Exchange)
    assert len(connection) == len(set(connection))
    for name in outcomes:
        assert issubclass(getattr(errors, name), errors.ExecError)


def test_the_common_settings_on_the_page_are_those_that_are_read():
    assert table_under(PAGE, "Common settings") == [
        [name, default, text] for name, (default, text) in common_settings.SETTINGS.items()
    ]


def test_every_exchange_has_its_page_and_its_row():
    text = PAGE.read_text(encoding="utf-8")

    for name in plugins.names(exchanges):
        assert f"[{name}.md]({name}.md)" in text
        assert (PAGE.parent / f"{name}.md").exists()
