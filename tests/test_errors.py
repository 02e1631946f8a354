"""Errors travel between processes whole."""

from __future__ import annotations

import pickle

import pytest

from hashstash import errors

SAMPLES = [
    errors.HashStashError("what"),
    errors.ConfigurationError("which"),
    errors.UnknownNameError("engine", "lmbd", ["lmdb", "sqlite"]),
    errors.MissingDependencyError("The 'redis' engine", "redis"),
    errors.UnstableKeyError("no form"),
    errors.SerializationError("no way", "value['a']"),
    errors.EngineError("failed", engine="redis", operation="put", place="redis://host"),
    errors.EngineUnavailableError("gone", engine="s3", operation="get", place="s3://bucket"),
    errors.CorruptRowError("damaged", stage="row"),
    errors.UntrustedRowError("unsigned", stage="signature"),
    errors.SizeLimitError("large", stage="zstd"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_errors_come_back_from_workers(error: errors.HashStashError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert found.args == error.args
    assert vars(found) == vars(error)
