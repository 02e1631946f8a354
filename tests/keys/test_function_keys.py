from __future__ import annotations

import functools
import importlib.util
import math
import operator
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import key_samples as s
import pytest

from hashstash.errors import UnstableKeyError
from hashstash.keys import stable_bytes, stored_key


def all_differ(*values: Any) -> bool:
    return all(stable_bytes(a) != stable_bytes(b) for a, b in combinations(values, 2))


def load(path: Path, text: str) -> ModuleType:
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("loaded_for_keys", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executed(text: str, **names: object) -> Any:
    namespace: dict[str, Any] = {"__name__": __name__, **names}
    exec(text, namespace)
    return namespace["f"]


# --- functions that must be kept apart


def test_two_lambdas_on_one_line() -> None:
    one, two = (lambda x: x + 1), (lambda x: x + 100)
    assert all_differ(one, two, *s.PAIR)


def test_lambdas_of_a_loop_that_differ_in_a_default() -> None:
    one, two = [lambda x, n=n: x + n for n in (1, 100)]
    assert all_differ(one, two, *s.DEFAULTS)


def test_a_default_of_another_type() -> None:
    functions = []
    for n in (1, 1.0, True):

        def f(x: int, n: float = n) -> float:
            return x + n

        functions.append(f)
    assert all_differ(*functions)


def test_keyword_defaults() -> None:
    functions = []
    for n in (1, 2):

        def f(*, n: int = n) -> int:
            return n

        functions.append(f)
    assert all_differ(*functions)


def test_closures_over_different_values() -> None:
    assert all_differ(s.closing_over(1), s.closing_over(2), s.closing_over("1"))
    assert stable_bytes(s.closing_over({"a", "b"})) == stable_bytes(s.closing_over({"b", "a"}))


def test_closures_over_different_local_functions_of_one_name() -> None:
    def make(n: int) -> Callable[[int], int]:
        if n == 1:

            def inner(x: int) -> int:
                return x + 1
        else:

            def inner(x: int) -> int:
                return x + 100

        return lambda x: inner(x) + 0

    assert all_differ(make(1), make(2))


def test_functions_without_source() -> None:
    one, same, other = (executed(f"def f(x): return x + {n}") for n in (1, 1, 100))
    assert stable_bytes(one) == stable_bytes(same)
    assert all_differ(one, other)
    assert all_differ(
        executed("f = lambda: {'a', 'b'}"),
        executed("f = lambda: {'a', 'c'}"),
        executed("f = lambda: (1, 2)"),
        executed("f = lambda: (1, 2.0)"),
        executed("f = lambda: (True, 2)"),
    )
    nested = "def f():\n def g(): return {}\n return g"
    assert all_differ(executed(nested.format(1)), executed(nested.format(2)))


def test_one_body_under_two_names_or_in_two_modules() -> None:
    def f() -> int:
        return 1

    def g() -> int:
        return 1

    assert all_differ(f, g)
    assert all_differ(
        executed("def f(): return 1", __name__="one"), executed("def f(): return 1", __name__="two")
    )


# --- functions that must be the same


def test_place_makes_no_difference(tmp_path: Path) -> None:
    text = "def f(x):\n    return x\n\ndef make():\n    def f(x):\n        return x\n    return f\n"
    one = load(tmp_path / "one.py", text)
    two = load(tmp_path / "two.py", f"import os\n\n\n{text}")
    assert stable_bytes(one.f) == stable_bytes(two.f)
    assert stable_bytes(one.make()) == stable_bytes(two.make())
    assert all_differ(one.f, one.make())


def test_an_edited_function_is_another(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    one = load(path, "def f(x):\n    return x\n")
    before = stable_bytes(one.f)
    two = load(path, "def f(x):\n    return xx\n")
    assert stable_bytes(two.f) != before


def test_recursive_and_mutually_recursive_closures() -> None:
    assert stable_bytes(s.recursive()) == stable_bytes(s.recursive())
    assert stable_bytes(s.mutual()) == stable_bytes(s.mutual())
    assert all_differ(s.recursive(), s.mutual())


def test_methods_are_their_function_and_object() -> None:
    assert stable_bytes(s.Plain(a=1).method) == stable_bytes(s.Plain(a=1).method)
    assert all_differ(
        s.Plain(a=1).method, s.Plain(a=2).method, s.Plain.method, s.Plain.make, s.Plain(a=1)
    )
    assert all_differ([1].append, [2].append, [1].extend)


def test_a_method_of_an_object_that_refers_to_itself() -> None:
    one, two = s.Plain(), s.Plain()
    one.me, two.me = one, two  # type: ignore[attr-defined]
    assert stable_bytes(one.method) == stable_bytes(two.method)


def test_partials() -> None:
    add: Any = s.add
    one = functools.partial(add, 1, y=2, z=3)
    two = functools.partial(functools.partial(add, 1, z=3), y=2)
    assert stable_bytes(one) == stable_bytes(two)
    assert all_differ(
        one,
        functools.partial(add, 1),
        functools.partial(add, 1.0, y=2, z=3),
        functools.partial(max, 1, y=2, z=3),
    )


def test_builtin_and_c_functions() -> None:
    assert all_differ(
        len, max, str.upper, bytes.upper, math.sin, dict.fromkeys, str.maketrans, operator.add,
        operator.itemgetter(1), operator.itemgetter(2), operator.attrgetter("a"), str.__add__,
        "a".__add__, "b".__add__, random.random,
    )  # fmt: skip


def test_cached_functions() -> None:
    uncached = s.cached.__wrapped__
    other = functools.lru_cache(maxsize=8)(uncached)
    assert stable_bytes(functools.lru_cache(maxsize=7)(uncached)) == stable_bytes(s.cached)
    assert all_differ(s.cached, uncached, other)


def decorated(setting: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    lock = threading.Lock()

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: object) -> Any:
            with lock:
                return function(*args), setting

        return wrapper

    return decorate


@decorated(1)
def locked() -> None: ...


def test_an_importable_function_may_close_over_what_is_no_key() -> None:
    before = stable_bytes(locked)
    assert stable_bytes(locked) == before
    with pytest.raises(UnstableKeyError, match="lock"):
        stable_bytes(decorated(1)(lambda: None))


# --- classes


def test_importable_classes_are_names() -> None:
    assert all_differ(int, str, s.Plain, s.Slotted, type(None), dict, type, Exception)
    assert b"class Plain" not in stable_bytes(s.Plain)


def test_local_classes_are_what_they_close_over() -> None:
    one, same, two = s.local_class(1), s.local_class(1), s.local_class(2)
    assert stable_bytes(one) == stable_bytes(same)
    assert all_differ(one, two)
    assert stable_bytes(one()) == stable_bytes(same())
    assert all_differ(one(), two())


def test_local_classes_of_one_name() -> None:
    def make(kind: int) -> type:
        if kind == 1:

            class Local:
                limit = 1
        elif kind == 2:

            class Local:  # type: ignore[no-redef]
                limit = 2
        else:

            class Local(dict):  # type: ignore[no-redef, type-arg]
                limit = 1

        return Local

    assert all_differ(make(1), make(2), make(3))


def test_classes_without_source() -> None:
    def make(n: int) -> Any:
        namespace: dict[str, Any] = {"__name__": "elsewhere"}
        exec(f"class C:\n  limit = {n}\n  def get(self): return self.limit", namespace)
        return namespace["C"]

    assert stable_bytes(make(1)) == stable_bytes(make(1))
    assert all_differ(make(1), make(2))
    assert all_differ(type("D", (), {"a": 1}), type("D", (), {"a": 2}), type("D", (int,), {"a": 1}))


def test_a_class_that_refers_to_itself() -> None:
    class Node:
        def copy(self) -> Node:
            return Node()

        def name(self) -> str:
            return super().__repr__()

    assert stable_bytes(Node) == stable_bytes(Node)
    assert stable_bytes(Node.copy) == stable_bytes(Node.copy)


def test_generic_aliases_and_unions() -> None:
    assert stable_bytes(int | None) == stable_bytes(None | int)
    assert all_differ(
        list[int], list[str], list, dict[str, int], int | None, int | str, tuple[int, ...],
        Callable[[int], str],
    )  # fmt: skip


def test_modules_are_names() -> None:
    assert all_differ(math, operator, "math")


def test_code_kinds_are_never_decoded_from_the_key() -> None:
    for value in (len, s.add, s.Plain, math, functools.partial(len)):
        assert stored_key(value)[0][:1] in (b"O", b"E")


# --- the main program


SCRIPT = """
import multiprocessing, sys
from dataclasses import dataclass
from hashstash.keys import stable_hash

@dataclass
class Point:
    x: int

class Plain:
    def __init__(self): self.a = {"b", "c", "d"}
    def method(self): return 1

def f(x): return x + NUMBER

g = lambda x: x in {"a", "b", "c"}

def hashes():
    return [stable_hash(o) for o in (f, g, Point, Point(1), Plain(), Plain().method, Plain)]

def put(q):
    q.put(hashes())

if __name__ == "__main__":
    print(*hashes(), sep="\\n")
    if "spawn" in sys.argv:
        context = multiprocessing.get_context("spawn")
        q = context.Queue()
        p = context.Process(target=put, args=(q,))
        p.start()
        print(*q.get(), sep="\\n")
        p.join()
"""


def run(*arguments: str, seed: int = 0) -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    return done.stdout.split()


def test_what_a_script_defines_is_the_same_in_every_run_of_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("NUMBER", "1"))
    first = run(str(script), seed=1)
    assert len(set(first)) == len(first)
    assert run(str(script), "spawn", seed=2) == first * 2


def test_two_scripts_never_meet(tmp_path: Path) -> None:
    found = []
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(SCRIPT.replace("NUMBER", "1"))
        found.append(run(str(tmp_path / name)))
    assert not set(found[0]) & set(found[1])


def test_editing_a_function_of_a_script_leaves_its_data_alone(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("NUMBER", "1"))
    before = run(str(script))
    script.write_text(SCRIPT.replace("NUMBER", "2"))
    after = run(str(script))
    assert before[0] != after[0]
    assert before[1:] == after[1:]
