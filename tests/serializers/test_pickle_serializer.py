from __future__ import annotations

import copyreg
import pickle
import pickletools
import sys
from typing import Any

import pytest

from hashstash.errors import CorruptRowError, DecodeError, SerializationError, UntrustedRowError
from hashstash.serializers.pickle import PickleSerializer

PICKLE = PickleSerializer()


@pytest.fixture(autouse=True)
def _no_foreign_reducers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a cluster library registered for every exception there is."""
    for kind in list(copyreg.dispatch_table):
        if issubclass(kind, BaseException):
            monkeypatch.delitem(copyreg.dispatch_table, kind)


class Problem(Exception):
    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")


class Holder:
    def __init__(self, part: Any) -> None:
        self.part = part


class Slots:
    __slots__ = ("part",)

    def __init__(self, part: Any) -> None:
        self.part = part


class Runs:
    ran = False

    def __reduce__(self) -> Any:
        return run, ()


def run() -> Runs:
    Runs.ran = True
    return Runs()


def test_the_protocol_is_pinned() -> None:
    data = PICKLE.dumps({"a": [1, Holder(2)]})
    assert max(op.proto for op, _, _ in pickletools.genops(data)) <= 5
    assert data[:2] == b"\x80\x05"
    assert pickle.loads(data)["a"][1].part == 2


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (lambda: 1, "value"),
        ({"a": [1, lambda: 2]}, "value['a'][1]"),
        ({"a": Holder({"b": (lambda: 2,)})}, "value['a'].part['b'][0]"),
        ([Slots(lambda: 1)], "value[0].part"),
        ({(1, lambda: 2): 1}, "value.keys()[0][1]"),
        ({1, lambda: 2}, "value{"),
        ({"k": [Problem(1, "here")]}, "value['k'][0]"),
        (Holder(sys), "value.part"),
    ],
    ids=range(8),
)
def test_what_cannot_be_pickled_is_named(value: Any, path: str) -> None:
    with pytest.raises(SerializationError, match='serializer="hashstash"') as caught:
        PICKLE.dumps(value)
    assert caught.value.path.startswith(path)
    assert str(caught.value).startswith(caught.value.path)
    assert caught.value.__cause__ is not None


def test_local_classes_are_refused() -> None:
    class Local:
        pass

    with pytest.raises(SerializationError, match="Local"):
        PICKLE.dumps([Local()])


def test_what_cannot_be_unpickled_again_is_not_stored() -> None:
    with pytest.raises(SerializationError, match="Problem"):
        PICKLE.dumps(Problem(1, "here"))


def test_untrusted_bytes_are_not_looked_at() -> None:
    data = pickle.dumps(Runs())
    for untrusted in (data, b"", b"garbage", memoryview(data)):
        assert PICKLE.needs_trust(untrusted)
        with pytest.raises(UntrustedRowError, match="signing keys"):
            PICKLE.loads(untrusted, trusted=False)
    assert not Runs.ran
    assert isinstance(PICKLE.loads(data, trusted=True), Runs)
    assert Runs.ran


@pytest.mark.parametrize("data", [b"", b"\x80\x05", b"\x80\x05K\x01", b"\xff", b"\x80\x05h\x07."])
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(CorruptRowError) as caught:
        PICKLE.loads(data, trusted=True)
    assert caught.value.stage == "pickle"


def test_what_is_not_here_is_told() -> None:
    gone = pickle.dumps(Problem).replace(b"Problem", b"Nothing")
    with pytest.raises(DecodeError, match="Nothing"):
        PICKLE.loads(gone, trusted=True)
    nowhere = pickle.dumps(Problem).replace(
        Problem.__module__.encode(), b"x" * len(Problem.__module__)
    )
    with pytest.raises(DecodeError, match="xxx"):
        PICKLE.loads(nowhere, trusted=True)


def test_views_and_identity() -> None:
    shared = [1]
    data = PICKLE.dumps((shared, shared))
    found: Any = PICKLE.loads(memoryview(b"<" + data + b">")[1:-1], trusted=True)
    assert found[0] is found[1]
