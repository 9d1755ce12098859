"""The parts of an exchange's key: typed unseen at a terminal, or piped in as one JSON object."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from getpass import getpass

from backend.cli.exits import Failed

_BEGIN, _END = "-----BEGIN ", "-----END "
_LONGEST = 65_536


def read_parts(known: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of a key that the operator gives; never from an argument.

    Args:
        known: what there is, each with a sentence of help.

    Raises:
        Failed: nothing was given, or what was piped is not one object of texts.
    """
    parts = _typed(known) if sys.stdin.isatty() else _piped()
    if not parts:
        raise Failed(
            f"the key is missing ({', '.join(known)}): type its parts at a terminal, or pipe one "
            'JSON object in, as {"name": "text"}; never an argument'
        )
    return parts


def _piped() -> dict[str, str]:
    text = sys.stdin.read(_LONGEST)
    if not text.strip():
        return {}
    try:
        given = json.loads(text, object_pairs_hook=_once)
    except ValueError:
        given = None
    # What was piped is never repeated in a message: a part of it is a secret.
    if not isinstance(given, dict) or not all(isinstance(part, str) for part in given.values()):
        raise Failed('standard input must be one JSON object of texts, as {"name": "text"}')
    return {name: part for name, part in given.items() if part.strip()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a doubled key")
    return made


def _typed(known: Mapping[str, str]) -> dict[str, str]:
    parts = {}
    with _unseen() as read_line:
        for name, sentence in known.items():
            first = read_line(f"{name} ({sentence}; empty: leave it out): ")
            if not first:
                break  # The end of what is typed.
            if first.strip():
                parts[name] = _whole(first.strip(), read_line)
    return parts


def _whole(first: str, read_line: Callable[[str], str]) -> str:
    """Return a part from its first line on: a private key has several."""
    lines = [first]
    while first.startswith(_BEGIN) and _END not in lines[-1]:
        line = read_line("")
        if not line:
            raise Failed(f"the private key ended before its line {_END}…: nothing was sent")
        lines.append(line.strip())
    return "\n".join(lines)


@contextmanager
def _unseen() -> Iterator[Callable[[str], str]]:
    """Give what reads a line without showing it: with its end, "" when there is no more.

    `getpass` throws away what was pasted after the first line; so the echo is turned off
    here, once for all the lines.
    """
    try:
        import termios
    except ImportError:  # Windows; its getpass takes lines as they come.
        yield lambda prompt: getpass(prompt) + "\n"
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield _asked
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _asked(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if prompt:
        sys.stderr.write("\n")
    return line
