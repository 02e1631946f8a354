from __future__ import annotations

import ast
import collections
import functools
import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from hashstash.origin import (
    INTERACTIVE,
    closure_of,
    globals_used,
    import_path,
    main_identity,
    module_of,
    remember_source,
    source_of,
)


def top_level(x: int) -> int:
    return x + 1


class Outer:
    class Inner:
        def method(self) -> int:
            return 1

    @classmethod
    def make(cls) -> Outer:
        return cls()


def load(path: Path, text: str, name: str = "loaded_for_test") -> ModuleType:
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str, env: dict[str, str] | None = None, stdin: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        input=stdin,
        env={**os.environ, **(env or {})},
    )
    return done.stdout.split("\n")[:-1]


# --- import paths


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (len, ("builtins", "len")),
        (str.upper, ("builtins", "str.upper")),
        (dict.fromkeys, ("builtins", "dict.fromkeys")),
        (str.maketrans, ("builtins", "str.maketrans")),
        (str.__add__, ("builtins", "str.__add__")),
        (math.sin, ("math", "sin")),
        (json.dumps, ("json", "dumps")),
        (collections.OrderedDict, ("collections", "OrderedDict")),
        (collections.OrderedDict.fromkeys, ("collections", "OrderedDict.fromkeys")),
        (type(None), ("types", "NoneType")),
        (types.FunctionType, ("types", "FunctionType")),
        (top_level, (__name__, "top_level")),
        (Outer.Inner, (__name__, "Outer.Inner")),
        (Outer.Inner.method, (__name__, "Outer.Inner.method")),
        (Outer.make, (__name__, "Outer.make")),
    ],
)
def test_import_path_leads_back(obj: object, path: tuple[str, str]) -> None:
    assert import_path(obj) == path


def test_import_path_of_numpy_functions() -> None:
    np = pytest.importorskip("numpy")
    assert import_path(np.add) == ("numpy", "add")
    assert import_path(np.ndarray) == ("numpy", "ndarray")


def test_no_import_path_where_none_leads_back() -> None:
    def local() -> None: ...

    class Subclass(Outer):
        pass

    wrapped = functools.wraps(top_level)(lambda x: x)
    assert import_path(local) is None
    assert import_path(lambda: 1) is None
    assert import_path(Subclass) is None
    assert import_path(wrapped) is None  # the path leads to another function
    assert import_path([].append) is None
    assert import_path(random.random) is None  # a method of a hidden instance
    assert import_path(Outer().make) == (__name__, "Outer.make")
    assert import_path(5) is None


def test_no_import_path_into_a_module_made_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_by_hand_for_test")
    exec("def f(): pass", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert import_path(module.f) is None


def test_no_import_path_through_main(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from hashstash.origin import import_path\ndef f(): pass\nprint(import_path(f))\n"
    )
    assert run(str(script)) == ["None"]


def test_import_path_imports_nothing(tmp_path: Path) -> None:
    module = load(
        tmp_path / "lazy.py",
        "def __getattr__(name):\n    raise RuntimeError('imported')\ndef f(): pass\n",
        "lazy_for_test",
    )
    sys.modules["lazy_for_test"] = module
    try:
        function = module.f
        del module.f
        assert import_path(function) is None
    finally:
        del sys.modules["lazy_for_test"]


# --- modules and the main program


def test_module_of_things_without_a_module_name() -> None:
    assert module_of(str.upper) == "builtins"
    assert module_of(dict.fromkeys) == "builtins"
    assert module_of([].append) == ""
    assert module_of(top_level) == __name__


SCRIPT = """
import multiprocessing, sys
from hashstash.origin import main_identity, module_of

def f(): pass

def say(q):
    q.put((main_identity(), module_of(f)))

if __name__ == "__main__":
    print(main_identity())
    print(module_of(f))
    context = multiprocessing.get_context("spawn")
    q = context.Queue()
    p = context.Process(target=say, args=(q,))
    p.start()
    print(*q.get(), sep="\\n")
    p.join()
"""


def test_a_script_and_its_spawned_workers_are_its_real_path(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    link = tmp_path / "link.py"
    link.symlink_to(script)
    expected = os.path.realpath(script)
    assert run(str(script)) == [expected] * 4
    assert run(str(link)) == [expected] * 4


def test_a_module_run_by_name_and_its_workers_are_that_name(tmp_path: Path) -> None:
    package = tmp_path / "pack_for_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mod.py").write_text(SCRIPT)
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    assert run("-m", "pack_for_test.mod", env=path) == ["pack_for_test.mod"] * 4


def test_a_prompt_is_interactive() -> None:
    code = "from hashstash.origin import main_identity; print(main_identity())"
    quiet = {"JPY_SESSION_NAME": ""}
    assert run("-c", code, env=quiet) == [INTERACTIVE]
    assert run("-", env=quiet, stdin=code) == [INTERACTIVE]


def test_a_notebook_is_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    path = str(tmp_path / "note.ipynb")
    monkeypatch.setenv("JPY_SESSION_NAME", path)
    assert main_identity() == os.path.realpath(path)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/x/34361149-e3d8-4dbc-9302-0e86431b3e8c")
    assert main_identity() == INTERACTIVE
    vars(main)["__session__"] = "/home/x/session.ipynb"
    assert main_identity() == "/home/x/session.ipynb"
    vars(main)["__vsc_ipynb_file__"] = "/home/x/code.ipynb"
    assert main_identity() == "/home/x/code.ipynb"


# --- source


PAIR = lambda x: x + 1, lambda x: x + 100
TWINS = lambda x, n=1: x + n, lambda x, n=2: x + n
NESTED: Any = lambda x: lambda: x


def test_lambdas_on_one_line_are_told_apart() -> None:
    assert [source_of(f) for f in PAIR] == ["lambda x: x + 1", "lambda x: x + 100"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code has no columns before 3.11")
def test_lambdas_with_equal_code_are_told_apart_by_column() -> None:
    assert [source_of(f) for f in TWINS] == ["lambda x, n=1: x + n", "lambda x, n=2: x + n"]


def test_nested_lambdas_are_told_apart() -> None:
    assert source_of(NESTED) == "lambda x: lambda: x"
    assert source_of(NESTED(1)) == "lambda: x"


def test_a_lambda_within_a_call_over_several_lines() -> None:
    found = {
        "key": (
            lambda item: (
                # inside
                item,
                ")",
            )
        ),
    }
    text = source_of(found["key"])
    assert text is not None
    assert text.splitlines() == ["lambda item: (", "    # inside", "    item,", '    ")",', ")"]
    assert eval(f"({text}\n)")(7) == (7, ")")


def as_function(function: Callable[..., Any]) -> FunctionType:
    assert isinstance(function, FunctionType)
    return function


def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@decorate
@functools.cache
def decorated(x: int) -> int:
    return x  # the end


def test_a_decorated_function_is_the_def_itself() -> None:
    expected = "def decorated(x: int) -> int:\n    return x"
    assert source_of(decorated.__wrapped__) == expected  # type: ignore[attr-defined]
    assert source_of(decorated) is None  # the cache is no Python function


def test_indentation_around_goes_and_inside_strings_stays() -> None:
    def local() -> str:
        return """
        kept
    kept too"""

    text = source_of(local)
    assert text is not None
    assert text.startswith("def local() -> str:\n    return")
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    assert namespace["local"]() == local() == "\n        kept\n    kept too"


def test_methods_with_private_names_and_their_bound_forms() -> None:
    class Holder:
        def __init__(self) -> None:
            self.__x = 1

        def get(self) -> int:
            return self.__x

    expected = "def get(self) -> int:\n    return self.__x"
    assert source_of(Holder.get) == expected
    assert source_of(Holder().get) == expected


def test_a_function_without_a_file_has_no_source() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(): return 1\ng = lambda: 2", namespace)
    assert source_of(namespace["f"]) is None
    assert source_of(namespace["g"]) is None
    assert source_of(len) is None
    assert source_of(3) is None


def test_remembered_source_is_found() -> None:
    text = "def f():\n    return [lambda: 1, lambda: 2]\n"
    namespace: dict[str, Any] = {}
    exec(compile(text, remember_source(text), "exec"), namespace)
    assert source_of(namespace["f"]) == text.rstrip("\n")
    assert [source_of(f) for f in namespace["f"]()] == ["lambda: 1", "lambda: 2"]


def test_remembered_source_that_was_compiled_within_other_code() -> None:
    text = "def f():\n    return [lambda: n, lambda: n + m, lambda x: (n, lambda: n)]\n"
    around = ast.parse("def outer(n, m):\n    pass\n    return f")
    (outer,) = around.body
    assert isinstance(outer, ast.FunctionDef)
    outer.body[0] = ast.parse(text).body[0]
    namespace: dict[str, Any] = {}
    exec(compile(around, remember_source(text), "exec"), namespace)
    f = namespace["outer"](1, 2)
    assert source_of(f) == text.rstrip("\n")
    assert [source_of(inner) for inner in f()] == [
        "lambda: n",
        "lambda: n + m",
        "lambda x: (n, lambda: n)",
    ]
    assert source_of(f()[2](0)[1]) == "lambda: n"


def test_a_file_edited_after_import(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    module = load(path, "def f():\n    return 1\n\ndef g():\n    return 2\n")
    path.write_text("# a line more\n\ndef f():\n    return 10\n\ndef g():\n    return 2\n")
    assert source_of(module.f) is None  # what stands there now is another function
    assert source_of(module.g) == "def g():\n    return 2"


def test_a_lambda_never_gets_the_text_of_its_edited_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    module = load(path, "a, b = lambda x: x + 1, lambda x: x + 2\n")
    path.write_text("a, b = lambda x: x + 2, lambda x: x + 3\n")
    assert source_of(module.a) is None
    assert source_of(module.b) == "lambda x: x + 2"


def test_non_ascii_before_a_lambda_on_its_line() -> None:
    _, function = "ééé", lambda x: x + "ü"
    assert source_of(function) == 'lambda x: x + "ü"'


class Documented:
    """It has a docstring."""

    limit = 3

    def get(self) -> int:
        return self.limit


def test_source_of_classes() -> None:
    text = source_of(Documented)
    assert text is not None
    assert text.startswith('class Documented:\n    """It has a docstring."""')
    assert source_of(Outer.Inner) == (
        "class Inner:\n    def method(self) -> int:\n        return 1"
    )
    assert source_of(int) is None


def test_a_class_that_was_changed_has_no_source(tmp_path: Path) -> None:
    text = "class A:\n    limit = 1\n    def get(self):\n        return 1\n"
    module = load(tmp_path / "classes.py", text)
    sys.modules[module.__name__] = module
    try:
        assert source_of(module.A) == text.rstrip("\n")
        module.A.limit = 2
        assert source_of(module.A) is None
        module.A.limit = 1
        module.A.get = lambda self: 2
        assert source_of(module.A) is None
    finally:
        del sys.modules[module.__name__]


def test_classes_of_one_name_are_told_apart_by_their_bodies() -> None:
    def make(flag: bool) -> type:
        if flag:

            class Chosen:
                def get(self) -> int:
                    return 1
        else:

            class Chosen:  # type: ignore[no-redef]
                def get(self) -> int:
                    return 2

        return Chosen

    one, two = source_of(make(True)), source_of(make(False))
    assert one is not None
    assert two is not None
    assert "return 1" in one
    assert "return 2" in two


# --- what a function refers to


GLOBAL = 5
upper = "an attribute of this name is no use of the global"


def test_globals_used_also_by_nested_functions_and_classes() -> None:
    def function(x: str) -> Any:
        class Local:
            value = GLOBAL

        def inner() -> object:
            return top_level(len(x.upper()))

        return Local, inner, [math.pi for _ in range(3)]

    assert globals_used(as_function(function)) == {
        "GLOBAL": 5,
        "top_level": top_level,
        "math": math,
    }


def test_closures_with_empty_cells() -> None:
    def outer() -> tuple[dict[str, object], Any]:
        value = [1]

        def use() -> object:
            return value, later

        before = closure_of(as_function(use))
        later = use
        return before, use

    before, use = outer()
    assert before == {"value": [1]}
    assert closure_of(use) == {"value": [1], "later": use}
    assert closure_of(as_function(top_level)) == {}
