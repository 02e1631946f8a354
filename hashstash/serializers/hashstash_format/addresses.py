"""What leads somewhere: paths, network addresses, UUIDs."""

from __future__ import annotations

import ipaddress
import uuid
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any

from hashstash.errors import DecodeError

from .scalars import str_node
from .vocabulary import ATOMS, RULES, Node, Rule

if TYPE_CHECKING:
    from .reader import Reader

_PATHS: dict[str, type[PurePath]] = {
    kind.__name__: kind for kind in (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
}
_ADDRESSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Network,
        ipaddress.IPv6Network,
        ipaddress.IPv4Interface,
        ipaddress.IPv6Interface,
    )
}


def _path_node(value: PurePath) -> Node:
    return {"!path": [type(value).__name__, str_node(str(value))]}


def _read_path(reader: Reader, args: list[Any]) -> PurePath:
    name, node = args
    kind, text = _PATHS[name], reader.value(node)
    if type(text) is not str:
        raise TypeError(f"{text!r} is not a path")
    if issubclass(kind, Path) and type(Path()) is not kind:
        raise DecodeError(
            f"{name}({text!r}) exists only on the other kind of operating system; "
            "store paths that are to be read on both as pathlib.PurePosixPath or as text",
            stage="hashstash",
        )
    return kind(text)


def _address_node(value: object) -> Node:
    return {"!ip": [type(value).__name__, str(value)]}


def _read_address(_: Reader, args: list[Any]) -> object:
    name, text = args
    if type(text) is not str:
        raise TypeError(f"{text!r} is not an address")
    return _ADDRESSES[name](text)


def _uuid_node(value: uuid.UUID) -> Node:
    if value.is_safe is uuid.SafeUUID.unknown:
        return {"!uuid": value.hex}
    return {"!uuid": [value.hex, value.is_safe.value]}


def _read_uuid(_: Reader, args: Any) -> uuid.UUID:
    if type(args) is str:
        return uuid.UUID(args)
    text, safe = args
    return uuid.UUID(text, is_safe=uuid.SafeUUID(safe))


ATOMS[uuid.UUID] = _uuid_node
for _kind in _PATHS.values():
    ATOMS[_kind] = _path_node
for _kind in _ADDRESSES.values():
    ATOMS[_kind] = _address_node
RULES["!uuid"] = Rule(read=_read_uuid)
RULES["!path"] = Rule(read=_read_path)
RULES["!ip"] = Rule(read=_read_address)
