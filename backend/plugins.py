"""Plug-in folders: the file name is the plug-in's name, and the listing is the register."""

import pkgutil
from importlib import import_module
from types import ModuleType


def load(package: ModuleType) -> dict[str, ModuleType]:
    """Import every public module of `package`, by file name, in alphabetical order.

    A module that fails to import stops the program: a risk check that is silently
    absent is worse than a server that does not start (Law 7).
    """
    return {name: load_one(package, name) for name in names(package)}


def load_one(package: ModuleType, name: str) -> ModuleType:
    """Import one public module of `package`, where only the chosen one is needed."""
    return import_module(f"{package.__name__}.{name}")


def names(package: ModuleType) -> list[str]:
    """Return the public modules of `package`, in alphabetical order, without importing them."""
    found = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [name for name in found if not name.startswith("_")]
