"""What can be said in a head: for each type how it is taken apart, for each tag how it is built.

The modules of the vocabulary fill these tables when they are imported: those for builtins at
once, the others when the first of their types or tags is met.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from hashstash.errors import MissingDependencyError

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

Node = Any
"""A part of the tree as JSON: a scalar, a list, a dict, or a dict of a tag and its arguments."""

Parts = tuple[str, Collection[Any]]
"""A tag and the children that become its arguments."""

LIST, MAPPING = "", "{}"
"""Stand for tags where a node is an array, or an object with the value's own keys."""

REF, DEFINED, GRAPH, WHOLE, TUPLES = "!ref", "!def", "!graph", "!plain", "!tuples"


class Rule(NamedTuple):
    """How the value of a tag is built.

    ``read`` takes the arguments of a leaf as they are. Otherwise they are children: ``make`` takes
    all of them at once, while ``begin`` makes a value from the ``first`` few that ``fill``
    completes with the others, which may lead back to it.
    """

    read: Callable[[Reader, Any], object] | None = None
    make: Callable[[list[Any]], object] | None = None
    begin: Callable[[list[Any]], object] | None = None
    fill: Callable[[Any, list[Any]], None] | None = None
    first: int | Callable[[list[Any]], int] = 0
    code: bool = False
    """Whether it may import or run what the payload names."""
    hashes: bool = False
    """Whether ``fill`` hashes children, which must be complete by then."""


ATOMS: dict[type, Callable[[Any], Node | None]] = {}
"""Types without parts and without an identity that matters: value to node.

None says that this value has parts after all."""

PARTS: dict[type, Callable[[Writer, Any], Parts | Node]] = {}
"""Other types: value to its parts, or to a finished node."""

RULES: dict[str, Rule] = {}
"""Tags: how to build."""

STEPS: dict[str, Callable[[Any, int], str]] = {}
"""Tags: how Python spells the way from a value to its child of that number."""

_MODULES = {
    "addresses": ("pathlib ipaddress uuid", "!path !ip !uuid"),
    "arrow_tables": ("pyarrow", "!pa."),
    "exceptions": ("", "!exception"),
    "exact_numbers": ("decimal fractions", "!decimal !fraction"),
    "numpy_arrays": ("numpy", "!np."),
    "pandas_tables": ("pandas", "!pd."),
    "polars_tables": ("polars", "!pl."),
    "pytz_zones": ("", "!pytz"),
    "times": ("datetime zoneinfo", "!date !time !datetime !moment !timedelta !timezone !zone"),
}
"""Module of the vocabulary: the packages of the types it knows, its tags or how they begin."""

_EXTRAS = {"numpy": "numpy", "pandas": "pandas", "polars": "polars", "pyarrow": "pandas"}
"""Package: the extra that installs it."""

_BY_TYPE = {root: name for name, (roots, _) in _MODULES.items() for root in roots.split()}
_BY_TAG = {tag: name for name, (_, tags) in _MODULES.items() for tag in tags.split()}


def load_for_type(kind: type) -> bool:
    """Import the module that knows ``kind``, if one does; tell whether it does."""
    name = _BY_TYPE.get(str(kind.__module__).partition(".")[0])
    if name is not None:
        import_module(f"{__package__}.{name}")
    return kind in ATOMS or kind in PARTS


def load_for_tag(tag: str) -> Rule | None:
    """Import the module that knows ``tag``; return its rule, or None if the tag is unknown.

    Raises:
        MissingDependencyError: it needs a package that is not installed.
    """
    name = _BY_TAG.get(tag) or _BY_TAG.get(tag[:4], "objects")
    try:
        import_module(f"{__package__}.{name}")
    except ModuleNotFoundError as exc:
        package = _EXTRAS.get((exc.name or "").partition(".")[0])
        if package is None:
            raise
        raise MissingDependencyError(f"Reading a value with {exc.name} in it", package) from exc
    return RULES.get(tag)
