"""What the golden payloads stand for; run this file to add those that are not recorded yet."""

from __future__ import annotations

import json
from pathlib import Path

from hashstash.serializers.hashstash import HashstashSerializer

RECORDED = Path(__file__).with_name("golden_values.json")

NAMES = """
import array, collections, dataclasses, datetime as dt, decimal, enum, fractions, functools
import ipaddress, math, operator, pathlib, re, types, uuid, zoneinfo
"""

DATA = """
None
True
12
-0.0
'Zoë'
[1, 'a', None, [2.5, {}]]
{'a': 1, 'b': {'c': [True]}}
2**70
[2**64, float('inf'), float('-inf')]
'\\ud800'
1 + 2j
...
b'abc'
bytearray(b'abc')
memoryview(b'abcd').cast('h')
array.array('d', [1.5, -0.0])
(1, (2, []))
[(1, 'a'), (2, 'b')] * 9
[[i / 4 for i in range(300)], list(range(300)), [2**40] * 300, [2**20] * 300, [2**10] * 300]
{1, 'a'}
frozenset({(1, 2)})
{1: 'a', (2,): ['b'], None: {}}
{'!tuple': [1]}
({'rows': [{'x': i, 'y': ['z']} for i in range(20)]},)
collections.OrderedDict([('b', 1), ('a', 2)])
collections.Counter('aab')
collections.deque([1, 2], 5)
collections.defaultdict(list, {'a': [1]})
collections.ChainMap({'a': 1}, {})
types.SimpleNamespace(a=1)
types.MappingProxyType({'a': 1})
range(1, 10, 2)
slice(1, None, 'x')
re.compile('a+', re.I)
dt.date(2024, 2, 29)
dt.datetime(2024, 10, 27, 2, 30, fold=1)
dt.datetime(2024, 10, 27, 2, 30, 1, 5, zoneinfo.ZoneInfo('Europe/Paris'))
dt.time(1, 2, tzinfo=dt.timezone.utc)
dt.timedelta(1, 2, 3)
dt.timezone(dt.timedelta(hours=1), 'x')
decimal.Decimal('1.00')
fractions.Fraction(1, 3)
uuid.UUID(int=5)
pathlib.PurePosixPath('a/b')
pathlib.PureWindowsPath('c:/x')
ipaddress.ip_network('10.0.0.0/8')
int
len
list[int]
dict[str, int | None]
ValueError('a', 1)
FileNotFoundError(2, 'no', 'file')
"""

NUMPY = """
np.arange(6, dtype='>i4').reshape(2, 3)
np.asfortranarray(np.arange(6.0).reshape(2, 3))
np.array(['2024-01-01', 'NaT'], 'M8[D]')
np.array([(1, 'x')], dtype=[('a', 'i4'), ('b', 'U2')])
np.array([1, 'a', None], object)
np.array([(1, [2])], dtype=[('a', 'i4'), ('b', object)])
np.ma.array([1, 2], mask=[0, 1], fill_value=9)
np.float32(1.5)
np.datetime64('2024-01-01', 's')
np.dtype([('a', 'i4')])
"""

PANDAS = """
pd.DataFrame({0: [1, 2], 1: [1.5, None], 2: [b'x', (1,)]}, index=[5, 6])
pd.DataFrame([[1, 2], [3, 4]], columns=pd.MultiIndex.from_product([[0], [1, 2]]))
pd.Series(pd.Categorical([1, 2, 1]), name='n')
pd.date_range('2024', periods=3, freq='D', tz='UTC').as_unit('ns')
pd.period_range('2024', periods=3, freq='M')
pd.interval_range(0, 3)
pd.array([1, None], dtype='Int64')
pd.Timestamp('2024-01-01', tz=dt.timezone.utc).as_unit('ns')
pd.Timedelta(5, unit='s').as_unit('ns')
[pd.NaT, pd.NA, pd.Period('2024-01', freq='M'), pd.Interval(1, 2)]
"""

ARROW = """
pa.table({'a': [1, None], 'b': ['x', 'y']})
pa.array([[1], None])
pa.chunked_array([[1], [2]])
pa.RecordBatch.from_pydict({'a': [1]})
pa.schema([('a', pa.int8())])
"""

SETS = {"data": DATA, "numpy": NUMPY, "pandas": PANDAS, "pyarrow": ARROW}
MODULES = {
    "numpy": "import numpy as np",
    "pandas": "import pandas as pd",
    "pyarrow": "import pyarrow as pa",
}

PROGRAM = """
import dataclasses, enum
from hashstash.serializers.hashstash import HashstashSerializer
RATE = 3
@dataclasses.dataclass
class Point:
    x: int
    def scaled(self): return self.x * RATE
class Color(enum.Enum):
    RED = 1
class Child(Point):
    def scaled(self): return super().scaled() + 1
class Slots:
    __slots__ = ("a",)
def make(n):
    def inner(y=2): return n * y * RATE
    return inner
slots = Slots()
slots.a = [1]
both = [Point(1)]
both.append(both)
print(HashstashSerializer().dumps({
    "f": make(5), "g": lambda x: x + RATE, "point": Point(2), "red": Color.RED, "child": Child(3),
    "slots": slots, "both": both, "method": Point(4).scaled, "class": Point, "dict": dict.fromkeys,
}).hex())
"""

CHECKS = """
found['f']() == 30
found['g'](1) == 4
found['point'].scaled() == 6
type(found['point']) is found['class']
found['red'].name == 'RED'
found['child'].scaled() == 10
found['slots'].a == [1]
found['both'][1] is found['both']
found['both'][0].x == 1
found['method']() == 12
found['dict']('ab') == {'a': None, 'b': None}
"""


def namespace(name: str) -> dict[str, object]:
    """Return the names that a set of expressions uses."""
    names: dict[str, object] = {}
    exec(NAMES + MODULES.get(name, ""), names)
    if name == "pandas":
        exec(MODULES["numpy"], names)
    return names


def main() -> None:
    """Add what is missing; never change what is there."""
    import subprocess
    import sys
    import tempfile

    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for name, expressions in SETS.items():
        names, kept = namespace(name), recorded.setdefault(name, {})
        for expression in expressions.strip().split("\n"):
            if expression not in kept:
                kept[expression] = HashstashSerializer().dumps(eval(expression, names)).hex()
    if "program" not in recorded:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "program.py"  # from a pipe it would have no source
            script.write_text(PROGRAM)
            command = [sys.executable, str(script)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        recorded["program"] = done.stdout.strip()
    RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
