"""Calls as keys: arguments bound to the signature, so that equal calls are one key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, Signature
from typing import Any

from hashstash.errors import ConfigurationError, suggestion

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a call reads as: ``((args...), {kwargs...})``."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Binder:
    """Bind the arguments of calls to a signature, defaults filled in.

    In the bound form, parameters without a default are positional and the others are keywords,
    so that it reads as people write calls. Where a call fills ``*args``, whatever comes before
    them is positional too.

    Args:
        function: what is called. One without a readable signature (some builtins) is taken as
            ``(*args, **kwargs)``.
        ignore: names of parameters that are no part of the key.

    Raises:
        ConfigurationError: ``ignore`` names no parameter.

    Example:
        >>> binder = Binder(lambda x, verbose=0: x)
        >>> binder.bind((1,), {}) == binder.bind((), {"x": 1}) == binder.bind((1, 0), {})
        True
        >>> binder.bind((1,), {})
        ((1,), {'verbose': 0})
    """

    def __init__(self, function: Callable[..., Any], ignore: Collection[str] = ()) -> None:
        self._signature = signature_of(function)
        parameters = self._signature.parameters.values()
        self._names = [p.name for p in parameters if p.kind in _POSITIONAL]
        self._required = [
            p.name for p in parameters if p.kind in _POSITIONAL and p.default is Parameter.empty
        ]
        self._defaults = {p.name: p.default for p in parameters if p.default is not Parameter.empty}
        kinds = {p.kind for p in parameters}
        self._simple = kinds <= {Parameter.POSITIONAL_OR_KEYWORD} and not ignore
        self._ignored = self._check_ignored(ignore, kinds)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Return the bound form of a call.

        Raises:
            TypeError: the function cannot be called like this.
        """
        if self._simple:
            needed = len(self._required)
            if not kwargs and len(args) == needed:
                return args, self._defaults.copy()
            values = dict(zip(self._names, args, strict=False))
            if len(args) <= len(self._names) and values.keys().isdisjoint(kwargs):
                values.update(kwargs)
                merged = {**self._defaults, **values}
                if len(merged) == len(self._names) and all(n in merged for n in self._required):
                    required = tuple(merged.pop(name) for name in self._required)
                    return required, {name: merged[name] for name in self._defaults}
        return self._bind_any(args, kwargs)

    def rebind(self, call: object) -> Call:
        """Return the bound form of what reads as a call, ``((args...), {kwargs...})``.

        Raises:
            TypeError: it does not read as a call, or the function cannot be called like this.
        """
        if isinstance(call, tuple) and len(call) == 2:
            args, kwargs = call
            if isinstance(args, (tuple, list)) and isinstance(kwargs, Mapping):
                return self.bind(tuple(args), kwargs)
        raise TypeError(f"The key of a result reads ((args...), {{kwargs...}}), not {call!r}")

    def _bind_any(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name in self._signature.parameters:
            if name not in bound.arguments:  # Python 3.13.0 lets f(a, /, **more) pass for f(a=1)
                raise TypeError(f"missing a required argument: {name!r}")
        ignored = self._ignored
        starred = next(
            (bound.arguments[p.name] for p in self._signature.parameters.values()
             if p.kind is Parameter.VAR_POSITIONAL), (),
        )  # fmt: skip
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter in self._signature.parameters.values():
            name, value = parameter.name, bound.arguments[parameter.name]
            if name in ignored:
                continue
            if parameter.kind is Parameter.VAR_POSITIONAL:
                positional.extend(value)
            elif parameter.kind is Parameter.VAR_KEYWORD:
                keywords.update((k, v) for k, v in value.items() if k not in ignored)
            elif parameter.kind is Parameter.POSITIONAL_ONLY or (
                parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
                and (starred or parameter.default is Parameter.empty)
            ):
                positional.append(value)
            else:
                keywords[name] = value
        return tuple(positional), keywords

    def _check_ignored(self, ignore: Collection[str], kinds: Collection[Any]) -> frozenset[str]:
        if isinstance(ignore, str):
            raise TypeError(f"ignore is a list of names, not the text {ignore!r}")
        known = self._signature.parameters
        for name in ignore:
            if name not in known and Parameter.VAR_KEYWORD not in kinds:
                raise ConfigurationError(
                    f"ignore names {name!r}, which is no parameter.{suggestion(name, known)}"
                )
        return frozenset(ignore)


_ANY = Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return the signature of ``function``, ``(*args, **kwargs)`` if it does not tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return _ANY
