"""What ``keys()``, ``values()`` and ``items()`` return: live, lazy views of a stash."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .mapping import StashMapping


class StashKeysView(KeysView[Any]):
    """The keys, read in pages while you iterate; set operations where the keys are hashable."""

    _mapping: StashMapping

    def __repr__(self) -> str:
        return f"StashKeysView({self._mapping!r})"


class StashValuesView(ValuesView[Any]):
    """The values, read in pages while you iterate.

    Args:
        mapping: the stash.
        all_versions: whether older versions are included.
    """

    _mapping: StashMapping

    def __init__(self, mapping: StashMapping, *, all_versions: bool = False) -> None:
        super().__init__(mapping)
        self._all_versions = all_versions

    def __iter__(self) -> Iterator[Any]:
        return self._mapping.iter_values(all_versions=self._all_versions)

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._all_versions else len(self._mapping)

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)

    def __repr__(self) -> str:
        return f"StashValuesView({self._mapping!r})"


class StashItemsView(ItemsView[Any, Any]):
    """Pairs of key and value, read in pages while you iterate.

    Args:
        mapping: the stash.
        all_versions: whether older versions are included, each with its key again.
    """

    _mapping: StashMapping

    def __init__(self, mapping: StashMapping, *, all_versions: bool = False) -> None:
        super().__init__(mapping)
        self._all_versions = all_versions

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping.iter_items(all_versions=self._all_versions)

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._all_versions else len(self._mapping)

    def __repr__(self) -> str:
        return f"StashItemsView({self._mapping!r})"
