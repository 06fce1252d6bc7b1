"""A registry for each kind of extension: drop a file into the kind's folder, decorate, done.

Folders are scanned with `pkgutil` on the first look-up, so that importing a room costs nothing; other
distributions add entries through the entry-point group `meg.<kind>`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects of one kind; `package` is the (sub-)package whose modules register them."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter an object under `name`; two objects under one name are a programming error."""

        def enter(item: T) -> T:
            present = self._entries.get(name)
            if present is not None and getattr(present, "__qualname__", present) != getattr(item, "__qualname__", item):
                raise ValueError(f"two {self.kind} entries are called {name!r}")
            self._entries[name] = item
            return item

        return enter

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=f"meg.{self.kind.replace(' ', '_')}"):
            self._entries.setdefault(point.name, point.load())

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._scan()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        self._scan()
        if name not in self._entries:
            raise unknown(self.kind.replace("_", " ").removesuffix("s"), name, self._entries)
        return self._entries[name]
