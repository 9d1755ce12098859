"""The home's files and their volumes: private from the first byte, room left, names that last."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage

# New risk stops here, so that there is room to write down what becomes of orders that are out.
LEAST_FREE_BYTES = 64 * 1024 * 1024
_MIB = 1024 * 1024


def nearly_full(folders: Iterable[Path]) -> str | None:
    """Say which folder's volume has less than 64 MiB free, and what to do; None when none."""
    for folder in folders:
        try:
            free = disk_usage(folder).free
        except OSError as error:
            return f"the disk below {folder.name} does not answer ({error.strerror})"
        if free < LEAST_FREE_BYTES:
            return (
                f"the disk is nearly full: {free // _MIB} MiB are free below {folder.name}, and"
                f" new plans and confirms want {LEAST_FREE_BYTES // _MIB} MiB; free some space,"
                " no restart is needed"
            )
    return None


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one."""
    if not path.exists():
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def sync_folder(folder: Path) -> None:
    """See the names in a folder on the disk: a file's own fsync does not promise its name.

    Raises:
        OSError: they are not certain to be there.
    """
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
