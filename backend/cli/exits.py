"""How a command ends: its exit code, and one sentence on standard error."""

import os
import sys
from collections.abc import Callable

from backend.config import SettingError

OK, FAILED, USAGE, UNREACHABLE, NOT_CHECKED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Failed(Exception):
    """Refused or failed; the message says why and what to do."""

    exit_code = FAILED


class Misused(Failed):
    """The command line is not of its form."""

    exit_code = USAGE


class Unreachable(Failed):
    """The server or its storage is not reached; nothing happened."""

    exit_code = UNREACHABLE


def guarded(command: Callable[[], int | None]) -> int:
    """Run `command` and return the exit code; what we know to go wrong shows no traceback."""
    try:
        code = command() or OK
        sys.stdout.flush()
        return code
    except Failed as error:
        return _complain(str(error), error.exit_code)
    except SettingError as error:
        return _complain(str(error), USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; nothing is left to flush into.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"exec-mcp: {message}\n")
    return code
