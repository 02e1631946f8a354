"""Stashes that are removed when you are done with them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

from .stash import HashStash

if TYPE_CHECKING:
    from .engines import Engine


class TemporaryStash(HashStash):
    """A stash that is removed at the end of its ``with`` block, or with the process.

    Args:
        **settings: as for ``HashStash``, but ``root_dir`` is made and removed for you.
    """

    def __init__(self, **settings: Any) -> None:
        settings.pop("root_dir", None)
        root = tempfile.mkdtemp(prefix="hashstash-")
        try:
            super().__init__(root, **{**settings, "dbname": f"tmp/{secrets.token_hex(8)}"})
        except BaseException:
            os.rmdir(root)
            raise
        # Not the stash itself: what finalize refers to would never be collected.
        self._cleanup = weakref.finalize(
            self, _remove, self._history, self._below, root, os.getpid()
        )

    @property
    def is_tmp(self) -> bool:
        """Whether the stash is removed when you are done with it."""
        return True

    def __exit__(self, *exc_info: object) -> None:
        if self._cleanup is None:  # unpickled elsewhere: it is not ours to remove
            self.close()
        else:
            self._cleanup()


def _remove(engine: Engine, below: list[Engine], root: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's stash alone
        for one in (*below, engine):
            one.destroy()
        shutil.rmtree(root, ignore_errors=True)
