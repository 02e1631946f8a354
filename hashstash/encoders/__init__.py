"""Encoders by name: compressors and base64."""

from hashstash.registry import Registry

from .base import Encoder

ENCODERS: Registry[Encoder] = Registry(
    "encoder",
    "hashstash.encoders",
    {
        "zlib": "hashstash.encoders.zlib:ZlibEncoder",
        "gzip": "hashstash.encoders.gzip:GzipEncoder",
        "bz2": "hashstash.encoders.bz2:Bz2Encoder",
        "lzma": "hashstash.encoders.lzma:LzmaEncoder",
        "lz4": "hashstash.encoders.lz4:Lz4Encoder",
        "blosc": "hashstash.encoders.blosc:BloscEncoder",
        "zstd": "hashstash.encoders.zstd:ZstdEncoder",
        "b64": "hashstash.encoders.b64:B64Encoder",
    },
)

__all__ = ["ENCODERS", "Encoder"]
