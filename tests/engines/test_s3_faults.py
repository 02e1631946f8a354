"""The s3 engine in trouble: servers that die and freeze, connections that break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.faults import EngineAt, FaultTests
from servers.proxy import Proxy
from servers.s3 import S3Server

from hashstash.engines import ETAG, Place
from hashstash.engines.s3 import S3Engine
from hashstash.testing.samples import make_row


class TestS3Faults(FaultTests):
    @pytest.fixture
    def server(self, own_s3: S3Server) -> Iterator[S3Server]:
        yield own_s3
        if own_s3.process is None:
            own_s3.start()

    @pytest.fixture
    def engine_at(self, request: pytest.FixtureRequest, server: S3Server) -> EngineAt:
        place = Place("/nowhere", f"faults/{request.node.name}")

        def build(port: int, **options: Any) -> S3Engine:
            return S3Engine(place, url=server.url_at(port), **options)

        return build


@pytest.mark.filterwarnings("ignore::dateutil.parser.UnknownTimezoneWarning")
@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.stress), 70], ids=["every byte", "some bytes"]
)
def test_an_answer_in_part_is_none(own_s3: S3Server, step: int) -> None:
    with Proxy(own_s3.port) as proxy:
        engine = S3Engine(Place("/nowhere", f"parts/{step}"), url=own_s3.url_at(proxy.port))
        row = make_row()
        engine.put(b"gone", row)
        assert engine.delete(b"gone") is True
        assert engine.compare_and_set(b"k", None, row) is True
        for after in range(0, 900, step):
            reads: list[tuple[Callable[[], Any], Any]] = [
                (lambda: engine.get(b"k"), row),
                (lambda: engine.get(b"gone"), None),
                (lambda: engine.get(b"absent"), None),
                (lambda: engine.contains(b"absent"), False),
                (lambda: list(engine.keys()), [b"k"]),
                (engine.count, 1),
            ]
            for read, expected in reads:
                proxy.cut_reply(after)
                assert read() == expected
            old, row = row, make_row()
            proxy.cut_reply(after)
            assert engine.compare_and_set(b"k", old[ETAG], row) is True
            row = make_row()
            proxy.cut_reply(after)
            engine.put(b"k", row)
        engine.destroy()
