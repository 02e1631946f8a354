"""Decimals and fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .scalars import int_node
from .vocabulary import ATOMS, RULES, Rule

if TYPE_CHECKING:
    from .reader import Reader


def _read_decimal(_: Reader, args: Any) -> Decimal:
    if type(args) is not str:
        raise TypeError(f"{args!r} is not the text of a decimal")
    return Decimal(args)


def _read_fraction(reader: Reader, args: list[Any]) -> Fraction:
    numerator, denominator = map(reader.value, args)
    if type(numerator) is not int or type(denominator) is not int or denominator < 1:
        raise TypeError("not a fraction")
    # It is in lowest terms; making sure could take hours for what somebody made up.
    found = object.__new__(Fraction)
    vars_of: Any = found
    vars_of._numerator, vars_of._denominator = numerator, denominator
    return found


ATOMS[Decimal] = lambda value: {"!decimal": str(value)}
ATOMS[Fraction] = lambda value: {
    "!fraction": [int_node(value.numerator), int_node(value.denominator)]
}
RULES["!decimal"] = Rule(read=_read_decimal)
RULES["!fraction"] = Rule(read=_read_fraction)
