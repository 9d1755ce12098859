"""The command line of exec-mcp.

Nothing heavy is imported here: a desktop client starts `exec-mcp stdio` and waits for it.
Exit codes: 0 done, 1 refused or failed, 2 usage or settings, 3 the server or its storage
is not reached, 130 interrupted.
"""

import sys
from collections.abc import Sequence


def main() -> None:
    """Run the command of this process's arguments and exit with its code."""
    sys.exit(_start(sys.argv[1:]))


def _start(arguments: Sequence[str]) -> int:
    if list(arguments) == ["stdio"]:
        return _speak()
    from backend.logs import configure

    configure("WARNING")  # `serve` turns to its own setting.
    return run(arguments)


def _speak() -> int:
    from backend.cli.exits import guarded

    def speak() -> None:
        import asyncio

        from backend.config import read_config
        from backend.serving import stdio

        asyncio.run(stdio(read_config()))

    return guarded(speak)


def run(arguments: Sequence[str]) -> int:
    """Run one command in this process and return its exit code."""
    from backend.cli.app import play
    from backend.cli.exits import guarded

    return guarded(lambda: play(arguments))
