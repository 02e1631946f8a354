"""The bar of something that takes a while: tqdm's, where it is wanted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hashstash.errors import MissingDependencyError


class Progress:
    """A bar that says how much is done.

    Args:
        wanted: whether to show it; None: on a terminal or in a notebook, if tqdm is installed.
        describe: returns what it says; called if there is a bar.
        total: how much there is to do, if known.

    Raises:
        MissingDependencyError: it is asked for, and tqdm is not installed.
    """

    def __init__(self, wanted: bool | None, describe: Callable[[], str], total: int | None) -> None:
        self._bar: Any = None
        if wanted is False or (wanted is None and not is_watched()):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError as exc:
            if wanted:
                raise MissingDependencyError("A progress bar", "progress") from exc
            return
        self._bar = tqdm(total=total, desc=describe())

    def add(self, number: int) -> None:
        """Say that more is done."""
        if self._bar is not None:
            self._bar.update(number)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def is_watched() -> bool:
    """Tell whether somebody looks: at a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
