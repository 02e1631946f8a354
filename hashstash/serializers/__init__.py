"""Serializers by name: an object to bytes and back."""

from hashstash.registry import Registry

from .base import Serializer

SERIALIZERS: Registry[Serializer] = Registry(
    "serializer",
    "hashstash.serializers",
    {
        "hashstash": "hashstash.serializers.hashstash:HashstashSerializer",
        "pickle": "hashstash.serializers.pickle:PickleSerializer",
        "jsonpickle": "hashstash.serializers.jsonpickle:JsonpickleSerializer",
    },
)

__all__ = ["SERIALIZERS", "Serializer"]
