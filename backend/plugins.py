"""Plug-in folders: the file name is the plug-in's name, and the listing is the register."""

import pkgutil
from importlib import import_module
from types import ModuleType


def load(package: ModuleType) -> dict[str, ModuleType]:
    """Import every public module of `package`, by file name, in alphabetical order.

    A module that fails to import stops the program: a risk check that is silently
    absent is worse than a server that does not start (Law 7).
    """
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return {
        name: import_module(f"{package.__name__}.{name}")
        for name in names
        if not name.startswith("_")
    }
