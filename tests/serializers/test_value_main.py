"""What one program defines and another one, which does not have it, reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from value_checks import HASHSTASH, run

WRITER = """
from __future__ import annotations
import collections, dataclasses, enum, functools, json, math, os.path, sys, typing
from hashstash.serializers.hashstash import HashstashSerializer

T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)
RATE = 3
CACHE = {"hits": 0}


def helper(x):
    CACHE["hits"] += 1
    return x * RATE


def area(r: float, unit: str = "m") -> str:
    "Say how large."
    return f"{math.pi * helper(r):.2f} {unit}"


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def logged(f):
    @functools.wraps(f)
    def wrapper(*args):
        return [f.__name__, f(*args)]
    return wrapper


@logged
def shout(x): return x.upper()


@functools.lru_cache
def cached(x): return helper(x)


@dataclasses.dataclass
class Point:
    x: int
    user: UserId = UserId(1)
    tags: list[str] = dataclasses.field(default_factory=list)
    next: Point | None = None

    def double(self):
        return Point(helper(self.x), tags=[*self.tags, "double"])


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Problem(Exception):
    def __init__(self, code, *, where):
        super().__init__(f"{code} at {where}")
        self.code = code


class Pair(typing.NamedTuple):
    left: int
    right: Color = Color.RED


class Box(typing.Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


Old = collections.namedtuple("Old", "a b")


def make():
    scale = RATE

    class Local(Point):
        def triple(self):
            return self.x * scale + super().double().x

    return Local(5), lambda y: (y, scale)


local, closure = make()
double, square = lambda x: x * 2, lambda x: x ** 2
VALUE = {
    "area": area, "fib": fib, "even": even, "shout": shout, "cached": cached,
    "double": double, "square": square, "closure": closure, "local": local,
    "point": Point(2, tags=["a"], next=Point(1)), "class": Point, "color": Color.BLUE,
    "problem": Problem(7, where="here"), "pair": Pair(1), "old": Old(1, 2), "box": Box([1]),
    "method": Point(3).double, "partial": functools.partial(area, unit="cm"),
    "default": collections.defaultdict(lambda: RATE), "helper": helper, "cache": CACHE,
    "join": lambda *parts: os.path.join(*parts),
}
if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(HashstashSerializer().dumps(VALUE))
"""

READER = """
import sys
from hashstash.serializers.hashstash import HashstashSerializer
with open(sys.argv[1], "rb") as file:
    data = file.read()
value = HashstashSerializer().loads(data, trusted=True)


class Point:
    "Another one."


def check(value):
    point = value["point"]
    assert type(point) is value["class"] is not Point
    inner = "Point(x=1, user=1, tags=[], next=None)"
    assert repr(point) == f"Point(x=2, user=1, tags=['a'], next={inner})"
    assert point.double().x == 6 and point.double().tags == ["a", "double"]
    assert value["area"](2) == "18.85 m" and value["partial"](2) == "18.85 cm"
    assert value["area"].__doc__ == "Say how large."
    assert value["fib"](10) == 55 and value["even"](10) and not value["even"](7)
    assert value["shout"]("a") == ["shout", "A"]
    assert value["cached"](2) == 6 and value["cached"].cache_info().hits == 0
    assert value["double"](5) == 10 and value["square"](5) == 25
    assert value["closure"](1) == (1, 3)
    assert value["local"].triple() == 30 and isinstance(value["local"], type(point))
    assert value["color"].name == "BLUE" and type(value["color"]).RED is value["pair"].right
    assert str(value["problem"]) == "7 at here" and value["problem"].code == 7
    assert value["pair"].left == 1
    assert value["old"].b == 2 and value["old"]._asdict() == {"a": 1, "b": 2}
    assert value["box"].content == [1]
    assert value["method"]().x == 9
    assert value["default"]["x"] == 3
    assert value["join"]("a", "b") == "a/b"
    before = value["cache"]["hits"]
    value["helper"](1)
    assert value["cache"]["hits"] == before + 1


check(value)
again = HashstashSerializer().dumps(value)
check(HashstashSerializer().loads(again, trusted=True))
if len(sys.argv) > 2:
    with open(sys.argv[2], "wb") as file:
        file.write(again)
print("read", type(value["point"]).__module__, len(again))
"""


def script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pythons() -> list[str]:
    """Return the other Pythons on this machine that can run the library."""
    found = []
    for version in ("3.10", "3.12", "3.13", "3.14"):
        name = shutil.which(f"python{version}")
        if name is None:
            continue
        # A version manager puts a chooser there, with the real ones beside it.
        real = sorted(Path(name).parents[1].glob(f"versions/{version}.*/bin/python"))
        found.append(str(real[-1]) if real else name)
    return found


def test_another_program_reads_it(tmp_path: Path) -> None:
    data, second = tmp_path / "data", tmp_path / "second"
    run(script(tmp_path / "writer.py", WRITER), data)
    reader = script(tmp_path / "reader.py", READER)
    assert run(reader, data, second).startswith("read __main__")
    assert run(reader, second).startswith("read __main__")


def test_a_program_of_the_same_name_elsewhere_reads_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(script(tmp_path / "program.py", WRITER), data)
    (tmp_path / "elsewhere").mkdir()
    run(script(tmp_path / "elsewhere" / "program.py", READER), data)


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).parts[-3])
def test_another_python_reads_it(tmp_path: Path, python: str) -> None:
    data, second, third = tmp_path / "data", tmp_path / "second", tmp_path / "third"
    writer, reader = script(tmp_path / "w.py", WRITER), script(tmp_path / "r.py", READER)
    try:
        run(script(tmp_path / "try.py", "import dataclasses, enum"), python=python)
    except (OSError, AssertionError):
        pytest.skip(f"{python} does not run")
    run(writer, data)
    run(reader, data, second, python=python)
    run(reader, second)
    run(writer, third, python=python)
    run(reader, third)


def test_the_same_program_gets_its_own(tmp_path: Path) -> None:
    text = WRITER.replace(
        'if __name__ == "__main__":',
        "if len(sys.argv) > 2:\n"
        '    with open(sys.argv[1], "rb") as file:\n'
        "        value = HashstashSerializer().loads(file.read(), trusted=True)\n"
        '    assert type(value["point"]) is Point and value["class"] is Point\n'
        '    assert value["point"] == VALUE["point"] and value["color"] is Color.BLUE\n'
        '    assert value["area"] is area and value["fib"] is fib and value["old"] == Old(1, 2)\n'
        '    assert value["double"](2) == 4 and value["square"](3) == 9\n'
        '    print("its own")\n'
        "else:",
    )
    program = script(tmp_path / "program.py", text)
    run(program, tmp_path / "data")
    assert run(program, tmp_path / "data", "again") == "its own\n"


def test_a_program_that_was_edited_reads_its_objects_and_old_functions(tmp_path: Path) -> None:
    text = (
        "import sys\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "class Thing:\n"
        "    def say(self): return 'OLD'\n"
        "def f(): return 'OLD'\n"
        "if len(sys.argv) > 2:\n"
        "    thing, g = HashstashSerializer().loads(open(sys.argv[1], 'rb').read(), trusted=True)\n"
        "    print(type(thing) is Thing, thing.say(), g())\n"
        "else:\n"
        "    data = HashstashSerializer().dumps((Thing(), f))\n"
        "    with open(sys.argv[1], 'wb') as file: file.write(data)\n"
    )
    program = script(tmp_path / "program.py", text)
    run(program, tmp_path / "data")
    script(program, text.replace("OLD", "new"))
    assert run(program, tmp_path / "data", "again") == "True new OLD\n"


def test_a_program_from_a_pipe_is_read_too(tmp_path: Path) -> None:
    writer = script(
        tmp_path / "writer.py",
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-'], input=sys.argv[1], text=True, check=True)\n",
    )
    text = (
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "import dataclasses, enum\n"
        "K = 5\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "    def far(self): return self.x + K\n"
        "class Color(enum.Enum):\n"
        "    RED = 1\n"
        f"with open({str(tmp_path / 'data')!r}, 'wb') as file:\n"
        "    file.write(HashstashSerializer().dumps((Point(1), Color.RED, lambda: K)))\n"
    )
    run(writer, text)
    point, red, function = read(tmp_path / "data")
    assert (point.x, point.far(), red.name, function()) == (1, 6, "RED", 5)
    assert repr(point) == "Point(x=1)"


def test_a_worker_of_the_program_shares_its_classes(tmp_path: Path) -> None:
    program = script(
        tmp_path / "program.py",
        "import dataclasses, multiprocessing\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def work(data):\n"
        "    value = HashstashSerializer().loads(data, trusted=True)\n"
        "    assert type(value) is Point, type(value)\n"
        "    return HashstashSerializer().dumps([Point(value.x + 1), lambda: value.x])\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        data = pool.apply(work, (HashstashSerializer().dumps(Point(1)),))\n"
        "    point, function = HashstashSerializer().loads(data, trusted=True)\n"
        "    print(point == Point(2), function())\n",
    )
    assert run(program) == "True 1\n"


def test_what_was_defined_again_is_not_confused_with_the_last(tmp_path: Path) -> None:
    program = script(
        tmp_path / "program.py",
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "kept = []\n"
        "for i in range(3):\n"
        "    def f(n=i): return n\n"
        "    class C:\n"
        "        number = i\n"
        "    kept.append((f, C()))\n"
        "data = HashstashSerializer().dumps(kept)\n"
        "found = HashstashSerializer().loads(data, trusted=True)\n"
        "print([g() for g, _ in found], [c.number for _, c in found], found[2][0] is f)\n",
    )
    assert run(program) == "[0, 1, 2] [0, 1, 2] True\n"


def test_programs_that_define_the_same_names_do_not_mix(tmp_path: Path) -> None:
    text = (
        "import sys\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "class Thing:\n"
        "    def say(self): return say()\n"
        "def say(): return 'ONE'\n"
        "if len(sys.argv) > 2:\n"
        "    thing = HashstashSerializer().loads(open(sys.argv[1], 'rb').read(), trusted=True)\n"
        "    print(type(thing) is Thing, thing.say())\n"
        "else:\n"
        "    data = HashstashSerializer().dumps(Thing())\n"
        "    with open(sys.argv[1], 'wb') as file: file.write(data)\n"
    )
    run(script(tmp_path / "one.py", text), tmp_path / "data")
    two = script(tmp_path / "two.py", text.replace("ONE", "TWO"))
    assert run(two, tmp_path / "data", "again") == "False ONE\n"


def test_what_a_program_writes_needs_trust(tmp_path: Path) -> None:
    from hashstash.errors import UntrustedRowError

    run(script(tmp_path / "writer.py", WRITER), tmp_path / "data")
    data = (tmp_path / "data").read_bytes()
    assert HASHSTASH.needs_trust(data)
    with pytest.raises(UntrustedRowError, match="signing keys"):
        HASHSTASH.loads(data, trusted=False)


def read(path: Path) -> Any:
    return HASHSTASH.loads(path.read_bytes(), trusted=True)
