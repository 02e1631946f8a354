"""The s3 engine on servers that know less than Amazon's, are busy, or go wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from servers.s3 import S3Server
from servers.s3_meddler import Meddler

from hashstash import HashStash
from hashstash.engines import ETAG, Place
from hashstash.engines.s3 import S3Engine
from hashstash.errors import EngineError, EngineUnavailableError
from hashstash.testing.samples import make_row

CONDITIONS = {"if-match", "if-none-match"}
MIB = 1 << 20


@pytest.fixture
def meddler(own_s3: S3Server) -> Iterator[Meddler]:
    with Meddler(own_s3) as made:
        yield made


@pytest.fixture
def engine(meddler: Meddler, request: pytest.FixtureRequest) -> S3Engine:
    place = Place("/nowhere", f"habits/{request.node.name}")
    return S3Engine(place, url=meddler.url, multipart_bytes=5 * MIB)


def requests(meddler: Meddler, action: Callable[[], object]) -> list[str]:
    """Return the methods of the requests that an action makes."""
    meddler.log.clear()
    action()
    return [method for method, _ in meddler.log]


# -- conditions -----------------------------------------------------------------------------


def test_a_server_that_ignores_conditions_is_refused(meddler: Meddler, engine: S3Engine) -> None:
    meddler.ignored = CONDITIONS
    row = make_row()
    engine.put(b"k", row)
    swaps: list[Callable[[], Any]] = [
        lambda: engine.compare_and_set(b"k", row[ETAG], make_row()),
        lambda: engine.compare_and_set(b"k", None, make_row()),
        lambda: engine.compare_and_set(b"new", None, make_row()),
        lambda: engine.compare_and_set(b"k", row[ETAG], None),
    ]
    for swap in swaps:
        with pytest.raises(EngineError, match="does not honour If-Match and If-None-Match"):
            swap()
    assert dict(engine.items()) == {b"k": row}
    assert engine.delete(b"k") is True
    assert engine.delete(b"k") is False
    assert engine.count() == 0
    with HashStash("habits", engine="s3", url=meddler.url).tmp() as stash:
        stash["k"] = 1
        with pytest.raises(EngineError, match="refused"):
            stash.setdefault("new", 2)
        assert stash["k"] == 1


@pytest.mark.parametrize("ignored", sorted(CONDITIONS))
def test_one_condition_is_not_enough(meddler: Meddler, engine: S3Engine, ignored: str) -> None:
    meddler.ignored = {ignored}
    with pytest.raises(EngineError, match="does not honour"):
        engine.compare_and_set(b"k", None, make_row())
    assert engine.count() == 0


def test_a_server_that_says_it_knows_no_conditions(meddler: Meddler, engine: S3Engine) -> None:
    meddler.refuse = partial(no_puts, (501, "NotImplemented"))
    with pytest.raises(EngineError, match="does not honour"):
        engine.compare_and_set(b"k", None, make_row())


def test_deletes_without_conditions(meddler: Meddler, engine: S3Engine) -> None:
    """A server that knows none, and one that says no to all of them."""
    row = make_row()
    for refused in ((501, "NotImplemented"), (412, "PreconditionFailed")):
        engine.put(b"k", row)
        meddler.refuse = partial(no_puts, refused)
        assert engine.delete(b"k") is True
        assert engine.delete(b"k") is False
        meddler.refuse = lambda method, path: None


def no_puts(refused: tuple[int, str], method: str, path: str) -> tuple[int, str] | None:
    return refused if method == "PUT" else None


def test_conditions_that_are_ignored_on_uploads_in_parts(
    meddler: Meddler, engine: S3Engine
) -> None:
    small, large = make_row(), make_row(os.urandom(6 * MIB))
    assert engine.compare_and_set(b"k", None, small) is True

    def ignore_for_parts(method: str, path: str) -> None:
        meddler.ignored = CONDITIONS if method == "POST" else set()

    meddler.refuse = ignore_for_parts
    with pytest.raises(EngineError, match="on uploads in parts"):
        engine.compare_and_set(b"k", small[ETAG], large)
    assert engine.get(b"k") == small
    engine.put(b"k", large)
    assert engine.compare_and_set(b"k", large[ETAG], small) is True


def test_the_trial_is_made_once(meddler: Meddler, engine: S3Engine) -> None:
    row = make_row()
    assert engine.compare_and_set(b"k", None, row) is True
    assert any("conditions" in path for _, path in meddler.log)
    meddler.log.clear()
    other = S3Engine(Place("/nowhere", "habits/another"), url=meddler.url)
    assert other.compare_and_set(b"k", None, row) is True
    assert not any("conditions" in path for _, path in meddler.log)
    assert engine.count() == 1
    engine.destroy()
    other.destroy()


def test_markers_stay_where_conditional_deletes_are_ignored(
    meddler: Meddler, engine: S3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashstash.engines.s3_objects.MARKER_SECONDS", -60)

    def ignore_for_deletes(method: str, path: str) -> None:
        meddler.ignored = CONDITIONS if method == "DELETE" else set()

    meddler.refuse = ignore_for_deletes
    row = make_row()
    assert engine.compare_and_set(b"k", None, row) is True
    assert engine.compare_and_set(b"k", row[ETAG], None) is True
    assert engine.sweep() == 0
    assert engine.get(b"k") is None
    assert engine.compare_and_set(b"k", None, row) is True
    assert engine.get(b"k") == row


# -- how many requests ----------------------------------------------------------------------


def test_requests(meddler: Meddler, engine: S3Engine) -> None:
    first, second = make_row(b"1"), make_row(b"2")
    assert engine.compare_and_set(b"trial", None, first) is True
    assert requests(meddler, lambda: engine.put(b"k", first)) == ["PUT"]
    assert requests(meddler, lambda: engine.get(b"k")) == ["GET"]
    assert requests(meddler, lambda: engine.contains(b"k")) == ["GET"]
    swap = lambda: engine.compare_and_set(b"k", first[ETAG], second)
    assert requests(meddler, swap) == ["PUT"]
    assert requests(meddler, swap) == ["PUT", "GET"]
    other = S3Engine(engine.place, url=meddler.url, timeout=4)
    other.compare_and_set(b"trial", None, first)
    swap = lambda: other.compare_and_set(b"k", second[ETAG], first)
    assert requests(meddler, swap) == ["GET", "PUT"]
    rows = {b"k%d" % n: make_row() for n in range(30)}
    assert requests(meddler, lambda: engine.put_many(rows.items())) == ["PUT"] * 30
    assert requests(meddler, lambda: list(engine.get_many(rows))) == ["GET"] * 30
    assert requests(meddler, engine.count) == ["GET", "GET"]
    assert requests(meddler, engine.clear).count("POST") == 1


# -- servers that are busy or go wrong ------------------------------------------------------


class Trouble:
    """A number of answers that are errors.

    Args:
        status: their status.
        code: the word in them.
        times: how many.
    """

    def __init__(self, status: int, code: str, times: int) -> None:
        self.status, self.code, self.left = status, code, times

    def __call__(self, method: str, path: str) -> tuple[int, str] | None:
        if self.left == 0:
            return None
        self.left -= 1
        return self.status, self.code


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests")])
def test_a_busy_server_is_asked_again(
    meddler: Meddler, engine: S3Engine, status: int, code: str
) -> None:
    first, second = make_row(b"1"), make_row(b"2")
    engine.compare_and_set(b"trial", None, first)
    operations: list[Callable[[], Any]] = [
        lambda: engine.get(b"trial") == first,
        lambda: engine.compare_and_set(b"k", None, first),
        lambda: engine.compare_and_set(b"k", first[ETAG], second),
        lambda: engine.compare_and_set(b"new", None, second),
        lambda: engine.count() == 3,
        lambda: engine.delete(b"k"),
        lambda: engine.delete_many([b"new"]) == 1,
    ]
    for operation in operations:
        meddler.refuse = Trouble(status, code, 3)
        assert operation()
    meddler.refuse = Trouble(status, code, 3)
    engine.put_many([(b"a", first), (b"b", second)])
    assert engine.count() == 3


def test_a_busy_server_is_not_asked_for_ever(meddler: Meddler, engine: S3Engine) -> None:
    hasty = S3Engine(engine.place, url=meddler.url, timeout=0.1)
    meddler.refuse = Trouble(503, "SlowDown", -1)
    operations: list[Callable[[], Any]] = [
        lambda: hasty.get(b"k"),
        lambda: hasty.put(b"k", make_row()),
    ]
    for operation in operations:
        with pytest.raises(EngineUnavailableError, match="SlowDown") as caught:
            operation()
        assert "not known" not in str(caught.value)


def test_errors_of_the_server_are_no_answer(meddler: Meddler, engine: S3Engine) -> None:
    first, second = make_row(b"1"), make_row(b"2")
    engine.compare_and_set(b"trial", None, first)
    engine.put(b"k", first)
    meddler.refuse = Trouble(500, "InternalError", 1)
    assert engine.get(b"k") == first
    meddler.refuse = Trouble(500, "InternalError", 1)
    assert engine.compare_and_set(b"k", first[ETAG], second) is True
    meddler.refuse = Trouble(500, "InternalError", 1)
    with pytest.raises(EngineUnavailableError, match="not known"):
        engine.put(b"k", first)
    assert engine.get(b"k") == second


def test_what_is_not_allowed_is_said(meddler: Meddler, engine: S3Engine) -> None:
    meddler.refuse = Trouble(403, "AccessDenied", -1)
    operations: list[Callable[[], Any]] = [
        lambda: engine.get(b"k"),
        lambda: engine.put(b"k", make_row()),
    ]
    for operation in operations:
        with pytest.raises(EngineError, match="AccessDenied") as caught:
            operation()
        assert not isinstance(caught.value, EngineUnavailableError)


@pytest.mark.parametrize("code", ["NotImplemented", "MissingContentMD5"])
def test_a_server_without_bulk_deletes(meddler: Meddler, engine: S3Engine, code: str) -> None:
    status = 501 if code == "NotImplemented" else 400
    meddler.refuse = lambda method, path: (status, code) if method == "POST" else None
    engine.put_many((b"k%d" % n, make_row()) for n in range(20))
    assert engine.delete_many([b"k1", b"k2", b"missing"]) == 2
    assert engine.count() == 18
    engine.clear()
    assert engine.count() == 0
