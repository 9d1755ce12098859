"""Accounts of real exchanges from the command line; keys are typed unseen or piped in."""

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import backend.exchanges
from tests.cli.results import Result

Command = Callable[..., Result]
PEM = "-----BEGIN PRIVATE KEY-----\ncanaryPEMline1\ncanaryPEMline2\n-----END PRIVATE KEY-----"
KEY = {"api_key": "key-one", "api_secret": "canary-secret"}
ADD = ("account", "add", "pretend", "--environment", "testnet")


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plug-in folder has one exchange more."""
    folders = [*backend.exchanges.__path__, str(Path(__file__).parent / "plugged")]
    monkeypatch.setattr(backend.exchanges, "__path__", folders)
    sys.modules.pop("backend.cli.account_add", None)  # Its help lists the exchanges.
    module = import_module("backend.exchanges.pretend")
    module.holds("key-one")
    yield module
    for name in ("backend.exchanges.pretend", "backend.cli.account_add"):
        sys.modules.pop(name, None)
    delattr(backend.exchanges, "pretend")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def given(module: Any) -> dict[str, str]:
    """Return the parts of the key that was connected with last."""
    return {name: part.reveal() for name, part in module.keys[-1].credentials.items()}


# --- piped ---


def test_a_key_is_piped_in_as_one_json_object(exec_mcp: Command, pretend: Any, pipe: Any):
    pipe(json.dumps({**KEY, "private_key": PEM}))

    added = exec_mcp(*ADD, "--set", "on_difference=adjust", "--set", "speed=fast")

    assert (added.code, added.out) == (0, "Added pretend:one (testnet, USD).\n")
    assert given(pretend) == {**KEY, "private_key": PEM}
    assert pretend.keys[-1].settings == {"speed": "fast"}
    shown = exec_mcp("account", "show", "pretend:one")
    assert "on_difference=adjust" in shown.out


def test_an_empty_part_is_left_out(exec_mcp: Command, pretend: Any, pipe: Any):
    pipe(json.dumps({**KEY, "private_key": " "}))

    assert exec_mcp(*ADD).code == 0
    assert given(pretend) == KEY


@pytest.mark.parametrize("path", ["add", "set-credentials"])
def test_without_its_file_the_operators_token_is_the_first_line_of_the_pipe(
    exec_mcp: Command, pretend: Any, pipe: Any, home: Path, path: str
):
    pipe(json.dumps(KEY))
    if path == "set-credentials":
        exec_mcp(*ADD)
    else:
        exec_mcp("trades")
    token = (home / "operator.token").read_text().strip()
    (home / "operator.token").unlink()
    words = ADD if path == "add" else ("account", "set-credentials", "pretend:one")

    pipe(f"{token}\n{json.dumps(KEY, indent=2)}\n")
    done = exec_mcp(*words)
    pipe(json.dumps(KEY))
    without = exec_mcp(*words)

    assert done.code == 0
    assert given(pretend) == KEY
    assert (without.code, without.out) == (1, "")
    assert "the first line is no operator's token" in without.err
    for text in (token, *KEY.values()):
        assert text not in done.out + done.err + without.out + without.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the key is missing (api_key, api_secret, private_key)"),
        ("  \n", "the key is missing"),
        ("{}", "the key is missing"),
        ('{"api_key": ""}', "the key is missing"),
        ("canary-secret", "one JSON object of texts"),
        ('{"api_key": "canary-secret"', "one JSON object of texts"),
        ('["canary-secret"]', "one JSON object of texts"),
        ('{"api_key": 7}', "one JSON object of texts"),
        ('{"api_key": "a", "api_key": "canary-secret"}', "one JSON object of texts"),
        ('{"canary-secret": "a"}', "known: api_key, api_secret, private_key"),
        ('{"api_key": "canary-secret"}', "a key is an api_key with"),
        ('{"api_key": "canary-secret", "api_secret": "x"}', "refused this key"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(
    exec_mcp: Command, pretend: Any, pipe: Any, text: str, said: str
):
    pipe(text)

    refused = exec_mcp(*ADD)

    assert refused.code == 1
    assert said in refused.err
    assert "canary-secret" not in refused.err + refused.out
    assert "pretend" not in exec_mcp("account", "list").out


def test_a_paper_account_reads_nothing_from_the_pipe(exec_mcp: Command, pipe: Any):
    pipe(json.dumps(KEY))

    assert exec_mcp("account", "add", "paper", "two").code == 0
    assert sys.stdin.read() == json.dumps(KEY)


def test_a_key_is_no_argument_and_no_variable(
    exec_mcp: Command, pretend: Any, pipe: Any, monkeypatch: pytest.MonkeyPatch
):
    pipe("")

    for option in ("--api-key", "--api-secret", "--credentials", "--key"):
        refused = exec_mcp(*ADD, option, "canary-secret")
        assert refused.code == 2, option
    monkeypatch.setenv("EXEC_MCP_API_KEY", "canary-secret")
    refused = exec_mcp(*ADD)

    assert (refused.code, "EXEC_MCP_API_KEY is not a setting" in refused.err) == (2, True)


# --- typed ---


class Terminal:
    """A terminal at which somebody types once nothing is shown any more."""

    def __init__(self, text: str) -> None:
        import termios

        self.hand, self.end = os.openpty()
        self.stdin = open(self.end, encoding="utf-8", closefd=False)  # noqa: SIM115
        self._silent = lambda: not termios.tcgetattr(self.end)[3] & termios.ECHO
        self._typist = threading.Thread(target=self._type, args=(text.encode(),))
        self._stop = threading.Event()
        self._typist.start()

    @property
    def echoes(self) -> bool:
        return not self._silent()

    def _type(self, text: bytes) -> None:
        while not self._silent() and not self._stop.wait(0.001):
            pass
        if not self._stop.is_set():
            os.write(self.hand, text)

    def shown(self) -> bytes:
        """Return what stands on the screen."""
        os.set_blocking(self.hand, False)
        try:
            return os.read(self.hand, 65536)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self._stop.set()
        self._typist.join()
        self.stdin.close()
        os.close(self.hand)
        os.close(self.end)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Terminal]]:
    made: list[Terminal] = []

    def at(text: str) -> Terminal:
        made.append(Terminal(text))
        monkeypatch.setattr(sys, "stdin", made[-1].stdin)
        return made[-1]

    if os.name != "posix":
        pytest.skip("there are no pseudo-terminals here")
    yield at
    for one in made:
        one.close()


TYPED = {
    "a secret": ("key-one\ncanary-secret\n\n", KEY),
    "a private key over several lines": (
        f"key-one\n\n{PEM}\n",
        {"api_key": "key-one", "private_key": PEM},
    ),
    "an early end": ("key-one\ncanary-secret\n\x04", KEY),
}


@pytest.mark.parametrize(("text", "parts"), TYPED.values(), ids=list(TYPED))
def test_a_key_is_typed_unseen_part_by_part(
    exec_mcp: Command, pretend: Any, terminal: Any, text: str, parts: dict[str, str]
):
    screen = terminal(text)

    added = exec_mcp(*ADD)

    assert (added.code, added.out) == (0, "Added pretend:one (testnet, USD).\n")
    assert given(pretend) == parts
    assert screen.shown() == b""
    assert screen.echoes
    assert "api_key (the key; empty: leave it out): " in added.err
    assert "canary" not in added.err


@pytest.mark.parametrize("text", ["\n\n\n", "\x04", f"key-one\n\n{PEM[:45]}\n\x04"])
def test_what_is_typed_and_is_no_key_leaves_the_terminal_as_it_was(
    exec_mcp: Command, pretend: Any, terminal: Any, text: str
):
    screen = terminal(text)

    refused = exec_mcp(*ADD)

    assert refused.code == 1
    assert pretend.keys == []
    assert screen.shown() == b""
    assert screen.echoes


# --- afterwards ---


def test_another_key_takes_the_place_of_the_old_one(exec_mcp: Command, pretend: Any, pipe: Any):
    pretend.holds("key-two")
    pretend.holds("key-three", "three")
    pretend.holds("key-four", may_withdraw=True)
    pipe(json.dumps(KEY))
    exec_mcp(*ADD)
    words = ("account", "set-credentials", "pretend:one")

    pipe(json.dumps({**KEY, "api_key": "key-two"}))
    done = exec_mcp(*words)
    pipe(json.dumps({**KEY, "api_key": "key-three"}))
    foreign = exec_mcp(*words)
    pipe(json.dumps({**KEY, "api_key": "key-four"}))
    withdraws = exec_mcp(*words)
    pipe(json.dumps({**KEY, "api_key": "key-four"}))
    insisted = exec_mcp(*words, "--allow-withdrawals", "--json")
    pipe(json.dumps(KEY))
    nobody = exec_mcp("account", "set-credentials", "pretend:nobody")

    assert (done.code, done.out) == (0, "pretend:one uses the new key; the old one is gone.\n")
    assert "belongs to three" in foreign.err
    assert "--allow-withdrawals" in withdraws.err
    assert insisted.json["credential_version"] == 3
    assert (nobody.code, nobody.err) == (1, "exec-mcp: there is no account 'pretend:nobody'\n")


def test_the_first_live_account_shows_the_new_operators_token_once(
    exec_mcp: Command, pretend: Any, pipe: Any, home: Path
):
    exec_mcp("trades")
    old = (home / "operator.token").read_text().strip()
    pipe(json.dumps(KEY))

    added = exec_mcp("account", "add", "pretend", "one", "--environment", "live")
    token = added.out.splitlines()[-1]
    pipe(token)
    listed = exec_mcp("account", "list")
    pipe(old)
    dead = exec_mcp("account", "list")

    assert added.code == 0
    assert "exec-mcp token remember" in added.out
    assert token.startswith("xmcp_")
    assert token != old
    assert not (home / "operator.token").exists()
    assert (listed.code, dead.code) == (0, 1)
    assert "pretend:one" in listed.out


def test_an_account_is_renamed_and_its_identifier_stays(exec_mcp: Command, pretend: Any, pipe: Any):
    pipe(json.dumps(KEY))
    exec_mcp(*ADD, "--name", "first")

    renamed = exec_mcp("account", "rename", "pretend:one", "the second")
    refused = exec_mcp("account", "rename", "pretend:one", "/")

    assert (renamed.code, renamed.out) == (0, "pretend:one is called the second now.\n")
    assert "the second" in exec_mcp("account", "list").out
    assert refused.code == 1


def test_a_test_account_that_nothing_stopped_is_not_reset(
    exec_mcp: Command, pretend: Any, pipe: Any
):
    pipe(json.dumps(KEY))
    exec_mcp(*ADD)

    refused = exec_mcp("account", "reset", "pretend:one")

    assert (refused.code, "nothing has stopped pretend:one" in refused.err) == (1, True)


def test_the_help_tells_settings_parts_and_environments(exec_mcp: Command, pretend: Any):
    said = " ".join(exec_mcp("account", "add", "--help").out.split())

    assert "pretend: speed (slow): slow or fast" in said
    assert "every real exchange: on_difference (stop): stop or adjust" in said
    assert "pretend: api_key, api_secret, private_key" in said
    assert "pretend: live, testnet" in said
