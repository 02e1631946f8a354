from __future__ import annotations

from hashstash.serializers import SERIALIZERS
from hashstash.testing.serializer import SerializerContract


class TestHashstash(SerializerContract):
    serializer_name = "hashstash"


class TestPickle(SerializerContract):
    serializer_name = "pickle"


class TestJsonpickle(SerializerContract):
    serializer_name = "jsonpickle"


def test_every_serializer_has_a_contract() -> None:
    tested = {suite.serializer_name for suite in SerializerContract.__subclasses__()}
    assert tested >= set(SERIALIZERS)
