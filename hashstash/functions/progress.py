"""The progress bar of a map: tqdm's, where it is wanted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hashstash.errors import MissingDependencyError

if TYPE_CHECKING:
    from .maps import MapOptions
    from .results import StashedFunction


class Progress:
    """A bar that says how many calls have ended.

    Args:
        wanted: whether to show it; None: on a terminal or in a notebook, if tqdm is installed.
        desc: what it says; default: which function, over how many objects.
        stashed: the function.
        total: how many calls there are, if known.
        settings: how the map works.

    Raises:
        MissingDependencyError: it is asked for, and tqdm is not installed.
    """

    def __init__(
        self,
        wanted: bool | None,
        desc: str | None,
        stashed: StashedFunction[..., Any],
        total: int | None,
        settings: MapOptions,
    ) -> None:
        self._bar: Any = None
        if wanted is False or (wanted is None and not _is_watched()):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError as exc:
            if wanted:
                raise MissingDependencyError("A progress bar", "progress") from exc
            return
        if desc is None:
            name = stashed.stash.identity.name
            objects = f"{total} objects" if total is not None else "objects"
            desc = f"Mapping {name} across {objects}"
            if settings.num_proc is not None:
                desc += f" [{settings.num_proc}x]"
        self._bar = tqdm(total=total, desc=desc)

    def add(self, number: int) -> None:
        """Say that more calls have ended."""
        if self._bar is not None:
            self._bar.update(number)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
