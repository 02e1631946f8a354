"""Which handler a type has: asked once for each type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from . import functions, hooks, objects, plain
from .encode import Handler
from .names import PACKAGES

Resolver = Callable[[type], "Handler | None"]


def resolve(kind: type) -> Handler:
    """Return what encodes instances of exactly ``kind``."""
    found = hooks.handler_for(kind) or plain.handler_for(kind) or functions.handler_for(kind)
    if found is not None:
        return found
    for package in PACKAGES:
        if package in sys.modules:
            of_package: Resolver = import_module(f".{package}", __package__).handler_for
            found = of_package(kind)
            if found is not None:
                return found
    return objects.handler_for(kind)
