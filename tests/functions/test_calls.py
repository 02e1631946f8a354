from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashstash import ConfigurationError
from hashstash.functions.calls import Binder


def ordinary(a: int, b: int, c: int = 3, d: int = 4) -> None: ...
def positional(a: int, b: int = 2, /, c: int = 3) -> None: ...
def keyword(a: int, *, b: int, c: int = 3) -> None: ...
def starred(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> None: ...
def clash(a: int, /, **more: int) -> None: ...
def nothing() -> None: ...


@pytest.mark.parametrize(
    ("function", "calls", "expected"),
    [
        (ordinary, ["(1, 2)", "(1, b=2)", "(b=2, a=1)", "(1, 2, 3)", "(1, 2, d=4)"],
         ((1, 2), {"c": 3, "d": 4})),
        (positional, ["(1)", "(1, 2)", "(1, 2, 3)", "(1, c=3)"], ((1, 2), {"c": 3})),
        (keyword, ["(1, b=2)", "(a=1, b=2, c=3)"], ((1,), {"b": 2, "c": 3})),
        (starred, ["(1)", "(a=1)", "(1, 2, c=3)"], ((1,), {"b": 2, "c": 3})),
        (starred, ["(1, 2, 5)", "(1, 2, 5, c=3)"], ((1, 2, 5), {"c": 3})),
        (starred, ["(1, x=9)", "(1, 2, x=9)"], ((1,), {"b": 2, "c": 3, "x": 9})),
        (clash, ["(1, a=2)"], ((1,), {"a": 2})),
        (nothing, ["()"], ((), {})),
    ],
)  # fmt: skip
def test_equal_calls_have_one_form(
    function: Callable[..., Any], calls: list[str], expected: object
) -> None:
    binder = Binder(function)
    for call in calls:
        args, kwargs = eval(f"(lambda *a, **k: (a, k)){call}")
        assert binder.bind(args, kwargs) == expected, call
        assert binder.rebind(binder.bind(args, kwargs)) == expected, call


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (ordinary, (1,), {}), (ordinary, (1, 2, 3, 4, 5), {}), (ordinary, (1, 2), {"typo": 3}),
        (ordinary, (1, 2), {"a": 1}), (positional, (), {"a": 1}), (keyword, (1, 2), {}),
        (nothing, (1,), {}), (nothing, (), {"x": 1}),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_is_a_type_error(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        Binder(function).bind(args, kwargs)


@given(
    st.lists(st.integers(0, 3), max_size=6),
    st.dictionaries(st.sampled_from("abcdxyz"), st.integers(0, 3)),
)
def test_it_agrees_with_the_language(args: list[int], kwargs: dict[str, int]) -> None:
    for function in (ordinary, positional, keyword, starred, clash, nothing):
        try:
            function(*args, **kwargs)
        except TypeError:
            with pytest.raises(TypeError):
                Binder(function).bind(tuple(args), kwargs)
            continue
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        again_args, again_kwargs = Binder(function).bind(tuple(args), kwargs)
        again = inspect.signature(function).bind(*again_args, **again_kwargs)
        again.apply_defaults()
        assert again.arguments == bound.arguments


def test_ignored_arguments_are_left_out_however_passed() -> None:
    binder = Binder(ordinary, ignore=["b", "d"])
    assert binder.bind((1, 2), {}) == binder.bind((1,), {"b": 5, "d": 9}) == ((1,), {"c": 3})
    more = Binder(starred, ignore=["x"])
    assert more.bind((1,), {"x": 1}) == more.bind((1,), {"x": 2})


def test_what_cannot_be_ignored_is_said() -> None:
    with pytest.raises(ConfigurationError, match="no parameter"):
        Binder(ordinary, ignore=["e"])
    with pytest.raises(TypeError, match="list of names"):
        Binder(ordinary, ignore="ab")


def test_a_builtin_without_signature_takes_anything() -> None:
    assert Binder(max).bind((1, 2), {}) == ((1, 2), {})
    assert Binder(dict).bind((), {"a": 1}) == ((), {"a": 1})


def test_a_decorated_function_is_bound_as_what_it_wraps() -> None:
    @functools.wraps(ordinary)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    assert Binder(wrapper).bind((1, 2), {}) == ((1, 2), {"c": 3, "d": 4})


@pytest.mark.parametrize("key", [1, "ab", (1, 2), ((1,), [2]), ((1,), {}, 3), None])
def test_a_key_that_is_no_call_is_refused(key: object) -> None:
    with pytest.raises(TypeError, match="kwargs"):
        Binder(ordinary).rebind(key)
