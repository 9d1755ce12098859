"""The page names exactly the commands and options that there are."""

import re
from pathlib import Path

import pytest
from cyclopts import App

from backend.cli.app import COMMANDS, build_app

PAGE = (Path(__file__).parents[2] / "kb" / "cli.md").read_text(encoding="utf-8")
_ROW = r"^\| `exec-mcp ([a-z]+(?: [a-z]+(?:-[a-z]+)*)?)([^`]*)` \|"
ROWS = dict(re.findall(_ROW, PAGE, re.MULTILINE))


def _command(name: str) -> App:
    app = build_app()
    for word in name.split():
        app = app[word]
    return app


def test_the_page_lists_every_command_and_no_other():
    assert set(ROWS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_every_option_and_no_other(name: str):
    arguments = _command(name).assemble_argument_collection()
    options = {n for a in arguments for n in {*a.names} - {*a.negatives} if n.startswith("--")}

    assert set(re.findall(r"--[a-z-]+", ROWS[name])) == options - {"--json"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_a_sentence_of_help(name: str):
    command = _command(name)

    assert command.help.splitlines()[0].endswith(".")
    for argument in command.assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help, argument.names


@pytest.mark.parametrize("code", ["0", "1", "2", "3", "130"])
def test_the_exit_codes_stand_on_the_page_and_in_the_help(code: str):
    assert f"\n| {code} |" in PAGE
    assert re.search(rf"\b{code} [a-z]", build_app().help_epilogue or "")
