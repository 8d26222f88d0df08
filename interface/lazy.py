"""Modules that are imported when they are first used.

A server starts in less time and memory without the libraries that its settings never use: another store, letters, pushes. A
process that uses one pays for its import then, once. The import is named for type checkers:

    if TYPE_CHECKING:
        import aiohttp
    else:
        aiohttp = lazy("aiohttp")

importlib.util.LazyLoader is not used: in Python before 3.11.9, two threads that use such a module first can fail.
"""

from importlib import import_module
from types import ModuleType
from typing import Any


class _Lazy(ModuleType):
    """Stands for a module; it is not in sys.modules."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)  # so that this method is called once for each name
        return value


def lazy(name: str) -> Any:
    """Return a module that is imported when one of its names is first used. name: the full name of the module."""
    return _Lazy(name)
