"""How classes and functions are named inside keys."""

from __future__ import annotations

from hashstash.origin import import_path, module_of

from .encode import Encoder, Steps
from .items import str_item

PACKAGES = ("numpy", "pandas", "polars", "pyarrow")
"""Packages whose objects have keys of their own, each in the module here that has its name."""


def name_item(kind: type, encoder: Encoder) -> bytes:
    """Return the item that names a class by where it is defined."""
    return encoder.opaque("name", str_item(module_of(kind)), str_item(kind.__qualname__))


def path_item(obj: object, encoder: Encoder) -> bytes | None:
    """Return the item that names anything by its import path, or None if it has none."""
    path = import_path(obj)
    return None if path is None else encoder.opaque("name", *map(str_item, path))


def class_item(kind: type, encoder: Encoder) -> Steps:
    """Return the item that keeps instances of ``kind`` apart from those of other classes.

    A class made inside a function is more than its name: every call makes another.
    """
    if "<locals>" in kind.__qualname__:
        return (yield kind)
    return name_item(kind, encoder)


def package_class_item(kind: type, encoder: Encoder) -> Steps:
    """Return the item of a class that may be a package's own, which moves between its modules."""
    package, _, _ = kind.__module__.partition(".")
    if package in PACKAGES:
        return encoder.opaque("name", str_item(package), str_item(kind.__qualname__))
    return (yield from class_item(kind, encoder))
