"""The files of the running Python's standard library."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator

TESTS = frozenset({"test", "tests", "idle_test"})
OTHERS = frozenset({"site-packages", "dist-packages", "__pycache__"})


def library_root() -> str:
    """Return the folder in which the standard library is."""
    return sysconfig.get_paths()["stdlib"]


def library_files(root: str) -> list[str]:
    """Return every Python file of the library below ``root``, as relative paths with ``/``.

    What is installed beside the library is left out; its own tests are not.
    """
    return sorted(_walk(root))


def _walk(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in OTHERS]
        for name in files:
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def is_test(path: str) -> bool:
    """Tell whether the file at ``path`` is one of the library's own tests.

    >>> is_test("test/test_json/test_dump.py"), is_test("unittest/case.py")
    (True, False)
    """
    return any(folder in TESTS for folder in path.split("/")[:-1])


def module_name(path: str) -> str:
    """Return the module that the file at ``path`` is.

    >>> module_name("json/decoder.py"), module_name("json/__init__.py")
    ('json.decoder', 'json')
    """
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
