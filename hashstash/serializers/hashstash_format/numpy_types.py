"""Types and scalars of numpy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .scalars import float_node, int_node, str_node
from .vocabulary import ATOMS, PARTS, RULES, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_NAME = re.compile(r"[<>|]([?bB]|[biufcSUVmM]\d{1,9}|[mM]8\[\d{0,9}[A-Za-zμ]{1,7}\])")
_OBJECT = "|O"
_CODES = "?bBhHiIlLqQefdgFDGSUVOMm"
_NUMBERS = "biuf"


def describe(dtype: np.dtype[Any]) -> Any | None:
    """Return text, a list or a dict that says all about a type, or None if none can."""
    if dtype.metadata is not None or dtype.kind == "T":
        return None
    if dtype.subdtype is not None:
        base = describe(dtype.base)
        return None if base is None else [base, list(dtype.shape)]
    if dtype.names is None:
        return dtype.str
    if dtype.type is not np.void:
        return None
    assert dtype.fields is not None
    fields = [dtype.fields[name] for name in dtype.names]
    formats = [describe(field[0]) for field in fields]
    if None in formats:
        return None
    return {
        "names": list(dtype.names),
        "formats": formats,
        "offsets": [field[1] for field in fields],
        "titles": [field[2] if len(field) > 2 else None for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
    }


def described(description: Any) -> np.dtype[Any]:
    """Return the type that ``describe`` was given."""
    if type(description) is str:
        if description != _OBJECT and not _NAME.fullmatch(description):
            raise ValueError(f"{description[:40]!r} is not a type of numpy")
        return np.dtype(description)
    if type(description) is list:
        base, shape = description
        return np.dtype((described(base), tuple(map(natural, shape))))
    names, titles = description["names"], description["titles"]
    if not all(type(name) is str for name in names):
        raise TypeError("names of fields are text")
    fields: dict[str, Any] = {
        "names": names,
        "formats": [described(field) for field in description["formats"]],
        "offsets": list(map(natural, description["offsets"])),
        "itemsize": natural(description["itemsize"]),
    }
    if any(title is not None for title in titles):
        fields["titles"] = titles
    made: Any = np.dtype
    found: np.dtype[Any] = made(fields, align=bool(description["aligned"]))
    return found


def natural(size: object) -> int:
    """Return ``size`` if it can be the length of something."""
    if type(size) is not int or size < 0:
        raise ValueError(f"{size!r} is not a length")
    return size


def check_text(flat: np.ndarray[Any, Any]) -> None:
    """Refuse an array of text with numbers that are no characters; looking at them would fail."""
    for name in flat.dtype.names or ():
        check_text(flat[name])
    if flat.dtype.kind == "U" and flat.size and flat.dtype.itemsize:
        number = np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder)
        letters = np.ascontiguousarray(flat).view(number)
        if int(letters.max()) > 0x10FFFF:
            raise ValueError("text of numpy with impossible characters")


def _scalar_node(value: Any) -> Node | None:
    dtype = value.dtype
    if dtype.kind in "mM":
        return {"!np.scalar": [dtype.str, int(value.view(np.int64))]}
    if dtype.kind == "f" and dtype.itemsize <= 8 and value == value:  # noqa: PLR0124 - not NaN
        return {"!np.scalar": [dtype.str, float_node(float(value))]}
    if dtype.kind in "iu":
        return {"!np.scalar": [dtype.str, int_node(int(value))]}
    if dtype.kind == "b":
        return {"!np.scalar": [dtype.str, bool(value)]}
    description = describe(dtype)
    if dtype.hasobject or description is None:
        return None
    return {"!np.scalar": [description, value.tobytes().hex()]}


def _read_scalar(reader: Reader, args: list[Any]) -> Any:
    description, node = args
    dtype, value = described(description), reader.value(node)
    if type(value) is str:
        found = np.frombuffer(bytes.fromhex(value), dtype).copy()
        check_text(found)
        return found[()] if found.ndim == 0 else found.reshape(())[()]
    if type(value) not in (int, float, bool):
        raise TypeError(f"{value!r} is not a scalar of numpy")
    if dtype.kind in "mM":
        return np.array(value, np.int64).view(dtype)[()]
    if dtype.kind not in _NUMBERS:
        raise ValueError(f"{value!r} is not a {dtype}")
    return dtype.type(value)


def _dtype_node(value: np.dtype[Any]) -> Node | None:
    description = describe(value)
    return None if description is None else {"!np.dtype": description}


def _reduced(writer: Writer, value: object) -> Parts | Node:
    from .objects import reduced

    return reduced(writer, value)


for _code in _CODES:
    _type = np.dtype(_code)
    ATOMS[type(_type)] = _dtype_node
    PARTS[type(_type)] = _reduced
    if _type.type is not np.object_:
        ATOMS[_type.type] = _scalar_node
        PARTS[_type.type] = _reduced
ATOMS[np.str_] = lambda value: {"!np.str": str_node(str.__str__(value))}
ATOMS[np.bytes_] = lambda value: {"!np.bytes": bytes.hex(value)}
RULES["!np.str"] = Rule(read=lambda reader, node: np.str_(reader.value(node)))
RULES["!np.bytes"] = Rule(read=lambda _, text: np.bytes_(bytes.fromhex(text)))
RULES["!np.scalar"] = Rule(read=_read_scalar)
RULES["!np.dtype"] = Rule(read=lambda _, description: described(description))
