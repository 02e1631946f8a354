"""What somebody else may have written: nothing is run, nothing is imported, nothing grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from value_checks import HASHSTASH, payload, run

from hashstash.errors import CorruptRowError, UntrustedRowError
from hashstash.serializers.hashstash_format import text
from hashstash.serializers.hashstash_format.vocabulary import RULES

CODE = [
    {"!import": ["os", "system"]},
    {"!module": "antigravity"},
    {"!object": [{"!type": "int"}]},
    {"!reduce": [{"!import": ["os", "system"]}, {"!tuple": ["echo"]}]},
    {"!new": [{"!type": "list"}, {"!tuple": []}]},
    {"!call": [1, 2, 3, 4]},
    {"!attribute": ["abc", "upper"]},
    {"!method": [1, 2]},
    {"!member": [1, 2]},
    {"!function": ["f", "", "f", "lambda: 1", None, "", "", 0, {}]},
    {"!class": []},
    {"!dynamic-class": []},
    {"!enum-class": []},
    {"!namedtuple": []},
    {"!space": ["a", ""]},
    {"!cell": []},
    {"!raised": [1, []]},
    {"!property": [None, None, None, None]},
    {"!lru_cache": [1, 2, 3, 4]},
]


@pytest.mark.parametrize("tree", CODE, ids=lambda tree: next(iter(tree)))
def test_code_is_refused(tree: Any) -> None:
    for whole in (tree, [1, tree], {"a": {"!tuple": [tree]}}, {"!graph": [tree]},
                  {"!graph": [[{"!ref": 1}], tree]}, {"!set": [tree]}):  # fmt: skip
        with pytest.raises(UntrustedRowError, match="signing keys") as caught:
            HASHSTASH.loads(payload(whole), trusted=False)
        assert caught.value.stage == "hashstash"
        with pytest.raises(UntrustedRowError):
            HASHSTASH.loads(payload(whole, marker=b"C"), trusted=False)
        with pytest.raises(CorruptRowError, match="denies"):
            HASHSTASH.loads(payload(whole), trusted=True)


def test_every_tag_that_can_run_something_is_marked() -> None:
    from hashstash.serializers.hashstash_format import dynamic_classes, objects  # noqa: F401

    data = {
        "!i1", "!i2", "!i4", "!i8", "!f8", "!bytes", "!bytearray", "!memoryview", "!array",
        "!text-array", "!int", "!float", "!str", "!complex", "!constant", "!range", "!slice",
        "!regex", "!plain", "!tuples", "!tuple", "!pytz", "!frozenset",
        "!set", "!dict", "!OrderedDict", "!Counter",
        "!defaultdict", "!deque", "!ChainMap", "!mappingproxy", "!namespace", "!type", "!builtin",
        "!alias", "!unpacked", "!union", "!exception", "!date", "!datetime", "!time", "!moment",
        "!timedelta", "!timezone", "!zone", "!decimal", "!fraction", "!uuid", "!path", "!ip",
    }  # fmt: skip
    for tag, rule in RULES.items():
        if tag[:4] not in ("!np.", "!pd.", "!pa.", "!pl."):
            assert rule.code is (tag not in data), tag
        else:
            assert not rule.code, tag


@pytest.mark.parametrize("name", ["eval", "exec", "open", "__import__", "getattr", "print", "a.b"])
def test_only_harmless_names_are_known(name: str) -> None:
    for tag in ("!builtin", "!type"):
        with pytest.raises(CorruptRowError):
            HASHSTASH.loads(payload({tag: name}), trusted=False)


def test_reading_data_imports_nothing_it_names(tmp_path: Path) -> None:
    script = tmp_path / "reader.py"
    trees = [*CODE, {"!zone": "../../etc/passwd"}, {"!type": "antigravity"}, {"!what": "this"},
             {"!np.dtype": "antigravity"}, {"!path": ["os", "x"]}]  # fmt: skip
    script.write_text(
        "import json, sys\n"
        "from hashstash.errors import HashStashError\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "for data in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        HashstashSerializer().loads(bytes.fromhex(data), trusted=False)\n"
        "    except HashStashError as exc:\n"
        "        print(type(exc).__name__)\n"
        "    else:\n"
        "        print('read')\n"
        "print([name for name in ('antigravity', 'this') if name in sys.modules])\n"
    )
    out = run(script, json.dumps([payload(tree).hex() for tree in trees])).split("\n")
    assert set(out[:-2]) == {"UntrustedRowError", "CorruptRowError"}
    assert out[-2] == "[]"


HOSTILE: list[Any] = [
    {"!nothing": 1},
    {"!": 1},
    {"!def": [0, 1]},
    {"!def": "a"},
    [{"!def": [[]]}],
    {"a": 1, "!def": 5, "b": []},
    {"!ref": 0},
    {"!ref": "a"},
    {"!ref": []},
    {"!tuple": 5},
    {"!tuple": {"!tuple": [1]}},
    {"!tuple": {"!i8": 0, "!f8": 0}},
    {"!tuple": {"!plain": 5}},
    {"!tuple": [], "a": 1},
    {"!set": [[1]]},
    {"!set": [1, 1]},
    {"!dict": [1, 2, 3]},
    {"!dict": [[1], 2]},
    {"!frozenset": [{"!set": []}]},
    {"!Counter": ["a", "a", 1, 2]},
    {"!deque": [-1]},
    {"!deque": ["a", 1]},
    {"!deque": []},
    {"!defaultdict": [5]},
    {"!ChainMap": 5},
    {"!mappingproxy": [5]},
    {"!namespace": [5]},
    {"!bytes": 0},
    {"!bytes": -1},
    {"!bytes": True},
    {"!bytes": "a"},
    {"!bytearray": 2**70},
    {"!memoryview": [0, "Z", [1], True, sys.byteorder, 1]},
    {"!array": ["q", 3, 0]},
    {"!array": ["Z", 1, 0]},
    {"!int": "xyz"},
    {"!int": 5},
    {"!float": "1"},
    {"!float": "00"},
    {"!str": "zz"},
    {"!str": "ff"},
    {"!complex": [1, 2, 3]},
    {"!complex": ["1", "2"]},
    {"!constant": "None"},
    {"!range": [1, 2]},
    {"!range": [1, 2, 0]},
    {"!range": ["a", "b", "c"]},
    {"!slice": [1]},
    {"!regex": ["(", 0]},
    {"!regex": ["a", 128]},
    {"!regex": ["(?:" * 3000, 0]},
    {"!regex": [5, 0]},
    {"!alias": [5, 6]},
    {"!alias": []},
    {"!union": ["a", "b"]},
    {"!union": [{"!set": []}, {"!set": []}]},
    {"!union": []},
    {"!date": "2024-13-01"},
    {"!date": 5},
    {"!datetime": ["2024-01-01", 7]},
    {"!datetime": ["2024-01-01", 0, 5]},
    {"!time": "25:00"},
    {"!moment": [{"!date": "2024-01-01"}, 0, None]},
    {"!timedelta": ["a"]},
    {"!timedelta": [10**12]},
    {"!timezone": [5, 0, 0]},
    {"!zone": "../../../etc/passwd"},
    {"!zone": [1]},
    {"!decimal": "abc"},
    {"!decimal": [0, [1], 2]},
    {"!fraction": [1, 0]},
    {"!fraction": [1.5, 2]},
    {"!uuid": "zz"},
    {"!path": ["Path", "a"]},
    {"!path": ["PurePosixPath", 5]},
    {"!ip": ["IPv4Address", 5]},
    {"!ip": ["IPv4Address", "1.2.3.4.5"]},
    {"!graph": []},
    {"!graph": 5},
    {"!graph": [5]},
    {"!graph": [{"!ref": 0}]},
    {"!graph": [[{"!ref": 1}]]},
    {"!graph": [[{"!ref": -1}]]},
    {"!graph": [[{"!ref": "a"}]]},
    {"!graph": [[{"!ref": [1]}]]},
    {"!graph": [{"!tuple": [{"!ref": 0}]}]},
    {"!graph": [{"!tuple": [{"!ref": 1}]}, {"!tuple": [{"!ref": 0}]}]},
    {"!graph": [{"!frozenset": [{"!ref": 0}]}]},
    {"!graph": [{"!set": [{"!ref": 0}]}]},
    {"!graph": [{"!graph": [[]]}]},
    {"!graph": [[{"!tuple": [{"!ref": 0}]}, {"!ref": 5}]]},
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("loader", ["orjson", "json"])
def test_hostile_trees_are_damage(
    number: int, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loader == "json":
        monkeypatch.setattr(text, "load", text.load_with_json)
    for trusted in (False, True):
        with pytest.raises(CorruptRowError) as caught:
            HASHSTASH.loads(payload(HOSTILE[number]), trusted=trusted)
        assert caught.value.stage == "hashstash"


def test_a_segment_is_used_once() -> None:
    data = payload([{"!bytes": 0}, {"!bytes": 0}], b"abc")
    with pytest.raises(CorruptRowError, match="twice"):
        HASHSTASH.loads(data, trusted=False)


GOOD = payload({"!bytes": 0}, b"abc")


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:5],
        b"D" + (2**63).to_bytes(8, "little") + GOOD[9:],
        b"D" + (0).to_bytes(8, "little"),
        payload({"!bytes": 0}).replace(b", []]", b", [3]]"),
        payload({"!bytes": 0}, b"abc").replace(b"[3]", b"[9]"),
        payload({"!bytes": 0}, b"abc").replace(b"[3]", b"-33"),
        payload({"!bytes": 0}, b"abc").replace(b"[3]", b'"a"'),
        b"\x00" + GOOD[1:],
        b"X" + GOOD[1:],
        b"[NaN]",
        b"[Infinity]",
        b"nul",
        b'"a',
        b"[1] 2",
        b'"\xff"',
    ],
    ids=range(17),
)
@pytest.mark.parametrize("loader", ["orjson", "json"])
def test_damaged_frames(data: bytes, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if loader == "json":
        monkeypatch.setattr(text, "load", text.load_with_json)
    with pytest.raises(CorruptRowError):
        HASHSTASH.loads(data, trusted=False)


def test_lengths_that_lie_allocate_nothing(tmp_path: Path) -> None:
    """Within an address space that is hardly larger than Python itself."""
    script = tmp_path / "reader.py"
    trees = [
        {"!range": [0, 2**62, 1]},
        {"!deque": [2**62, 1]},
        {"!memoryview": [0, "B", [2**40], True, sys.byteorder, 1]},
        {"!np.array": ["<i8", [2**40], "C", 0]},
        {"!np.array": ["<U0", [2**40], "C", 0]},
        {"!np.objects": ["C", 1, 2**40]},
        {"!np.objects": ["C", 3, 2**20, 2**20, 2**20, 1]},
        {"!np.array": ["|S900000000", [0], "C", 0]},
        {"!int": "f" * 1000},
        {"!bytes": 2**40},
    ]
    script.write_text(
        "import json, resource, sys\n"
        "from hashstash.errors import HashStashError\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "import numpy\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, now + 2**28))\n"
        "for data in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        HashstashSerializer().loads(bytes.fromhex(data), trusted=False)\n"
        "    except HashStashError:\n"
        "        pass\n"
        "print('done')\n"
    )
    pytest.importorskip("numpy")
    if not Path("/proc/self/statm").exists():
        pytest.skip("only Linux tells the size of a process")
    assert run(script, json.dumps([payload(tree).hex() for tree in trees])) == "done\n"


def test_importing_the_serializer_imports_no_extra() -> None:
    code = (
        "import sys, hashstash.serializers.hashstash as h; s = h.HashstashSerializer()\n"
        "s.loads(s.dumps({'a': (1, {2})}), trusted=False)\n"
        "extras = ('numpy', 'pandas', 'pyarrow', 'polars', 'jsonpickle')\n"
        "print([name for name in extras if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("package", "tree"),
    [
        ("numpy", {"!np.array": ["<i8", [0], "C", 0]}),
        ("pandas", {"!pd.missing": "NA"}),
        ("pyarrow", {"!pa.table": 0}),
        ("polars", {"!pl.frame": 0}),
        ("pytz", {"!pytz": ["Europe/Paris"]}),
    ],
)
def test_a_package_that_is_not_there_is_named(tmp_path: Path, package: str, tree: Any) -> None:
    script = tmp_path / "reader.py"
    script.write_text(
        "import sys\n"
        "from hashstash.errors import HashStashError\n"
        "from hashstash.serializers.hashstash import HashstashSerializer\n"
        "sys.modules[sys.argv[1]] = None\n"
        "try:\n"
        "    HashstashSerializer().loads(bytes.fromhex(sys.argv[2]), trusted=False)\n"
        "except HashStashError as exc:\n"
        "    print(exc)\n"
    )
    told = run(script, package, payload(tree, b"").hex())
    assert "pip install" in told
    assert package in told or "pandas" in told
