"""Where things are kept on this machine: the user's cache folder and data folder."""

from __future__ import annotations

import os
import re
import sys

from .errors import ConfigurationError

APP = "hashstash"
_PART = re.compile(r"[^\x00/\\]+\Z")


def cache_root() -> str:
    """Return the folder in which stashes with a bare name are kept.

    ``HASHSTASH_ROOT`` where that is set, else the user's cache folder as platformdirs has it.
    """
    moved = os.environ.get("HASHSTASH_ROOT")
    if moved:
        return os.path.abspath(os.path.expanduser(moved))
    return os.path.join(_user_folder("XDG_CACHE_HOME", "~/.cache", "~/Library/Caches"), APP)


def data_root() -> str:
    """Return the folder for what belongs to the user and is no cache: the signing secret."""
    folder = _user_folder("XDG_DATA_HOME", "~/.local/share", "~/Library/Application Support")
    return os.path.join(folder, APP)


def _user_folder(variable: str, linux: str, mac: str) -> str:
    moved = os.environ.get(variable, "")
    if os.path.isabs(moved):
        return moved
    if sys.platform == "darwin":
        return os.path.expanduser(mac)
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    return os.path.expanduser(linux)


def resolve_root(root_dir: str | os.PathLike[str]) -> str:
    """Return the absolute folder that ``root_dir`` means.

    A bare name is a folder below ``cache_root()``, also with a dot in it; anything with a
    separator, a leading ``~``, ``.``, ``..`` and every path object is a path.

    >>> resolve_root("my.project").endswith("my.project")
    True
    >>> resolve_root("/data/stash")
    '/data/stash'
    """
    text = os.fspath(root_dir)
    if not isinstance(text, str):
        raise TypeError(f"root_dir is text or a path, not {type(text).__name__}: {text!r}")
    if not text or "\x00" in text:
        raise ConfigurationError(f"root_dir is a name or a path, not {text!r}")
    separated = "/" in text or os.sep in text
    if text is root_dir and not separated and text[0] != "~" and text not in {".", ".."}:
        return os.path.join(cache_root(), text)
    return os.path.abspath(os.path.expanduser(text))


def check_dbname(dbname: str) -> str:
    """Return ``dbname`` if it is a name, or several with ``/`` between, inside the root.

    Raises:
        ConfigurationError: it would lead elsewhere, or into a store's own files.
    """
    if not isinstance(dbname, str):
        raise TypeError(f"dbname is text, not {type(dbname).__name__}: {dbname!r}")
    for part in dbname.split("/"):
        if not _PART.match(part) or part in {".", ".."} or part.startswith("data."):
            raise ConfigurationError(
                f"dbname {dbname!r} cannot be used because of {part!r}: use names separated by "
                "'/', none of them empty, '.', '..', or beginning with 'data.'"
            )
    return dbname


def shorten_home(path: str) -> str:
    """Return ``path`` with the user's home folder written as ``~``."""
    home = os.path.expanduser("~")
    if path == home or path.startswith(home.rstrip(os.sep) + os.sep):
        return "~" + path[len(home.rstrip(os.sep)) :]
    return path
