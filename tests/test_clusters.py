"""A Dask cluster whose workers share a stash on a server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from servers.work import note_and_double, noted

from hashstash import HashStash

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def executor(
    redis_url: str, s3_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Return the executor of a cluster of two processes, where the environment names servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHSTASH_REDIS_URL", redis_url)
        patch.setenv("HASHSTASH_S3_URL", s3_url)
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                local_directory=str(tmp_path_factory.mktemp("dask")),
            ) as cluster,
            distributed.Client(cluster) as client,
        ):  # fmt: skip
            yield client.get_executor()


@pytest.mark.parametrize(
    ("engine", "near", "count"),
    [
        ("redis", None, 2000),
        ("redis", "memory", 500),
        ("s3", "lmdb", 100),
        pytest.param("s3", "lmdb", 2000, marks=pytest.mark.stress),
        pytest.param("redis", "lmdb", 2000, marks=pytest.mark.stress),
    ],
)
def test_each_item_is_computed_once(
    executor: Any, engine: str, near: str | None, count: int, tmp_path: Path
) -> None:
    stash = HashStash(f"team-{uuid4().hex[:12]}", engine=engine, near=near)
    f = partial(note_and_double, str(tmp_path))
    # Two maps at once, as two people would: neither computes what the other one does.
    maps = [stash.map(f, range(count), executor=executor, progress=False) for _ in range(2)]
    assert [found.results for found in maps] == [[2 * n for n in range(count)]] * 2
    assert noted(tmp_path) == list(range(count))
    assert len(list(tmp_path.iterdir())) == 2
    again = stash.map(f, range(count), executor=executor, progress=False)
    assert again.results == maps[0].results
    assert all(run.was_cached for run in again)
    assert noted(tmp_path) == list(range(count))
    stash._engine.destroy()
